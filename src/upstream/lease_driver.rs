use std::fmt;

use serde_json::{Map, Value};

use super::driver::{Checking, DriverContext, DriverFuture};
use crate::base::{SecretName, Timestamp};
use crate::secrets::SecretValue;

/// Creates the logins of leases at one declared upstream, and revokes them. A login is its name, which the
/// broker chooses, and a credential, which is opaque to the broker.
pub trait LeaseDriver: fmt::Debug + Send + Sync {
    /// The driver and the address, for people.
    fn describe(&self) -> String;

    /// The unit of failure: equal for all declarations of one machine.
    fn place(&self) -> String;

    /// The secret that administers the upstream.
    fn admin_secret(&self) -> &SecretName;

    /// Whether a login expires without the broker.
    fn expiry(&self) -> Expiry;

    /// The connection parameters for clients: `driver`, and the fields that the driver's reference lists.
    fn connection(&self) -> Map<String, Value>;

    /// Creates a login completely or not at all, and only if it can be revoked; returns its credential.
    fn create<'a>(&'a self, call: LeaseCall<'a>, login: NewLogin<'a>) -> DriverFuture<'a, SecretValue>;

    /// Checks whether `login` could be created, without creating it; also returns findings if the upstream does not answer.
    fn check<'a>(&'a self, call: LeaseCall<'a>, login: NewLogin<'a>) -> Checking<'a>;

    /// Extends a login. No effect if logins do not expire without the broker.
    fn extend<'a>(&'a self, call: LeaseCall<'a>, login: &'a str, until: Timestamp) -> DriverFuture<'a, ()>;

    /// Revokes a login and ends its sessions. Can be repeated after any failure; a login that does not exist counts as
    /// revoked. [`is_shut_out`](super::is_shut_out) of a fault says whether the login is shut out.
    fn revoke<'a>(&'a self, call: LeaseCall<'a>, login: &'a str) -> DriverFuture<'a, ()>;

    /// All logins whose names start with `prefix`, and their expiry at `now`.
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
    /// The server refuses it after its expiry.
    ByServer,
    /// It works until the broker revokes it.
    ByBroker,
}

/// The input of a call of a lease, borrowed for the call.
#[derive(Clone, Copy, Debug)]
pub struct LeaseCall<'a> {
    /// The broker's services.
    pub with: &'a DriverContext,
    /// The value of the secret that administers the upstream.
    pub admin: &'a SecretValue,
}

/// A new login.
#[derive(Clone, Copy, Debug)]
pub struct NewLogin<'a> {
    /// Its name.
    pub name: &'a str,
    /// The time of its expiry.
    pub until: Timestamp,
    /// The maximum number of logins of its agent.
    pub per_agent: u32,
}

/// A login in a server's list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FoundLogin {
    /// Its name.
    pub name: String,
    /// Whether it has expired.
    pub is_over: bool,
}
