use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// How many leases stand how.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeaseCounts {
    /// Recorded; upstream may know of the login or not.
    pub intended: usize,
    /// Logins that work.
    pub live: usize,
    /// Logins that are to end.
    pub ending: usize,
    /// Whatever should have ended by now, among those.
    pub overdue: usize,
}

/// What is counted of leases.
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
        registry.register("leases", "Leases that have not ended", stages.clone());
        registry.register("leases_overdue", "Leases that should have ended by now", overdue.clone());
        registry.register("leases_issued", "Logins made for leases", issued.clone());
        registry.register(
            "lease_revocations_failed",
            "Times that a login could not be ended",
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
