//! Requests that may come twice: what a request with an `Idempotency-Key` did, so that the same
//! request does it once and is answered alike.
//!
//! What was done is remembered by the entry that did it, never beside it: of two requests with one
//! key, the ledger takes one, and the other finds the outcome. This room never remembers a secret,
//! and never decides whether an outcome may be told again.

pub mod keys;
mod request;
mod state;

pub use request::{IdempotencyCaller, IdempotencyKey, IdempotentRequest};
pub use state::{Effect, Lookup, MintedBefore, Outcome, Outcomes, Remembered};
