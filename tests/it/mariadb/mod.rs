//! Rotations and leases at a real `MariaDB`.

mod hostile;
mod kills;
pub(crate) mod leases;
mod rotation;

/// The first password of the user `app`.
pub(crate) const FIRST: &str = "CNRY-the-first-password";
