use crate::approvals::{ApprovalApproved, ApprovalDenied, ApprovalRequested, ApprovalWithdrawn};
use crate::custody::{
    BrokerSealed, BrokerUnsealed, CheckpointKeyRotated, DataAdopted, MachineChanged, PendingOrderFailed,
    RollbackSuspected, SealingKeysRotated, SlotsChanged,
};
use crate::evidence::EvidenceExported;
use crate::incidents::{
    BrokerFrozen, BrokerThawed, IncidentClosed, IncidentContained, IncidentLifted, IncidentNoted,
    IncidentOpened, IncidentUpdated, TextRefused, ValueRecognised,
};
use crate::leases::{
    LeaseCheckAttempted, LeaseEnded, LeaseFailed, LeaseForgotten, LeaseIntended, LeaseIssued,
    LeaseRenewalAttempted, LeaseRenewed, LeaseReused, LeaseRevocationAttempted, LeaseRevocationFailed,
    LeaseStillOpen, LeaseUseReleased, LeasesRetried, LeasesRevoked, LoginsInspected, StrayLoginEnded,
    UnknownLogins,
};
use crate::ledger::Kind;
use crate::operators::{
    ApprovalKeyAccepted, ApprovalKeyProposed, ApprovalKeysRemoved, BreakGlassUsed, LedgerRead,
    LedgerReadingEnded, OperatorCertificatePromoted, OperatorCertificateRecorded, OperatorCertificateRetried,
    OperatorCertified, OperatorCodeReused, OperatorDeleted, OperatorDenied, OperatorElsewhere,
    OperatorEnrolled, OperatorInvited, OperatorLateRenewal, OperatorPlaced, OperatorProfileChanged,
    OperatorRenewed, OperatorUsed,
};
use crate::pki::{AuthorityFounded, AuthorityStaged, ServerCertified};
use crate::registry::{
    AgentDeleted, AgentInvited, CertificatePromoted, CertificateRecorded, CertificateRetried, CodeRefused,
    CodeReused, CodeRevoked, DeclarationsApplied, DeclarationsNarrowed, InstanceEnrolled, InstanceRenewed,
    LateRenewal,
};
use crate::revocation::{CertificateRefused, SubjectResumed, SubjectRevoked, SubjectSuspended};
use crate::rotation::{
    RotationAdopted, RotationAdvanced, RotationAttempted, RotationBegun, RotationChecked, RotationDrifted,
    RotationFailed, RotationFinished, RotationOrphaned, RotationPrepared, RotationUnchecked, RotationUpdated,
};
use crate::secrets::{
    SecretDeleted, SecretRevealed, SecretStored, SensitivityLowered, SensitivityRaised, ValueKeyRotated,
    ValueKeyShed, VersionChanged, VersionsRewrapped,
};
use crate::store::{AcceptedLoss, ClockAdjusted, ClockDisagrees, Event, SnapshotTaken};
use crate::token::{IssuanceRefused, TokenDenied, TokenKeyStaged, TokenMinted, TokenRefused, TokenRepeated};

/// The name of an entry's kind.
#[must_use]
pub fn event_name(kind: Kind) -> &'static str {
    let found = EVENTS.iter().find(|(known, _)| *known == kind);
    found.map_or("unknown", |(_, name)| name)
}

/// The names of all events that this version writes, in alphabetical order, each with its outcome: `allowed`, `denied` or
/// `failed`; none for an event that reports a state.
#[must_use]
pub fn event_kinds() -> Vec<(&'static str, Option<&'static str>)> {
    let mut kinds: Vec<_> =
        EVENTS.iter().map(|(kind, name)| (*name, outcome_of(*kind).map(EntryOutcome::as_str))).collect();
    kinds.sort_unstable();
    kinds
}

/// Whether events of this name say that the broker refused a request.
pub(in crate::broker) fn is_denial(name: &str) -> bool {
    let found = EVENTS.iter().find(|(_, known)| *known == name);
    found.is_some_and(|(kind, _)| outcome_of(*kind) == Some(EntryOutcome::Denied))
}

macro_rules! known {
    ($($event:ty),* $(,)?) => { &[$((<$event as Event>::KIND, <$event as Event>::NAME)),*] };
}

/// Every kind of entry that this version writes.
const EVENTS: &[(Kind, &str)] = known![
    DeclarationsApplied<'_>,
    DeclarationsNarrowed<'_>,
    AgentInvited<'_>,
    AgentDeleted<'_>,
    InstanceEnrolled<'_>,
    CertificateRecorded<'_>,
    CertificateRetried<'_>,
    CodeRefused<'_>,
    CodeReused<'_>,
    CodeRevoked<'_>,
    InstanceRenewed<'_>,
    LateRenewal<'_>,
    CertificatePromoted<'_>,
    OperatorCertified<'_>,
    OperatorInvited<'_>,
    OperatorPlaced<'_>,
    OperatorEnrolled<'_>,
    OperatorRenewed<'_>,
    OperatorLateRenewal<'_>,
    OperatorCertificateRecorded<'_>,
    OperatorCertificateRetried<'_>,
    OperatorCertificatePromoted<'_>,
    OperatorCodeReused<'_>,
    OperatorDenied<'_>,
    OperatorDeleted<'_>,
    OperatorProfileChanged<'_>,
    OperatorUsed<'_>,
    OperatorElsewhere<'_>,
    ApprovalKeyProposed<'_>,
    ApprovalKeyAccepted<'_>,
    ApprovalKeysRemoved<'_>,
    LedgerRead<'_>,
    LedgerReadingEnded<'_>,
    EvidenceExported<'_>,
    CheckpointKeyRotated<'_>,
    RotationBegun<'_>,
    RotationPrepared<'_>,
    RotationAttempted<'_>,
    RotationAdvanced<'_>,
    RotationFailed<'_>,
    RotationFinished<'_>,
    RotationUpdated<'_>,
    RotationDrifted<'_>,
    RotationChecked<'_>,
    RotationUnchecked<'_>,
    RotationAdopted<'_>,
    RotationOrphaned<'_>,
    SecretStored<'_>,
    SecretDeleted<'_>,
    VersionChanged<'_>,
    SensitivityRaised<'_>,
    SensitivityLowered<'_>,
    ValueKeyRotated<'_>,
    VersionsRewrapped,
    ValueKeyShed,
    SecretRevealed<'_>,
    TokenMinted<'_>,
    TokenDenied<'_>,
    TokenRefused<'_>,
    IssuanceRefused<'_>,
    TokenRepeated<'_>,
    TokenKeyStaged<'_>,
    AuthorityFounded<'_>,
    AuthorityStaged<'_>,
    ServerCertified<'_>,
    SubjectRevoked<'_>,
    SubjectSuspended<'_>,
    SubjectResumed<'_>,
    CertificateRefused,
    SlotsChanged<'_>,
    SealingKeysRotated,
    SnapshotTaken,
    ClockAdjusted<'_>,
    ClockDisagrees,
    AcceptedLoss,
    BrokerUnsealed,
    BrokerSealed,
    RollbackSuspected,
    DataAdopted<'_>,
    MachineChanged,
    LeaseIntended<'_>,
    LeaseIssued<'_>,
    LeaseFailed<'_>,
    LeaseReused<'_>,
    LeaseRenewalAttempted<'_>,
    LeaseRenewed<'_>,
    LeaseUseReleased<'_>,
    LeasesRevoked<'_>,
    LeaseRevocationAttempted<'_>,
    LeaseRevocationFailed<'_>,
    LeaseEnded<'_>,
    LoginsInspected<'_>,
    StrayLoginEnded<'_>,
    UnknownLogins<'_>,
    LeaseCheckAttempted<'_>,
    LeasesRetried<'_>,
    LeaseForgotten<'_>,
    LeaseStillOpen<'_>,
    PendingOrderFailed<'_>,
    BreakGlassUsed<'_>,
    IncidentContained<'_>,
    IncidentLifted<'_>,
    BrokerFrozen<'_>,
    BrokerThawed<'_>,
    IncidentOpened<'_>,
    IncidentUpdated<'_>,
    IncidentNoted<'_>,
    IncidentClosed<'_>,
    TextRefused<'_>,
    ValueRecognised<'_>,
    ApprovalRequested<'_>,
    ApprovalApproved<'_>,
    ApprovalDenied<'_>,
    ApprovalWithdrawn<'_>,
];

/// The outcome of what an entry says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EntryOutcome {
    Allowed,
    Denied,
    Failed,
}

impl EntryOutcome {
    pub(super) const ALL: [Self; 3] = [Self::Allowed, Self::Denied, Self::Failed];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

macro_rules! kinds {
    ($($event:ty),* $(,)?) => { &[$(<$event as Event>::KIND),*] };
}

/// Entries about requests that the broker refused. Reviewed.
const DENIED: &[Kind] = kinds![
    ApprovalDenied<'_>,
    CertificateRefused,
    CodeRefused<'_>,
    CodeReused<'_>,
    IssuanceRefused<'_>,
    OperatorCodeReused<'_>,
    OperatorDenied<'_>,
    OperatorElsewhere<'_>,
    TextRefused<'_>,
    TokenDenied<'_>,
    TokenRefused<'_>,
];

/// Entries about steps that failed, or whose result is unknown. Reviewed.
const FAILED: &[Kind] = kinds![
    LeaseFailed<'_>,
    LeaseRevocationFailed<'_>,
    LeaseStillOpen<'_>,
    PendingOrderFailed<'_>,
    RotationDrifted<'_>,
    RotationFailed<'_>,
    RotationOrphaned<'_>,
    RotationUnchecked<'_>,
];

/// Entries that report a state, and nothing that was done. Reviewed.
const WITHOUT_OUTCOME: &[Kind] =
    kinds![ClockDisagrees, MachineChanged, RollbackSuspected, UnknownLogins<'_>,];

/// The outcome of entries of this kind, if they have one. Everything else was done as requested.
pub(super) fn outcome_of(kind: Kind) -> Option<EntryOutcome> {
    if WITHOUT_OUTCOME.contains(&kind) || !is_known(kind) {
        None
    } else if DENIED.contains(&kind) {
        Some(EntryOutcome::Denied)
    } else if FAILED.contains(&kind) {
        Some(EntryOutcome::Failed)
    } else {
        Some(EntryOutcome::Allowed)
    }
}

fn is_known(kind: Kind) -> bool {
    EVENTS.iter().any(|(known, _)| *known == kind)
}

/// Whether this version writes entries with this name.
pub(super) fn is_event_name(name: &str) -> bool {
    EVENTS.iter().any(|(_, known)| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_of_all_events_are_as_reviewed() {
        let of = |wanted: Option<EntryOutcome>| -> Vec<&str> {
            let mut names: Vec<_> = EVENTS
                .iter()
                .filter(|(kind, _)| outcome_of(*kind) == wanted)
                .map(|(_, name)| *name)
                .collect();
            names.sort_unstable();
            names
        };
        let denied = [
            "alarm.enrolment-code-reused",
            "alarm.operator-elsewhere",
            "alarm.operator-enrolment-code-reused",
            "approval.denied",
            "certificate.refused",
            "enrolment.refused",
            "issuance.refused",
            "operator.denied",
            "request.denied",
            "text.refused",
            "token.refused",
        ];
        assert_eq!(of(Some(EntryOutcome::Denied)), denied);
        assert_eq!(of(Some(EntryOutcome::Failed)).len(), FAILED.len());
        assert_eq!(of(None).len(), WITHOUT_OUTCOME.len());
        // An event that says that something failed, was denied or refused is not one that was done as requested.
        let bad = |name: &&str| ["failed", "denied", "refused"].iter().any(|word| name.contains(word));
        assert!(!of(Some(EntryOutcome::Allowed)).iter().any(bad));
        assert_eq!(outcome_of(Kind(0xffff)), None);
    }

    #[test]
    fn no_two_events_share_a_kind_or_a_name() {
        for (index, (kind, name)) in EVENTS.iter().enumerate() {
            for (other, other_name) in &EVENTS[index + 1..] {
                assert!(kind != other && name != other_name, "{name} and {other_name}");
            }
        }
    }
}
