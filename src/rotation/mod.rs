//! When upstream secrets get new values, and how far each change has come.

mod schedule;

pub use schedule::{Schedule, ScheduleError, Written, length_s, spoken};
