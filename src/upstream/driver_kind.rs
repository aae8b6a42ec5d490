use super::client::ClientLogin;
use super::declaration::{Fields, TargetError};
use super::driver::Driver;
use super::lease_driver::LeaseDriver;

/// What a kind of upstream can be used for.
pub(super) struct DriverKind {
    pub(super) rotation: Option<RotationKind>,
    pub(super) leases: Option<LeaseKind>,
    /// Libraries whose log lines hold statements, and so secrets.
    pub(super) outspoken: &'static [&'static str],
}

/// How secrets of a kind are rotated.
pub(super) struct RotationKind {
    /// Stands in the field `driver`. Stored declarations keep it: a form that old ones do not have gets a new name.
    pub(super) driver: &'static str,
    pub(super) read: fn(Fields) -> Result<Box<dyn Driver>, TargetError>,
}

/// How leases of a kind are issued.
pub(super) struct LeaseKind {
    /// Stands in the field `driver`, as in [`RotationKind`].
    pub(super) driver: &'static str,
    pub(super) read: fn(Fields) -> Result<Box<dyn LeaseDriver>, TargetError>,
    /// The environment variables that client programs of the upstream read.
    pub(super) variables: fn(&ClientLogin<'_>) -> Vec<(&'static str, String)>,
    /// The URL that client programs take.
    pub(super) url: fn(&ClientLogin<'_>) -> String,
}
