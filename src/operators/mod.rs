//! The people who administer the broker: their roles, how far these reach, and the certificates that
//! prove them.
//!
//! This room never decides what an operator may do and never signs anything.

mod events;
mod operator;
mod state;

pub use events::{
    OperatorCertificatePromoted, OperatorCertificateRecorded, OperatorCertificateRetried, OperatorCertified,
    OperatorCodeReused, OperatorDenied, OperatorEnrolled, OperatorInvited, OperatorPlaced, OperatorRenewed,
};
pub use operator::{Certificate, Operator, OperatorRole, Serving, UnknownRole};
pub use state::{CERTIFICATES, Code, Effect, OperatorCertificate, Operators, keys};
