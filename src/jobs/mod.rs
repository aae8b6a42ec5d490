//! Periodic work of a serving broker: due rotations, revocations of leases, snapshots, the clock, lost entries of the
//! ledger, messages about requests for approval.
//!
//! Jobs decide nothing: they ask the use cases for due work, and call them within limits.

mod announcer;
mod clock_watcher;
mod lease_ender;
mod ledger_watcher;
mod rotator;
mod snapshots;

pub use announcer::Announcer;
pub use clock_watcher::ClockWatcher;
pub use lease_ender::LeaseEnder;
pub use ledger_watcher::LedgerWatcher;
pub use rotator::Rotator;
pub use snapshots::Snapshots;
