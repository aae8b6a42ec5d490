use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::alarm::Alarms;
use super::lease_meters::{LeaseCounts, LeaseMeters};

/// What a monitoring system reads. Every label has few values, all of them ours: a route, a code, a
/// listener; never a name.
#[derive(Debug)]
pub struct Meters {
    registry: Registry,
    alarms: Alarms,
    requests: Family<RequestLabels, Counter>,
    minted: Counter,
    denied: Family<DenialLabels, Counter>,
    connections: Family<ListenerLabels, Gauge>,
    ends: Family<CertificateLabels, Gauge>,
    ledger_seq: Gauge,
    ledger_writable: Gauge,
    ledger_stalled: Gauge,
    disk_free: Gauge,
    read_only: Gauge,
    index_lag: Gauge,
    ledger_reserve: Gauge,
    revocations_unrecorded: Gauge,
    snapshot_seq: Gauge,
    keys_due: Gauge,
    value_key_seals: Gauge,
    rotations_overdue: Gauge,
    rotations_dead_letter: Gauge,
    orphans: Gauge,
    upstream_circuits_open: Gauge,
    clock_difference: Gauge,
    clock_stops_issuance: Gauge,
    heavy_requests: Gauge,
    leases: LeaseMeters,
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

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
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

/// How long something takes, as a histogram that can be shared.
#[derive(Clone, Debug)]
pub struct Latency(Histogram);

impl Latency {
    /// From fifty microseconds to some seconds.
    #[must_use]
    pub fn new() -> Self {
        Self(Histogram::new(exponential_buckets(0.000_05, 2.0, 17)))
    }

    /// It took this long once more.
    pub fn observe(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

/// How many of something there are at the moment.
#[derive(Clone, Debug)]
pub struct Level(Gauge);

impl Level {
    /// One more, until the guard goes.
    #[must_use]
    pub fn enter(&self) -> Within {
        self.0.inc();
        Within(self.0.clone())
    }
}

/// Counts as one of a [`Level`] as long as it lives.
#[derive(Debug)]
pub struct Within(Gauge);

impl Drop for Within {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What is read at the moment of being asked.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a gauge of its own")]
pub struct Reading {
    /// The newest durable sequence.
    pub ledger_seq: u64,
    /// Whether the ledger acknowledges, as the newest attempt experienced it.
    pub ledger_writable: bool,
    /// Seconds for which the disk has not answered a write; 0 while it answers.
    pub ledger_stalled_s: u64,
    /// How much can still be written to the ledger's disk.
    pub disk_free_bytes: Option<u64>,
    /// Whether the broker was started to be looked at alone.
    pub is_read_only: bool,
    /// Entries that the index has yet to take in.
    pub index_lag: u64,
    /// Whether there is room for what takes away, should the disk be full.
    pub ledger_reserve: bool,
    /// Revocations in force in memory alone.
    pub revocations_unrecorded: usize,
    /// The entry that the newest snapshot is as of; 0 when there is none that this build reads.
    pub snapshot_seq: u64,
    /// Keys that are to be rotated: by the next start, or by the schedule.
    pub keys_due: usize,
    /// Records that the value key has sealed at most.
    pub value_key_seals: u64,
    /// Rotations that should have begun by now.
    pub rotations_overdue: usize,
    /// Rotations that wait for an operator.
    pub rotations_dead_letter: usize,
    /// Values that upstreams may know and nobody uses.
    pub orphans: usize,
    /// Upstreams that failed so often that they are not called for a while.
    pub upstream_circuits_open: usize,
    /// Seconds from the time that the broker goes by to the system clock.
    pub clock_difference_s: i64,
    /// Whether nothing is issued because the system clock did not fit the ledger at start.
    pub clock_stops_issuance: bool,
    /// Leases, by how they stand.
    pub leases: LeaseCounts,
}

const LEDGER_WRITABLE: &str = "Whether the ledger acknowledges, as the newest write experienced it: 1, or 0";
const CLOCK_STOPS_ISSUANCE: &str = "Whether the system clock did not fit the ledger at start: 1, or 0";
const VALUE_KEY_SEALS: &str = "Records that the value key has sealed at most: 2147483648 is the limit";
const CLOCK_DIFFERENCE: &str = "Seconds from the time that the broker goes by to the system clock";

impl Meters {
    /// Meters that have counted nothing yet; `syncs` is the ledger's own, `alarms` are counted where they
    /// are raised.
    #[must_use]
    pub fn new(syncs: &Latency, alarms: &Alarms) -> Self {
        let mut registry = Registry::with_prefix("keyward");
        let (requests, minted, denied) = (Family::default(), Counter::default(), Family::default());
        registry.register("alarms", "Alarms raised since the start", alarms.0.clone());
        let (connections, ends) = (Family::default(), Family::default());
        let (ledger_seq, ledger_writable) = (Gauge::default(), Gauge::default());
        registry.register("requests", "Requests answered", requests.clone());
        registry.register("tokens_minted", "Access tokens minted", minted.clone());
        registry.register("denials", "Decisions that said no to an authenticated agent", denied.clone());
        registry.register("connections", "Connections that are open", connections.clone());
        registry.register(
            "certificate_not_after_timestamp_seconds",
            "When a certificate of the broker's own ends, in seconds since 1970",
            ends.clone(),
        );
        registry.register("ledger_seq", "The newest durable entry of the ledger", ledger_seq.clone());
        registry.register("ledger_writable", LEDGER_WRITABLE, ledger_writable.clone());
        let sync = "How long a group commit takes to be durable";
        registry.register_with_unit("ledger_sync", sync, Unit::Seconds, syncs.0.clone());
        let mut gauge = |name, help| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let index_lag = gauge("index_lag_entries", "Entries of the ledger that the index has yet to take in");
        let ledger_reserve = gauge("ledger_reserve", "Room for revocations on a full disk: 1, or 0");
        let revocations_unrecorded =
            gauge("revocations_unrecorded", "Revocations in force in memory that the ledger does not have");
        let ledger_stalled =
            gauge("ledger_stalled_seconds", "For how long the disk has not answered a write; else 0");
        let disk_free = gauge("data_disk_free_bytes", "How much can still be written to the ledger's disk");
        let read_only = gauge("read_only", "Whether the broker was started to be looked at alone: 1, or 0");
        let snapshot_seq = gauge("snapshot_seq", "The entry that the newest snapshot of the state is as of");
        let keys_due = gauge("keys_due", "Keys to be rotated, by the next start or by the schedule");
        let value_key_seals = gauge("value_key_seals", VALUE_KEY_SEALS);
        let rotations_overdue = gauge("rotations_overdue", "Rotations that should have begun by now");
        let rotations_dead_letter = gauge("rotations_dead_letter", "Rotations that wait for an operator");
        let orphans = gauge("rotation_orphans", "Values that upstreams may know and nobody uses");
        let upstream_circuits_open =
            gauge("upstream_circuits_open", "Upstreams that are not called for a while");
        let clock_difference = gauge("clock_difference_seconds", CLOCK_DIFFERENCE);
        let clock_stops_issuance = gauge("clock_stops_issuance", CLOCK_STOPS_ISSUANCE);
        let heavy_requests = gauge("heavy_requests", "Heavy requests of operators that are under way");
        let leases = LeaseMeters::in_registry(&mut registry);
        Self {
            registry,
            alarms: alarms.clone(),
            leases,
            requests,
            minted,
            denied,
            connections,
            ends,
            ledger_seq,
            ledger_writable,
            ledger_stalled,
            disk_free,
            read_only,
            index_lag,
            ledger_reserve,
            revocations_unrecorded,
            snapshot_seq,
            keys_due,
            value_key_seals,
            rotations_overdue,
            rotations_dead_letter,
            orphans,
            upstream_circuits_open,
            clock_difference,
            clock_stops_issuance,
            heavy_requests,
        }
    }

    /// Where alarms are raised.
    #[must_use]
    pub const fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// A request was answered.
    pub fn answered(&self, answered: Answered) {
        let Answered { listener, method, route, status, code } = answered;
        self.requests.get_or_create(&RequestLabels { listener, method, route, status, code }).inc();
    }

    /// A token was minted.
    pub fn minted(&self) {
        self.minted.inc();
    }

    /// A login was made for a lease.
    pub fn leased(&self) {
        self.leases.issued();
    }

    /// A lease's login could not be ended.
    pub fn lease_revocation_failed(&self) {
        self.leases.revocation_failed();
    }

    /// An authenticated agent was denied something.
    pub fn denied(&self, code: &'static str) {
        self.denied.get_or_create(&DenialLabels { code }).inc();
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

    /// A certificate of the broker's own ends at `end_s`, in seconds since 1970.
    pub fn certificate_ends(&self, certificate: &'static str, end_s: i64) {
        self.ends.get_or_create(&CertificateLabels { certificate }).set(end_s);
    }

    /// Everything, in the text form of `OpenMetrics`.
    #[must_use]
    pub fn text(&self, reading: &Reading) -> String {
        self.ledger_seq.set(i64::try_from(reading.ledger_seq).unwrap_or(i64::MAX));
        self.ledger_writable.set(i64::from(reading.ledger_writable));
        self.ledger_stalled.set(i64::try_from(reading.ledger_stalled_s).unwrap_or(i64::MAX));
        let free = reading.disk_free_bytes.and_then(|bytes| i64::try_from(bytes).ok());
        self.disk_free.set(free.unwrap_or(i64::MAX));
        self.read_only.set(i64::from(reading.is_read_only));
        self.index_lag.set(i64::try_from(reading.index_lag).unwrap_or(i64::MAX));
        self.ledger_reserve.set(i64::from(reading.ledger_reserve));
        self.snapshot_seq.set(i64::try_from(reading.snapshot_seq).unwrap_or(i64::MAX));
        let set = |gauge: &Gauge, count: usize| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        set(&self.revocations_unrecorded, reading.revocations_unrecorded);
        set(&self.keys_due, reading.keys_due);
        self.value_key_seals.set(i64::try_from(reading.value_key_seals).unwrap_or(i64::MAX));
        set(&self.rotations_overdue, reading.rotations_overdue);
        set(&self.rotations_dead_letter, reading.rotations_dead_letter);
        set(&self.orphans, reading.orphans);
        set(&self.upstream_circuits_open, reading.upstream_circuits_open);
        self.clock_difference.set(reading.clock_difference_s);
        self.clock_stops_issuance.set(i64::from(reading.clock_stops_issuance));
        self.leases.read(&reading.leases);
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            // Writing to a string does not fail; what is missing is better seen than guessed.
            text.push_str("# incomplete\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_falls_again_when_what_it_counts_has_gone() {
        let meters = Meters::new(&Latency::new(), &Alarms::new());
        let level = meters.connections("agents");
        let reading = Reading { ledger_seq: 7, ledger_writable: true, ..Reading::default() };
        let within = (level.enter(), level.enter());
        assert!(meters.text(&reading).contains("keyward_connections{listener=\"agents\"} 2\n"));
        drop(within);
        let text = meters.text(&reading);
        assert!(text.contains("keyward_connections{listener=\"agents\"} 0\n"), "{text}");
        assert!(text.contains("keyward_ledger_seq 7\n") && text.ends_with("# EOF\n"), "{text}");
    }
}
