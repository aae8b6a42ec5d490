//! Upstreams: what takes a new value of a secret, and how it is told of it.
//!
//! One [`Driver`] for each kind of upstream, behind one small trait. A driver remembers nothing: it is
//! given the values that it needs, calls upstream within limits of time and size, and says what came
//! of it. What upstream says in words is dropped here: it may hold a value.

mod breaker;
mod driver;
mod generate;
mod login;
mod pipe;
mod postgresql;
mod target;

pub use breaker::Breakers;
pub use driver::{Answer, Driver, Fault, Held, Outcome, Shape, Surroundings, Verdict, driver};
pub use target::{Target, TargetError};
