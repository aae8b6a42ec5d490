//! What happens by itself while the broker serves: rotations that are due.
//!
//! A job decides nothing: it asks the use cases what is due and has them do it, within limits.

mod rotator;

pub use rotator::Rotator;
