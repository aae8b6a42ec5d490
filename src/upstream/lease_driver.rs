use std::fmt;

use serde_json::{Map, Value};

use super::driver::{DriverContext, DriverFuture};
use crate::base::{SecretName, Timestamp};
use crate::secrets::SecretValue;

/// Creates the logins of leases at one declared upstream, and revokes them. A login is its name, which the
/// broker chooses, and a credential, which is opaque to the broker.
pub trait LeaseDriver: fmt::Debug + Send + Sync {
    /// The driver and the address, for people.
    fn describe(&self) -> String;

    /// What fails together: the same for every declaration that leads to one machine.
    fn place(&self) -> String;

    /// The secret that administers the upstream.
    fn admin_secret(&self) -> &SecretName;

    /// Whether a login expires without the broker.
    fn expiry(&self) -> Expiry;

    /// How a client reaches the upstream: `driver`, and the fields that the driver's reference lists.
    fn connection(&self) -> Map<String, Value>;

    /// Creates a login as declared, or none, and none that could not be revoked; gives its credential.
    fn create<'a>(&'a self, call: LeaseCall<'a>, login: NewLogin<'a>) -> DriverFuture<'a, SecretValue>;

    /// Has a login expire later. Does nothing where logins do not expire without the broker.
    fn extend<'a>(&'a self, call: LeaseCall<'a>, login: &'a str, until: Timestamp) -> DriverFuture<'a, ()>;

    /// Revokes a login and ends its sessions. May be repeated, however far it came before; a login that
    /// does not exist is revoked. [`is_shut_out`](super::is_shut_out) of a fault says whether the login is shut out.
    fn revoke<'a>(&'a self, call: LeaseCall<'a>, login: &'a str) -> DriverFuture<'a, ()>;

    /// All logins whose names start with `prefix`, as they stood at `now`.
    fn find<'a>(
        &'a self,
        call: LeaseCall<'a>,
        prefix: &'a str,
        now: Timestamp,
    ) -> DriverFuture<'a, Vec<FoundLogin>>;
}

/// Whether a login expires without the broker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expiry {
    /// The server refuses it after its time.
    ByServer,
    /// It works until the broker revokes it.
    ByBroker,
}

/// What a call of a lease needs. Lent for the call alone.
#[derive(Clone, Copy, Debug)]
pub struct LeaseCall<'a> {
    /// The broker's side.
    pub with: &'a DriverContext,
    /// The value of the secret that administers the upstream.
    pub admin: &'a SecretValue,
}

/// A login that is to be created.
#[derive(Clone, Copy, Debug)]
pub struct NewLogin<'a> {
    /// Its name.
    pub name: &'a str,
    /// When it expires, unless it is revoked before.
    pub until: Timestamp,
    /// How many logins its agent may have at a time.
    pub per_agent: u32,
}

/// A login as a server lists it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FoundLogin {
    /// Its name.
    pub name: String,
    /// Whether its time is over.
    pub is_over: bool,
}
