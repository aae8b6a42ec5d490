use super::desk::AdminDesk;
use crate::policy::{Authorised, ReadMetrics};
use crate::telemetry::Reading;

impl AdminDesk {
    /// What the broker counts, in the text form of `OpenMetrics`.
    #[must_use]
    pub fn metrics(&self, _by: &Authorised<ReadMetrics>) -> String {
        let core = &*self.0;
        core.meters.certificate_ends("authority", core.issuer.authority().not_after().s());
        let now = core.clock.now();
        let (rotations_overdue, rotations_dead, orphans, leases) = core.store.read(|world, _| {
            let overdue = world.rotations.all().filter(|rotation| rotation.is_overdue(now)).count();
            let runs = world.rotations.all().filter_map(|rotation| rotation.run.as_ref());
            let orphans = world.rotations.all().map(|rotation| rotation.orphans.len()).sum();
            (overdue, runs.filter(|run| run.is_dead()).count(), orphans, super::leases::counts(world, now))
        });
        core.meters.text(&Reading {
            rotations_overdue,
            rotations_dead,
            orphans,
            leases,
            upstreams_left_alone: core.upstreams_left_alone(),
            ledger_seq: core.store.head().seq,
            ledger_writable: core.store.is_writable(),
            index_lag: core.store.index_lag(),
            ledger_reserve: core.store.has_reserve(),
            snapshot_seq: core.store.snapshot_seq(),
        })
    }
}
