//! What happens by itself while the broker serves: rotations that are due, snapshots of the state.
//!
//! A job decides nothing: it asks the use cases what is due and has them do it, within limits.

mod rotator;
mod snapshots;

pub use rotator::Rotator;
pub use snapshots::Snapshots;
