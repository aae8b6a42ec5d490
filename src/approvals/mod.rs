//! Requests for approval: what agents ask for, the votes of operators, and how often an approval was used.
//!
//! Knows policies and operators by their names only. It never decides who may approve, nor whether an approval allows a
//! request; `policy` does.

mod approval;
mod effect;
mod events;
pub mod keys;
mod opened;
mod state;
mod terms;
mod with_parameters;

pub use approval::{Approval, Ballot, CastVote, Ending};
pub use effect::Effect;
pub use events::{ApprovalApproved, ApprovalDenied, ApprovalRequested, ApprovalWithdrawn, VoteText};
pub use opened::{OpenedApproval, Requester};
pub use state::Approvals;
pub use terms::{ApprovalTerms, PolicyDemand, RequestedCapability, RequestedGrant};
