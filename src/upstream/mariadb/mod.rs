//! `MariaDB`: passwords of accounts, and accounts that are revoked with their leases.

mod client;
mod lease_declaration;
mod leases;
mod packets;
mod revoke;
mod rotation;
mod server;
mod session;
mod sql;

use super::driver_kind::{DriverKind, LeaseKind, RotationKind};

pub(super) const KIND: DriverKind = DriverKind {
    rotation: Some(RotationKind { driver: "mariadb", read: rotation::read, fields: rotation::fields }),
    leases: Some(LeaseKind {
        driver: "mariadb-dynamic",
        read: leases::read,
        fields: lease_declaration::fields,
        variables: client::variables,
        url: client::url,
        client_file: client::file,
    }),
    outspoken: &[],
};
