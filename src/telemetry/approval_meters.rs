use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::base::limits::METER_CAPABILITIES_MAX;

/// A declared capability and its environment, for the labels of a metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MeteredCapability<'a> {
    /// The capability. Never a name that an agent made up.
    pub capability: &'a str,
    /// Its environment, if it has one.
    pub environment: Option<&'a str>,
}

/// The outcome of a request for a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DecisionOutcome {
    /// It was granted as requested.
    Allow,
    /// It was granted with less than was requested.
    Constrain,
    /// It was denied.
    Deny,
    /// It waits for an approval.
    RequireApproval,
    /// It was granted, and is the smaller request that a denial had named.
    Remediated,
}

impl DecisionOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Constrain => "constrain",
            Self::Deny => "deny",
            Self::RequireApproval => "require_approval",
            Self::Remediated => "remediated",
        }
    }
}

/// What became of a request for approval.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ApprovalOutcome {
    /// It was opened.
    Requested,
    /// All demands were met.
    Approved,
    /// An operator denied it.
    Denied,
    /// A token was issued with it.
    Used,
}

impl ApprovalOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Used => "used",
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CapabilityLabels {
    capability: String,
    environment: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OutcomeLabels {
    outcome: &'static str,
    capability: String,
    environment: String,
}

/// Metrics of decisions and approvals, by capability and environment.
#[derive(Debug)]
pub(super) struct ApprovalMeters {
    /// The labels in use. Once there are [`METER_CAPABILITIES_MAX`], further ones are `other`.
    known: RwLock<BTreeSet<(String, String)>>,
    decisions: Family<OutcomeLabels, Counter>,
    approvals: Family<OutcomeLabels, Counter>,
    answers: Family<CapabilityLabels, Histogram>,
    delivered: Counter,
    failed: Counter,
}

const OTHER: &str = "other";

/// Half a minute to a day, in seconds.
const ANSWER_BUCKETS: [f64; 9] = [30.0, 60.0, 120.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 86_400.0];

fn answer_histogram() -> Histogram {
    Histogram::new(ANSWER_BUCKETS)
}

impl ApprovalMeters {
    pub(super) fn in_registry(registry: &mut Registry) -> Self {
        let (decisions, approvals) = (Family::default(), Family::default());
        let answers = Family::new_with_constructor(answer_histogram as fn() -> Histogram);
        let (delivered, failed) = (Counter::default(), Counter::default());
        registry.register(
            "token_decisions",
            "Decisions on requests for tokens, once for each declared capability of the request, by outcome",
            decisions.clone(),
        );
        registry.register(
            "approvals",
            "Requests for approval that were opened, approved, denied or used, once for each capability",
            approvals.clone(),
        );
        registry.register_with_unit(
            "approval_answer",
            "Time from a request for approval to its approval or denial",
            Unit::Seconds,
            answers.clone(),
        );
        registry.register(
            "webhook_deliveries",
            "Messages about requests for approval that the webhook has accepted",
            delivered.clone(),
        );
        registry.register(
            "webhook_failures",
            "Failed attempts to deliver a message to the webhook",
            failed.clone(),
        );
        Self { known: RwLock::default(), decisions, approvals, answers, delivered, failed }
    }

    fn labels(&self, metered: MeteredCapability<'_>) -> (String, String) {
        let pair = (metered.capability.to_owned(), metered.environment.unwrap_or_default().to_owned());
        if self.known.read().unwrap_or_else(PoisonError::into_inner).contains(&pair) {
            return pair;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= METER_CAPABILITIES_MAX && !known.contains(&pair) {
            return (OTHER.to_owned(), OTHER.to_owned());
        }
        known.insert(pair.clone());
        pair
    }

    fn outcome(&self, outcome: &'static str, metered: MeteredCapability<'_>) -> OutcomeLabels {
        let (capability, environment) = self.labels(metered);
        OutcomeLabels { outcome, capability, environment }
    }

    pub(super) fn decided(&self, outcome: DecisionOutcome, metered: MeteredCapability<'_>) {
        self.decisions.get_or_create(&self.outcome(outcome.as_str(), metered)).inc();
    }

    pub(super) fn approval(&self, outcome: ApprovalOutcome, metered: MeteredCapability<'_>) {
        self.approvals.get_or_create(&self.outcome(outcome.as_str(), metered)).inc();
    }

    pub(super) fn answered(&self, waited_s: u64, metered: MeteredCapability<'_>) {
        let (capability, environment) = self.labels(metered);
        let waited_s = f64::from(u32::try_from(waited_s).unwrap_or(u32::MAX));
        self.answers.get_or_create(&CapabilityLabels { capability, environment }).observe(waited_s);
    }

    pub(super) fn webhook_delivered(&self) {
        self.delivered.inc();
    }

    pub(super) fn webhook_failed(&self) {
        self.failed.inc();
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn labels_are_limited_and_the_rest_is_counted_together() {
        let mut registry = Registry::default();
        let meters = ApprovalMeters::in_registry(&mut registry);
        let names: Vec<String> = (0..METER_CAPABILITIES_MAX + 2).map(|number| format!("c{number}")).collect();
        for name in &names {
            let metered = MeteredCapability { capability: name, environment: Some("production") };
            meters.decided(DecisionOutcome::Deny, metered);
        }
        // A known one stays itself
        let first = MeteredCapability { capability: "c0", environment: Some("production") };
        meters.decided(DecisionOutcome::Deny, first);
        meters.answered(45, first);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let value = |capability: &str, environment: &str| {
            let labels =
                format!("outcome=\"deny\",capability=\"{capability}\",environment=\"{environment}\"}} ");
            let line = text.lines().find(|line| line.contains(&labels));
            line.and_then(|line| line.rsplit(' ').next()).map(str::to_owned)
        };
        assert_eq!(value("c0", "production").as_deref(), Some("2"), "{text}");
        assert_eq!(value(&format!("c{}", METER_CAPABILITIES_MAX - 1), "production").as_deref(), Some("1"));
        assert_eq!(value(&format!("c{METER_CAPABILITIES_MAX}"), "production"), None);
        assert_eq!(value(OTHER, OTHER).as_deref(), Some("2"));
        let answered =
            "approval_answer_seconds_bucket{le=\"60.0\",capability=\"c0\",environment=\"production\"} 1";
        assert!(text.contains(answered), "{text}");
    }
}
