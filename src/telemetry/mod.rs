//! What the process tells about itself, and what it keeps from others on its host.
//!
//! Log fields are redacted by type: what must not be seen has no text form. This room knows nothing
//! of what is logged.

mod alarm;
mod allocator;
mod hardening;
mod lease_meters;
mod logs;
mod meters;
mod priority;

pub use alarm::{Alarm, Alarms};
pub use hardening::{Hardening, Protection, free_bytes, harden, raise_open_files};
pub use lease_meters::LeaseCounts;
pub use logs::{LineForm, LogError, init};
pub use meters::{Answered, Latency, Level, Meters, Reading, Within};
pub use priority::give_way;
