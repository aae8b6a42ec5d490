//! The people who administer the broker: their roles, how far these reach, and the certificates that
//! prove them.
//!
//! This room never decides what an operator may do and never signs anything.

mod effect;
mod events;
pub mod keys;
mod operator;
mod state;

pub use effect::{Effect, OperatorCertificate};
pub use events::{
    BreakGlassUsed, OperatorCertificatePromoted, OperatorCertificateRecorded, OperatorCertificateRetried,
    OperatorCertified, OperatorCodeReused, OperatorDeleted, OperatorDenied, OperatorEnrolled,
    OperatorInvited, OperatorLateRenewal, OperatorPlaced, OperatorRenewed,
};
pub use operator::{
    BREAK_GLASS, Certificate, Operator, OperatorRole, Serving, SignedOperatorCertificate, UnknownRole,
    is_of_host,
};
pub use state::{CERTIFICATES, CodeMaker, OperatorCode, Operators};
