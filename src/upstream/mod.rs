//! Upstreams: services that accept new values of secrets, and servers of the logins of leases.
//!
//! One folder per kind, behind one trait for rotation, [`Driver`], and one for leases, [`LeaseDriver`]. A driver has no
//! state: it gets the values that it needs, calls the upstream within limits of time and size, and returns the result.
//! Error texts of upstreams are dropped here, because they may contain a value.

mod account_driver;
mod accounts;
mod breaker;
mod certificates;
mod changed_fields;
mod client;
mod connect_fault;
mod declaration;
mod driver;
mod driver_kind;
mod endpoint;
mod fault;
mod find_driver;
mod finding;
mod generate;
mod guard;
mod http;
mod lease_driver;
mod leased_logins;
mod mariadb;
mod mark;
mod pipe;
mod postgresql;
mod random;
mod schema;

pub use breaker::{Breakers, CallAdmission, OpenCircuit};
pub use changed_fields::changed_fields;
pub use client::{ClientLogin, authorities};
pub use declaration::TargetError;
pub use driver::{
    Called, Capabilities, Checking, Driver, DriverContext, DriverFuture, Prepared, RotationCall, SlotCount,
};
pub use fault::{Explanation, UpstreamFault, UpstreamOutcome, explained, is_shut_out};
pub use find_driver::{
    client_file, client_url, client_variables, declared_driver, declared_lease_driver, outspoken_libraries,
    stored_driver, stored_lease_driver, stored_upstream,
};
pub use finding::{Finding, Verdict};
pub use generate::WITHOUT_UPSTREAM;
pub use guard::AllowedNetworks;
pub use http::{Webhook, WebhookKey, WebhookKeyError, WebhookMessage};
pub use lease_driver::{Expiry, FoundLogin, LeaseCall, LeaseDriver, NewLogin};
pub use mark::{EntryLookup, Mark, MarkedEntry};
pub use schema::{lease_upstream_schema, rotation_upstream_schema};
