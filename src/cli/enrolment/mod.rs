//! Enrolment of this machine as an agent or operator, and renewal of its certificate.

mod issued;
mod join;
mod renewal;
mod replaced;

pub(crate) use join::{JoinArgs, join};
pub(crate) use renewal::{RenewArgs, is_renewal_wanted, is_valid_for, renew, renew_if_due};
