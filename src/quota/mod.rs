//! How often callers may ask, and how many requests they may have under way. Makes the proofs [`Admitted`] and [`Permit`].
//!
//! Nothing here knows HTTP: the answer is a permit, or a [`Limited`] that says when to come back.
//! The arithmetic is the library's GCRA; this room gives it our clock and keeps its tables small.

mod concurrency;
mod denials;
mod guesses;
mod limiter;
mod refusals;
mod sources;

pub use concurrency::{AtCapacity, Concurrency, ConcurrencyPermit};
pub use denials::{Denials, Note};
pub use guesses::Guesses;
pub use limiter::{Admitted, Limited, Limiter, Permit, Rate};
pub use refusals::{LastRefusal, RefusalCount, RefusalSummary, Refusals, RefusedAt, RefusedSources};
pub use sources::DenialsBySource;
