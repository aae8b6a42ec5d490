//! The people who administer the broker: their roles, how far these reach, and the certificates that
//! prove them.
//!
//! This room never decides what an operator may do and never signs anything.

mod approval_key;
mod effect;
mod events;
mod introduced;
mod introducers;
pub mod keys;
mod operator;
mod profile;
mod role;
mod state;

pub use approval_key::{ApprovalKey, ApprovalKeyChange, ApprovalKeys, ProposedApprovalKey};
pub use effect::{Effect, OperatorCertificate};
pub use events::{
    ApprovalKeyAccepted, ApprovalKeyProposed, ApprovalKeysRemoved, BreakGlassUsed, LedgerRead,
    LedgerReadingEnded, OperatorCertificatePromoted, OperatorCertificateRecorded, OperatorCertificateRetried,
    OperatorCertified, OperatorCodeReused, OperatorDeleted, OperatorDenied, OperatorElsewhere,
    OperatorEnrolled, OperatorInvited, OperatorLateRenewal, OperatorPlaced, OperatorProfileChanged,
    OperatorRenewed, OperatorUsed, PlaceText, ProfileText,
};
pub(crate) use operator::CONTAIN_ON_HOST;
pub use operator::{
    BREAK_GLASS, Certificate, EnrolledFrom, Operator, OperatorUse, Serving, SignedOperatorCertificate,
    is_of_host,
};
pub use profile::{OperatorKind, OperatorProfile, UnknownKind};
pub use role::{OperatorRole, UnknownRole};
pub use state::{CERTIFICATES, CodeMaker, OperatorCode, Operators};
