//! Leases of logins: one file for each use case.

mod check;
mod declare;
mod due;
mod failed_revocations;
mod give_up;
mod holder;
mod ineligible;
mod issue;
mod lease_upstream;
mod renew;
mod renew_by_operator;
mod requested_life;
mod reuse;
mod revoke;
mod revoke_upstream;
mod stray_logins;
mod views;

pub(super) use declare::Offers;
pub(super) use ineligible::administering;
pub use issue::{Freshness, LeaseInput, Leased};
pub use renew::Renewal;
pub(super) use revoke::Selected;
pub use revoke::{Chosen, LeasesEnded};
pub(super) use views::counts;
