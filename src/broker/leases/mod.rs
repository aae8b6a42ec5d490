//! Logins that are lent: one file for each thing that happens to a lease.

mod again;
mod counter;
mod declare;
mod due;
mod end;
mod extend;
mod failing;
mod holding;
mod ineligible;
mod issue;
mod renew;
mod revoke;
mod sweep;
mod views;

pub(super) use declare::Offers;
pub use issue::{Freshness, LeaseInput, Leased};
pub use renew::Renewal;
pub(super) use revoke::Selected;
pub use revoke::{Chosen, LeasesEnded};
pub(super) use views::counts;
pub use views::{LeasePage, LeaseView};
