use crate::base::encoding::hex;
use crate::base::limits::PAGE_ENTRIES_MAX;
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::custody::{
    BrokerSealed, BrokerUnsealed, CheckpointKeyRotated, DataAdopted, MachineChanged, PendingOrderFailed,
    RollbackSuspected, SealingKeysRotated, SlotsChanged,
};
use crate::leases::{
    LeaseEnded, LeaseFailed, LeaseForgotten, LeaseIntended, LeaseIssued, LeaseRenewalAttempted, LeaseRenewed,
    LeaseReused, LeaseRevocationAttempted, LeaseRevocationFailed, LeaseStillOpen, LeaseUseReleased,
    LeasesRetried, LeasesRevoked, LoginsInspected, StrayLoginEnded, UnknownLogins,
};
use crate::ledger::{Entry, Kind};
use crate::operators::{
    BreakGlassUsed, OperatorCertificatePromoted, OperatorCertificateRecorded, OperatorCertificateRetried,
    OperatorCertified, OperatorCodeReused, OperatorDeleted, OperatorDenied, OperatorEnrolled,
    OperatorInvited, OperatorLateRenewal, OperatorPlaced, OperatorRenewed,
};
use crate::pki::{AuthorityFounded, AuthorityStaged, ServerCertified};
use crate::policy::{Authorised, ReadLedger};
use crate::registry::{
    AgentDeleted, AgentInvited, CertificatePromoted, CertificateRecorded, CertificateRetried, CodeReused,
    DeclarationsApplied, DeclarationsNarrowed, InstanceEnrolled, InstanceRenewed, LateRenewal,
};
use crate::revocation::{SubjectResumed, SubjectRevoked, SubjectSuspended};
use crate::rotation::{
    RotationAdopted, RotationAdvanced, RotationAttempted, RotationBegun, RotationChecked, RotationDrifted,
    RotationFailed, RotationFinished, RotationOrphaned, RotationPrepared, RotationUnchecked, RotationUpdated,
};
use crate::secrets::{
    SecretDeleted, SecretRevealed, SecretStored, SensitivityLowered, SensitivityRaised, ValueKeyRotated,
    ValueKeyShed, VersionChanged, VersionsRewrapped,
};
use crate::store::{AcceptedLoss, ClockAdjusted, ClockDisagrees, Event, SnapshotTaken};
use crate::token::{TokenDenied, TokenKeyStaged, TokenMinted, TokenRefused, TokenRepeated};
use crate::wire::{EntriesAnswer, EntryAnswer};

impl AdminServices {
    /// Up to `limit` entries after `after`.
    ///
    /// # Errors
    /// [`Failure`] if the ledger is damaged there.
    pub fn entries(
        &self,
        by: &Authorised<ReadLedger>,
        after: u64,
        limit: usize,
    ) -> Result<EntriesAnswer, Failure> {
        let limit = limit.clamp(1, PAGE_ENTRIES_MAX);
        // First: an entry that comes while they are read does not make a page of all that there is one of several.
        work: &Cancellation,
        let head = self.0.state.store.head().seq;
        let entries = self.0.state.store.entries(after.saturating_add(1), limit)?;
        let last = entries.last().map(|entry| entry.seq);
        let head = last.map_or(head, |last| last.max(head));
        let entries = entries.into_iter().map(|entry| EntryAnswer {
            seq: entry.seq,
            time: entry.time.to_string(),
            kind: event_name(entry.kind).into(),
            leaf: hex(&entry.leaf()),
            event: serde_json::from_slice(&entry.event).unwrap_or_default(),
            reason: entry.reason.map(|reason| reason.to_string()),
        });
        Ok(EntriesAnswer { items: entries.collect(), next_after: last.filter(|seq| *seq < head), head })
    }
}

/// The name of an entry's kind.
#[must_use]
pub fn event_name(kind: Kind) -> &'static str {
    let found = EVENTS.iter().find(|(known, _)| *known == kind);
    found.map_or("unknown", |(_, name)| name)
}

macro_rules! known {
    ($($event:ty),* $(,)?) => { &[$((<$event as Event>::KIND, <$event as Event>::NAME)),*] };
}

/// Every kind of entry that this version writes.
const EVENTS: &[(Kind, &str)] = known![
    DeclarationsApplied<'_>,
    DeclarationsNarrowed<'_>,
    AgentInvited<'_>,
    InstanceEnrolled<'_>,
    CertificateRecorded<'_>,
    CertificateRetried<'_>,
    CodeReused<'_>,
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
    TokenRepeated<'_>,
    TokenKeyStaged<'_>,
    AuthorityFounded<'_>,
    AuthorityStaged<'_>,
    ServerCertified<'_>,
    SubjectRevoked<'_>,
    SubjectSuspended<'_>,
    SubjectResumed<'_>,
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
    AgentDeleted<'_>,
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
    LeasesRetried<'_>,
    LeaseForgotten<'_>,
    LeaseStillOpen<'_>,
    PendingOrderFailed<'_>,
    BreakGlassUsed<'_>,
];

#[cfg(test)]
    OperatorDeleted<'_>,
mod tests {
    use super::*;

    #[test]
    fn no_two_events_share_a_kind_or_a_name() {
        for (index, (kind, name)) in EVENTS.iter().enumerate() {
            for (other, other_name) in &EVENTS[index + 1..] {
                assert!(kind != other && name != other_name, "{name} and {other_name}");
            }
        }
    }
}
    SecretDeleted<'_>,
