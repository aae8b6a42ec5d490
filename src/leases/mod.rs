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

pub use declaration::{Asked, TABLES, parse};
pub use events::{
    LeaseEndAttempted, LeaseEndFailed, LeaseEnded, LeaseFailed, LeaseForgotten, LeaseIntended, LeaseIssued,
    LeaseRenewalAttempted, LeaseRenewed, LeaseReused, LeaseStillOpen, LeaseUseGivenUp, LeasesEnding,
    LeasesRetried, LoginsSwept, StrayLoginEnded, UnknownLogins,
};
pub use record::{Ending, Intent, Lease, Offer, Selection, Stage, Trouble, Why};
pub use state::{Effect, Leases};
