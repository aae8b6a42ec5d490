//! Leases: logins upstream that were made for one grant and end with it.
//!
//! State is changed by [`Effect`]s alone. This room calls nobody, decides nothing and opens nothing: it
//! knows a login by its name, its password only sealed, and upstream by what was declared of it.

mod declaration;
mod events;
pub mod keys;
mod record;
mod state;
#[cfg(test)]
pub(crate) mod tests;

pub use declaration::{DeclaredLease, TABLES, parse, table_schemas};
pub use events::{
    LeaseCheckAttempted, LeaseEnded, LeaseFailed, LeaseForgotten, LeaseIntended, LeaseIssued,
    LeaseRenewalAttempted, LeaseRenewed, LeaseReused, LeaseRevocationAttempted, LeaseRevocationFailed,
    LeaseStillOpen, LeaseUseReleased, LeasesRetried, LeasesRevoked, LoginsInspected, StrayLoginEnded,
    UnknownLogins,
};
pub use record::{
    EndReason, Ending, Lease, LeaseEnds, LeaseHolder, LeaseIntent, LeaseIssue, LeaseLogin, LeaseOffer,
    LeaseSelection, LeaseStage, RevocationFailure,
};
pub use state::{Effect, Leases};
