use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::alarm::Alarms;
use super::approval_meters::{ApprovalMeters, ApprovalOutcome, DecisionOutcome, MeteredCapability};
use super::incident_meters::IncidentMeters;
use super::lease_meters::LeaseMeters;
use super::reading::{Gauges, MeterReading};

/// The broker's metrics. A label has few values, all from the code: a route, a code, a listener. Only the metrics of
/// decisions and approvals have names as labels, of a limited number of declared capabilities and environments.
#[derive(Debug)]
pub struct Meters {
    registry: Registry,
    alarms: Alarms,
    requests: Family<RequestLabels, Counter>,
    minted: Counter,
    denied: Family<DenialLabels, Counter>,
    refused: Family<RefusedCertificate, Counter>,
    connections: Family<ListenerLabels, Gauge>,
    ends: Family<CertificateLabels, Gauge>,
    heavy_requests: Gauge,
    readings_unrecorded: Counter,
    leases: LeaseMeters,
    incidents: IncidentMeters,
    approvals: ApprovalMeters,
    gauges: Gauges,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    listener: &'static str,
    method: &'static str,
    route: &'static str,
    status: u16,
    code: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct DenialLabels {
    code: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ListenerLabels {
    listener: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CertificateLabels {
    certificate: &'static str,
}

/// A refused certificate, by fixed words.
#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct RefusedCertificate {
    /// The kind of its identity.
    pub identity: &'static str,
    /// Why it was refused.
    pub reason: &'static str,
    /// Whether it was refused at a handshake or a request.
    pub stage: &'static str,
}

/// An answered request, by the words of the route table.
#[derive(Clone, Copy, Debug)]
pub struct AnsweredRequest {
    /// The listener that it came to.
    pub listener: &'static str,
    /// Its method, as the route table has it.
    pub method: &'static str,
    /// Its route, as the table has it.
    pub route: &'static str,
    /// The status it was answered with.
    pub status: u16,
    /// The code of a refusal; empty for a success.
    pub code: &'static str,
}

/// A histogram of durations. Clones share it.
#[derive(Clone, Debug)]
pub struct Latency(Histogram);

impl Latency {
    /// Buckets from 50 microseconds to 3.3 seconds.
    #[must_use]
    pub fn new() -> Self {
        Self(Histogram::new(exponential_buckets(0.000_05, 2.0, 17)))
    }

    /// Adds one duration.
    pub fn observe(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

/// A gauge of objects that exist at the moment.
#[derive(Clone, Debug)]
pub struct Level(Gauge);

impl Level {
    /// Adds one until the guard is dropped.
    #[must_use]
    pub fn enter(&self) -> LevelGuard {
        self.0.inc();
        LevelGuard(self.0.clone())
    }
}

/// Subtracts one from its [`Level`] when it is dropped.
#[derive(Debug)]
pub struct LevelGuard(Gauge);

impl Drop for LevelGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Meters {
    /// `syncs` is filled by the ledger, `alarms` by the rooms that raise them.
    #[must_use]
    pub fn new(syncs: &Latency, alarms: &Alarms) -> Self {
        let mut registry = Registry::with_prefix("keyward");
        let (requests, minted, denied) = (Family::default(), Counter::default(), Family::default());
        let (connections, ends, heavy_requests) = (Family::default(), Family::default(), Gauge::default());
        registry.register("alarms", "Alarms raised since the start", alarms.0.clone());
        registry.register("requests", "Requests answered", requests.clone());
        registry.register("tokens_minted", "Access tokens issued", minted.clone());
        registry.register("denials", "Requests of authenticated agents that were denied", denied.clone());
        let refused = Family::default();
        registry.register(
            "refused_certificates",
            "Certificates refused because they are revoked, suspended, contained or unknown",
            refused.clone(),
        );
        registry.register("connections", "Open connections", connections.clone());
        let expiry = "When a certificate of the broker itself expires, in seconds since 1970";
        registry.register("certificate_not_after_timestamp_seconds", expiry, ends.clone());
        let sync = "Time until a group of ledger entries is durable";
        registry.register_with_unit("ledger_sync", sync, Unit::Seconds, syncs.0.clone());
        registry.register(
            "heavy_requests",
            "Heavy requests of operators in progress",
            heavy_requests.clone(),
        );
        let readings_unrecorded = Counter::default();
        registry.register(
            "ledger_readings_unrecorded",
            "Readings of the ledger by operators about which no entry could be written",
            readings_unrecorded.clone(),
        );
        let gauges = Gauges::in_registry(&mut registry);
        let leases = LeaseMeters::in_registry(&mut registry);
        let incidents = IncidentMeters::in_registry(&mut registry);
        let approvals = ApprovalMeters::in_registry(&mut registry);
        let alarms = alarms.clone();
        Self {
            registry,
            alarms,
            requests,
            minted,
            denied,
            refused,
            connections,
            ends,
            heavy_requests,
            readings_unrecorded,
            leases,
            incidents,
            approvals,
            gauges,
        }
    }

    /// The counters of alarms.
    #[must_use]
    pub const fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Counts an answered request.
    pub fn answered(&self, answered: AnsweredRequest) {
        let AnsweredRequest { listener, method, route, status, code } = answered;
        self.requests.get_or_create(&RequestLabels { listener, method, route, status, code }).inc();
    }

    /// Counts an issued token.
    pub fn minted(&self) {
        self.minted.inc();
    }

    /// Counts a reading of the ledger about which no entry could be written.
    pub fn ledger_reading_unrecorded(&self) {
        self.readings_unrecorded.inc();
    }

    /// Counts an issued lease.
    pub fn leased(&self) {
        self.leases.issued();
    }

    /// Counts a failed revocation of a lease.
    pub fn lease_revocation_failed(&self) {
        self.leases.revocation_failed();
    }

    /// Observes the times of a closed incident, in seconds, as far as they are known: to its detection, its containment and
    /// its recovery.
    pub fn incident_closed(&self, detect_s: Option<u64>, contain_s: Option<u64>, recover_s: Option<u64>) {
        self.incidents.closed(detect_s, contain_s, recover_s);
    }

    /// Counts a denied request of an authenticated agent.
    pub fn denied(&self, code: &'static str) {
        self.denied.get_or_create(&DenialLabels { code }).inc();
    }

    /// Counts the decision on a request for a token, for one of its capabilities.
    pub fn decided(&self, outcome: DecisionOutcome, metered: MeteredCapability<'_>) {
        self.approvals.decided(outcome, metered);
    }

    /// Counts what became of a request for approval, for one of its capabilities.
    pub fn approval(&self, outcome: ApprovalOutcome, metered: MeteredCapability<'_>) {
        self.approvals.approval(outcome, metered);
    }

    /// Observes the time from a request for approval to its answer, in seconds, for one of its capabilities.
    pub fn approval_answered(&self, waited_s: u64, metered: MeteredCapability<'_>) {
        self.approvals.answered(waited_s, metered);
    }

    /// Counts a message that the webhook has accepted.
    pub fn webhook_delivered(&self) {
        self.approvals.webhook_delivered();
    }

    /// Counts a failed attempt to deliver a message to the webhook.
    pub fn webhook_failed(&self) {
        self.approvals.webhook_failed();
    }

    /// Counts a refused certificate.
    pub fn certificate_refused(&self, refused: RefusedCertificate) {
        self.refused.get_or_create(&refused).inc();
    }

    /// The connections of one listener.
    #[must_use]
    pub fn connections(&self, listener: &'static str) -> Level {
        Level(self.connections.get_or_create_owned(&ListenerLabels { listener }))
    }

    /// The heavy requests of operators.
    #[must_use]
    pub fn heavy_requests(&self) -> Level {
        Level(self.heavy_requests.clone())
    }

    /// Sets when a certificate of the broker itself expires, in seconds since 1970.
    pub fn certificate_ends(&self, certificate: &'static str, end_s: i64) {
        self.ends.get_or_create(&CertificateLabels { certificate }).set(end_s);
    }

    /// All metrics as `OpenMetrics` text.
    #[must_use]
    pub fn text(&self, reading: &MeterReading) -> String {
        self.gauges.set(reading);
        self.leases.read(&reading.leases);
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            // Writing to a string does not fail. If it ever does, the reader sees that metrics are missing.
            text.push_str("# incomplete\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_falls_when_its_guards_are_dropped() {
        let meters = Meters::new(&Latency::new(), &Alarms::new());
        let level = meters.connections("agents");
        let reading = MeterReading { ledger_seq: 7, ledger_writable: true, ..MeterReading::default() };
        let within = (level.enter(), level.enter());
        assert!(meters.text(&reading).contains("keyward_connections{listener=\"agents\"} 2\n"));
        drop(within);
        let text = meters.text(&reading);
        assert!(text.contains("keyward_connections{listener=\"agents\"} 0\n"), "{text}");
        assert!(text.contains("keyward_ledger_seq 7\n") && text.ends_with("# EOF\n"), "{text}");
    }
}
