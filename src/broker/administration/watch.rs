use crate::approvals::Approval;
use crate::base::{ClockTrust, Timestamp};
use crate::broker::caller_services::AdminServices;
use crate::broker::services::Services;
use crate::broker::world::World;
use crate::incidents::Incident;
use crate::policy::{Authorised, ReadMetrics};
use crate::telemetry::MeterReading;
use crate::wire::ApprovalState;

/// Warnings, which do not fail the readiness.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Warning {
    /// The start of a rotation is overdue.
    RotationsOverdue,
    /// A rotation needs attention.
    RotationsDeadLetter,
    /// The wall clock and the boot clock disagree.
    ClockDisagrees,
    /// The data directory's disk is nearly full.
    DiskSpaceLow,
    /// The newest write to the data disk was slow.
    DiskSlow,
    /// The space that is reserved for revocations is missing.
    LedgerReserveMissing,
    /// Fewer synchronous standbys of the ledger's database are connected than a commit waits for, or it has none.
    LedgerNotReplicated,
    /// A revocation is in force in memory only.
    RevocationUnrecorded,
    /// A key is due for rotation by the next start or by schedule.
    KeysDue,
    /// The broker is frozen: it hands out no tokens, values and logins.
    Frozen,
    /// A caller has presented a credential that the ledger does not have: it is an older copy.
    RollbackSuspected,
    /// A pending order was not carried out within the last 24 hours, and was not repeated since.
    PendingOrderFailed,
    /// A message about a pending request for approval was not delivered, and is not sent again.
    WebhookDeadLetters,
}

impl Warning {
    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RotationsOverdue => "rotations_overdue",
            Self::RotationsDeadLetter => "rotations_dead_letter",
            Self::ClockDisagrees => "clock_disagrees",
            Self::DiskSpaceLow => "disk_space_low",
            Self::DiskSlow => "disk_slow",
            Self::LedgerReserveMissing => "ledger_reserve_missing",
            Self::LedgerNotReplicated => "ledger_not_replicated",
            Self::RevocationUnrecorded => "revocation_unrecorded",
            Self::KeysDue => "keys_due",
            Self::Frozen => "frozen",
            Self::RollbackSuspected => "rollback_suspected",
            Self::PendingOrderFailed => "pending_order_failed",
            Self::WebhookDeadLetters => "webhook_dead_letters",
        }
    }
}

impl Services {
    /// Problems that an operator should look at.
    pub(crate) fn warnings(&self) -> Vec<Warning> {
        let now = self.state.clock.now();
        let (overdue, dead) = self.state.store.read(|world, _| troubled(world, now));
        let warnings = [
            (Warning::RotationsOverdue, overdue > 0),
            (Warning::RotationsDeadLetter, dead > 0),
            (Warning::ClockDisagrees, !self.clocks_agree()),
            (Warning::DiskSpaceLow, self.is_disk_space_low()),
            (Warning::DiskSlow, self.is_disk_slow()),
            (Warning::LedgerReserveMissing, !self.state.store.has_reserve()),
            (Warning::LedgerNotReplicated, self.state.store.standbys_missing() > 0),
            (Warning::RevocationUnrecorded, self.state.store.unrecorded_denials() > 0),
            (Warning::KeysDue, self.keys_due() > 0),
            (Warning::Frozen, self.is_frozen()),
            (Warning::RollbackSuspected, self.notifications.rollback.has_alarmed()),
            (Warning::PendingOrderFailed, self.has_failed_orders(now)),
            (Warning::WebhookDeadLetters, self.announcement_counts().dead_letters > 0),
        ];
        warnings.into_iter().filter(|(_, is_given)| *is_given).map(|(warning, _)| warning).collect()
    }
}

impl AdminServices {
    /// Problems that an operator should look at.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        self.0.warnings()
    }

    /// The metrics in `OpenMetrics` text.
    #[must_use]
    pub fn metrics(&self, _by: &Authorised<ReadMetrics>) -> String {
        let services = &*self.0;
        services
            .notifications
            .meters
            .certificate_ends("authority", services.signing.issuer.authority().not_after().s());
        let clock = services.state.clock.reading();
        let now = clock.now();
        let (rotations_overdue, rotations_dead_letter, orphans, leases) =
            services.state.store.read(|world, _| {
                let (overdue, dead) = troubled(world, now);
                let orphans = world.rotations.all().map(|rotation| rotation.upstream.orphans.len()).sum();
                (overdue, dead, orphans, crate::broker::leases::counts(world, now))
            });
        let (incidents_open, incidents_contained) = services.state.store.read(|world, _| {
            let is_open = |one: &&Incident| one.closed.is_none();
            let open = world.incidents().all().filter(is_open).count();
            (open, world.incidents().all().filter(|one| one.is_containing()).count())
        });
        let approvals_pending = services.state.store.read(|world, _| {
            let is_pending = |one: &&Approval| one.state(now) == ApprovalState::Pending;
            world.approvals().newest().filter(is_pending).count()
        });
        let announcements = services.announcement_counts();
        services.notifications.meters.text(&MeterReading {
            approvals_pending,
            webhook_waiting: announcements.waiting,
            webhook_dead_letters: announcements.dead_letters,
            rotations_overdue,
            rotations_dead_letter,
            orphans,
            leases,
            upstream_circuits_open: services.upstream_circuits_open(),
            clock_difference_s: clock.wall().seconds_since(now),
            clock_stops_issuance: clock.trust() == ClockTrust::Held,
            ledger_seq: services.state.store.head().seq,
            ledger_writable: services.state.store.write_state().is_writable()
                && !services.state.store.is_read_only(),
            ledger_stalled_s: services.state.store.write_state().stalled_s(),
            disk_free_bytes: services.state.store.free_bytes(),
            is_read_only: services.state.store.is_read_only(),
            is_frozen: services.is_frozen(),
            incidents_open,
            incidents_contained,
            index_lag: services.state.store.index_lag(),
            ledger_reserve: services.state.store.has_reserve(),
            ledger_standbys_missing: u64::from(services.state.store.standbys_missing()),
            revocations_unrecorded: services.state.store.unrecorded_denials(),
            snapshot_seq: services.state.store.snapshot_seq(),
            keys_due: services.keys_due(),
            value_key_seals: services.values.sealer.seals(),
        })
    }
}

/// The number of overdue rotations at `now`, and of those that need attention.
fn troubled(world: &World, now: Timestamp) -> (usize, usize) {
    let overdue = world.rotations.all().filter(|rotation| rotation.is_overdue(now)).count();
    let runs = world.rotations.all().filter_map(|rotation| rotation.run.as_ref());
    (overdue, runs.filter(|run| run.is_dead()).count())
}
