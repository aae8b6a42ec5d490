//! The people who administer the broker, known by the certificates it issued to them.
//!
//! This room never decides what an operator may do and never signs anything.

mod state;

pub use state::{Effect, Operator, OperatorCertificate, OperatorCertified, Operators, keys};
