//! PostgreSQL: passwords of login roles, and login roles that are revoked with their leases.

mod administrator;
mod check;
mod client;
mod create;
mod lease_declaration;
mod leases;
mod login;
mod proof;
mod revoke;
mod rotation;
mod rotation_declaration;
mod server;
mod session;
mod sql;

use super::driver_kind::{DriverKind, LeaseKind, RotationKind};

pub(super) const KIND: DriverKind = DriverKind {
    rotation: Some(RotationKind {
        driver: "postgresql",
        read: rotation::read,
        fields: rotation_declaration::fields,
    }),
    leases: Some(LeaseKind {
        driver: "postgresql-dynamic",
        read: leases::read,
        fields: lease_declaration::fields,
        variables: client::variables,
        url: client::url,
        client_file: client::file,
    }),
    outspoken: &["tokio_postgres"],
};
