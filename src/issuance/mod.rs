//! Grant and receipt in, credential out. The only room that holds signing and opening keys.
//!
//! Every method takes a [`Receipt`](crate::ledger::Receipt) of a
//! [`Grant`](crate::policy::Grant) by value: nothing leaves without a decision, nothing leaves
//! before its record is durable, and neither can be spent twice. What comes out is [`Issued`],
//! which nobody else can make.

mod issue;
mod keys;
mod login;

pub use issue::{
    Certify, IssueError, Issued, Issuer, MintReplay, NeededVersions, ServerPlan, SignedCertificate, Token,
};
pub use keys::Keys;
pub use login::{CreatedLogin, IssuedLogin, LeaseReplay, Leasing, LoginPermit};
