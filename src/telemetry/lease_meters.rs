use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The number of leases in each state.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeaseCounts {
    /// Recorded before the upstream was called; the login may exist.
    pub intended: usize,
    /// The login works.
    pub live: usize,
    /// The login is being revoked.
    pub ending: usize,
    /// The login should be revoked by now; counted above too.
    pub overdue: usize,
}

#[derive(Debug)]
pub(super) struct LeaseMeters {
    stages: Family<StageLabels, Gauge>,
    overdue: Gauge,
    issued: Counter,
    revocations_failed: Counter,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct StageLabels {
    stage: &'static str,
}

impl LeaseMeters {
    pub(super) fn in_registry(registry: &mut Registry) -> Self {
        let (stages, overdue) = (Family::default(), Gauge::default());
        let (issued, revocations_failed) = (Counter::default(), Counter::default());
        registry.register("leases", "Leases that have not ended, by state", stages.clone());
        registry.register("leases_overdue", "Leases whose revocation is overdue", overdue.clone());
        registry.register("leases_issued", "Leases issued", issued.clone());
        registry.register(
            "lease_revocations_failed",
            "Failed attempts to revoke a lease",
            revocations_failed.clone(),
        );
        Self { stages, overdue, issued, revocations_failed }
    }

    pub(super) fn issued(&self) {
        self.issued.inc();
    }

    pub(super) fn revocation_failed(&self) {
        self.revocations_failed.inc();
    }

    pub(super) fn read(&self, counts: &LeaseCounts) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let stages = [("intended", counts.intended), ("live", counts.live), ("ending", counts.ending)];
        for (stage, count) in stages {
            self.stages.get_or_create(&StageLabels { stage }).set(number(count));
        }
        self.overdue.set(number(counts.overdue));
    }
}
