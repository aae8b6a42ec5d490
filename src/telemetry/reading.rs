use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::lease_meters::LeaseCounts;

/// `FIELD TYPE "metric", "help";` each: a field of [`MeterReading`], and the gauge that shows it.
macro_rules! readings {
    ($($field:ident $type:ty = $metric:literal, $help:literal;)*) => {
        /// The values that are read when a monitoring system asks for them.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct MeterReading {
            $(#[doc = $help] pub $field: $type,)*
            /// Leases that have not ended, by state.
            pub leases: LeaseCounts,
        }

        #[derive(Debug)]
        pub(super) struct Gauges {
            $($field: Gauge,)*
        }

        impl Gauges {
            pub(super) fn in_registry(registry: &mut Registry) -> Self {
                $(
                    let $field = Gauge::default();
                    registry.register($metric, $help, $field.clone());
                )*
                Self { $($field),* }
            }

            pub(super) fn set(&self, reading: &MeterReading) {
                $(self.$field.set(reading.$field.gauge());)*
            }
        }
    };
}

readings! {
    ledger_seq u64 = "ledger_seq", "Sequence number of the newest durable ledger entry";
    ledger_writable bool = "ledger_writable", "Whether the newest write to the ledger succeeded: 1 or 0";
    ledger_stalled_s u64 = "ledger_stalled_seconds", "Seconds for which the data disk has not answered a write; 0 while it answers";
    disk_free_bytes Option<u64> = "data_disk_free_bytes", "Free bytes on the data disk, for users other than root";
    is_read_only bool = "read_only", "Whether the broker is in read-only mode: 1 or 0";
    is_frozen bool = "frozen", "Whether the broker is frozen, so that it issues no tokens, reveals no secrets and gives no leases: 1 or 0";
    incidents_open usize = "incidents_open", "Incidents that are not closed";
    incidents_contained usize = "incidents_contained", "Incidents that contain a subject";
    index_lag u64 = "index_lag_entries", "Ledger entries that the index does not contain yet";
    ledger_reserve bool = "ledger_reserve", "Whether space is reserved for revocations on a full disk: 1 or 0";
    ledger_standbys_missing u64 = "ledger_standbys_missing", "Synchronous standbys that the ledger's database lacks: those that each commit waits for, or 1 without replication; 0 with a ledger in files";
    revocations_unrecorded usize = "revocations_unrecorded", "Revocations that are in force in memory only, because the ledger has not recorded them";
    snapshot_seq u64 = "snapshot_seq", "Sequence number of the newest snapshot; 0 without a snapshot";
    keys_due usize = "keys_due", "Keys that are past their life or use limit and not rotated yet";
    value_key_seals u64 = "value_key_seals", "Upper bound of the records that the value key has sealed; its limit is 2147483648";
    rotations_overdue usize = "rotations_overdue", "Rotations whose start is overdue";
    rotations_dead_letter usize = "rotations_dead_letter", "Rotations that have stopped after repeated failures and need an operator";
    orphans usize = "rotation_orphans", "Values that an upstream may accept and the broker does not use";
    upstream_circuits_open usize = "upstream_circuits_open", "Upstreams that the broker does not call for a while, after repeated failures";
    approvals_pending usize = "approvals_pending", "Requests for approval that wait for an answer";
    webhook_waiting usize = "webhook_waiting", "Messages about requests for approval that the webhook has not accepted yet";
    webhook_dead_letters usize = "webhook_dead_letters", "Messages about pending requests for approval that are not sent again, after repeated failures";
    clock_difference_s i64 = "clock_difference_seconds", "System clock minus the broker's expected time, in seconds";
    clock_stops_issuance bool = "clock_stops_issuance", "Whether a wrong clock at the start stops issuance: 1 or 0";
}

trait GaugeValue {
    fn gauge(self) -> i64;
}

impl GaugeValue for i64 {
    fn gauge(self) -> i64 {
        self
    }
}

impl GaugeValue for bool {
    fn gauge(self) -> i64 {
        i64::from(self)
    }
}

impl GaugeValue for u64 {
    fn gauge(self) -> i64 {
        i64::try_from(self).unwrap_or(i64::MAX)
    }
}

impl GaugeValue for usize {
    fn gauge(self) -> i64 {
        i64::try_from(self).unwrap_or(i64::MAX)
    }
}

/// An unknown amount raises no alert.
impl GaugeValue for Option<u64> {
    fn gauge(self) -> i64 {
        self.map_or(i64::MAX, GaugeValue::gauge)
    }
}
