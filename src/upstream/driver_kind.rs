use schemars::{Schema, SchemaGenerator};

use super::client::ClientLogin;
use super::declaration::{Fields, TargetError};
use super::driver::Driver;
use super::lease_driver::LeaseDriver;

/// A kind of upstream.
pub(super) struct DriverKind {
    pub(super) rotation: Option<RotationKind>,
    pub(super) leases: Option<LeaseKind>,
    /// Libraries whose log lines contain statements, and so secrets.
    pub(super) outspoken: &'static [&'static str],
}

/// Rotation of secrets of one kind.
pub(super) struct RotationKind {
    /// The value of the field `driver`. Stored declarations contain it: an incompatible format needs a new name.
    pub(super) driver: &'static str,
    pub(super) read: fn(Fields) -> Result<Box<dyn Driver>, TargetError>,
    /// The schemas of the fields beside `driver`.
    pub(super) fields: fn(&mut SchemaGenerator) -> Vec<Schema>,
}

/// Leases of one kind.
pub(super) struct LeaseKind {
    /// The value of the field `driver`, as in [`RotationKind`].
    pub(super) driver: &'static str,
    pub(super) read: fn(Fields) -> Result<Box<dyn LeaseDriver>, TargetError>,
    /// As in [`RotationKind`].
    pub(super) fields: fn(&mut SchemaGenerator) -> Vec<Schema>,
    /// The environment variables for client programs.
    pub(super) variables: fn(&ClientLogin<'_>) -> Vec<(&'static str, String)>,
    /// The URL for client programs.
    pub(super) url: fn(&ClientLogin<'_>) -> String,
    /// The configuration file of the server's own client program.
    pub(super) client_file: fn(&ClientLogin<'_>) -> String,
}
