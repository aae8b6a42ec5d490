use super::visible::{VisibleEvent, visible};
use crate::base::encoding::hex;
use crate::base::limits::{AUDIT_ENTRIES_READ_MAX, PAGE_ENTRIES_MAX};
use crate::base::{Cancellation, OperatorName, OwnerName, Scope};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::custody::{
    BrokerSealed, BrokerUnsealed, CheckpointKeyRotated, DataAdopted, MachineChanged, PendingOrderFailed,
    RollbackSuspected, SealingKeysRotated, SlotsChanged,
};
use crate::evidence::EvidenceExported;
use crate::incidents::{BrokerFrozen, BrokerThawed, IncidentContained, IncidentLifted};
use crate::leases::{
    LeaseEnded, LeaseFailed, LeaseForgotten, LeaseIntended, LeaseIssued, LeaseRenewalAttempted, LeaseRenewed,
    LeaseReused, LeaseRevocationAttempted, LeaseRevocationFailed, LeaseStillOpen, LeaseUseReleased,
    LeasesRetried, LeasesRevoked, LoginsInspected, StrayLoginEnded, UnknownLogins,
};
use crate::ledger::{Entry, Kind};
use crate::operators::{
    BreakGlassUsed, OperatorCertificatePromoted, OperatorCertificateRecorded, OperatorCertificateRetried,
    OperatorCertified, OperatorCodeReused, OperatorDeleted, OperatorDenied, OperatorElsewhere,
    OperatorEnrolled, OperatorInvited, OperatorLateRenewal, OperatorPlaced, OperatorProfileChanged,
    OperatorRenewed, OperatorUsed,
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
    /// Up to `limit` entries after `after` that the operator may see: all of them with the scope `all`, otherwise those
    /// that concern objects of the operator's owner or the operator. A page may be empty, and not be the last one.
    ///
    /// # Errors
    /// [`Failure`] if the ledger is damaged there.
    pub fn entries(
        &self,
        by: &Authorised<ReadLedger>,
        after: u64,
        limit: usize,
        work: &Cancellation,
    ) -> Result<EntriesAnswer, Failure> {
        let limit = limit.clamp(1, PAGE_ENTRIES_MAX);
        match by.operator().scope() {
            Scope::Everything => self.all_entries(after, limit),
            Scope::Owner(owner) => self.entries_of(by.operator().name(), owner, &Part { after, limit }, work),
        }
    }

    fn all_entries(&self, after: u64, limit: usize) -> Result<EntriesAnswer, Failure> {
        // First: an entry that comes while they are read does not make a page of all that there is one of several.
        let head = self.0.state.store.head().seq;
        let entries = self.0.state.store.entries(after.saturating_add(1), limit)?;
        let last = entries.last().map(|entry| entry.seq);
        let head = last.map_or(head, |last| last.max(head));
        let items = entries.into_iter().map(|entry| {
            let event = serde_json::from_slice(&entry.event).unwrap_or_default();
            answer(entry, VisibleEvent { event, is_redacted: false })
        });
        Ok(EntriesAnswer { items: items.collect(), next_after: last.filter(|seq| *seq < head), head })
    }

    /// The head is the last entry that is shown: the number of other entries is nothing that the operator is told.
    fn entries_of(
        &self,
        operator: &OperatorName,
        owner: &OwnerName,
        part: &Part,
        work: &Cancellation,
    ) -> Result<EntriesAnswer, Failure> {
        let store = &self.0.state.store;
        let end = store.head().seq.min(last_read(part.after));
        let (mut items, mut read): (Vec<EntryAnswer>, u64) = (Vec::new(), part.after);
        while read < end {
            work.step()?;
            let entries = store.entries(read.saturating_add(1), PAGE_ENTRIES_MAX)?;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                let seq = entry.seq;
                let event = serde_json::from_slice(&entry.event).unwrap_or_default();
                let shown = store.read(|world, _| visible(world, owner, operator, event));
                if let Some(shown) = shown {
                    if items.len() == part.limit {
                        let head = items.last().map_or(part.after, |item| item.seq);
                        return Ok(EntriesAnswer { items, next_after: Some(head), head });
                    }
                    items.push(answer(entry, shown));
                }
                read = seq;
            }
        }
        let head = items.last().map_or(part.after, |item| item.seq);
        let next_after = Some(read).filter(|read| *read < store.head().seq);
        Ok(EntriesAnswer { items, next_after, head })
    }
}

/// The wanted part of the entries.
struct Part {
    after: u64,
    limit: usize,
}

/// The last entry after `after` that one request reads at least, to find those that an operator may see.
const fn last_read(after: u64) -> u64 {
    after.saturating_add(AUDIT_ENTRIES_READ_MAX)
}

fn answer(entry: Entry, VisibleEvent { event, is_redacted }: VisibleEvent) -> EntryAnswer {
    EntryAnswer {
        seq: entry.seq,
        time: entry.time.to_string(),
        kind: event_name(entry.kind).into(),
        leaf: hex(&entry.leaf()),
        event,
        redacted: is_redacted,
        reason: entry.cause.reason.map(|reason| reason.to_string()),
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
    AgentDeleted<'_>,
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
    OperatorDeleted<'_>,
    OperatorProfileChanged<'_>,
    OperatorUsed<'_>,
    OperatorElsewhere<'_>,
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
    IncidentContained<'_>,
    IncidentLifted<'_>,
    BrokerFrozen<'_>,
    BrokerThawed<'_>,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_entries_are_read_for_an_operator_with_an_owner() {
        assert_eq!(last_read(7), 7 + AUDIT_ENTRIES_READ_MAX);
        assert_eq!(last_read(u64::MAX), u64::MAX);
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
