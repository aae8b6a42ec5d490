//! How a machine gets a certificate, and keeps a valid one.

pub(in crate::cli) mod join;
pub(in crate::cli) mod renew;
