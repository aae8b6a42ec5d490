//! What happens by itself while the broker serves: rotations that are due, ends of leases, snapshots of the
//! state.
//!
//! A job decides nothing: it asks the use cases what is due and has them do it, within limits.

mod clock_watcher;
mod lease_ender;
mod rotator;
mod snapshots;

pub use clock_watcher::ClockWatcher;
pub use lease_ender::LeaseEnder;
pub use rotator::Rotator;
pub use snapshots::Snapshots;
