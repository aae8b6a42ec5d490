use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

type DurationFamily = Family<PhaseLabels, Histogram, fn() -> Histogram>;

/// Buckets from one minute to eleven days.
fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(60.0, 4.0, 8))
}

/// Durations of incidents, observed when an incident is closed.
#[derive(Debug)]
pub(super) struct IncidentMeters {
    durations: DurationFamily,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct PhaseLabels {
    phase: &'static str,
}

impl IncidentMeters {
    pub(super) fn in_registry(registry: &mut Registry) -> Self {
        let durations: DurationFamily = Family::new_with_constructor(histogram);
        let help = "Times of closed incidents: from the first sign to the detection (detect), from the detection to \
                    the containment (contain) and to the recovery (recover)";
        registry.register_with_unit("incident_duration", help, Unit::Seconds, durations.clone());
        Self { durations }
    }

    /// Observes the known times of a closed incident.
    pub(super) fn closed(&self, detect_s: Option<u64>, contain_s: Option<u64>, recover_s: Option<u64>) {
        for (phase, seconds) in [("detect", detect_s), ("contain", contain_s), ("recover", recover_s)] {
            // Fits exactly: an incident is shorter than 2^32 seconds.
            let seconds = seconds.map(|seconds| f64::from(u32::try_from(seconds).unwrap_or(u32::MAX)));
            seconds.into_iter().for_each(|seconds| {
                self.durations.get_or_create(&PhaseLabels { phase }).observe(seconds);
            });
        }
    }
}
