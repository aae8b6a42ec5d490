//! Logs, metrics and alarms of the process, and its protection from other users of the host.
//!
//! Secret values cannot reach a log line: their types have no text form. This room knows no product noun except
//! those in the names of metrics and alarms.

mod alarm;
mod allocator;
mod approval_meters;
mod hardening;
mod incident_meters;
mod lease_meters;
mod logs;
mod meters;
mod priority;
mod reading;

pub use alarm::{Alarm, Alarms};
pub use approval_meters::{ApprovalOutcome, DecisionOutcome, MeteredCapability};
pub use hardening::{Hardening, Protection, free_bytes, harden, is_memory_locked, raise_open_files};
pub use lease_meters::LeaseCounts;
pub use logs::{LineForm, LogError, init};
pub use meters::{AnsweredRequest, Latency, Level, LevelGuard, Meters, RefusedCertificate};
pub use priority::{give_way, wait_for_idle_processor};
pub use reading::MeterReading;
