//! Upstreams: what takes a new value of a secret, and what issues the logins of leases.
//!
//! A folder a kind, behind one trait for rotation, [`Driver`], and one for leases, [`LeaseDriver`]. A driver
//! remembers nothing: it is given the values that it needs, calls upstream within limits of time and size, and
//! returns the result. What upstream says in words is dropped here: it may hold a value.

mod accounts;
mod breaker;
mod certificates;
mod client;
mod declaration;
mod driver;
mod endpoint;
mod fault;
mod finding;
mod generate;
mod guard;
mod http;
mod kind;
mod kinds;
mod lease_driver;
mod mariadb;
mod mark;
mod pipe;
mod postgresql;
mod random;

pub use breaker::{Breakers, CallAdmission};
pub use client::{ClientLogin, authorities};
pub use declaration::TargetError;
pub use driver::{
    Answer, Called, Capabilities, Checking, Driver, DriverContext, Prepared, RotationCall, Shape,
};
pub use fault::{Explanation, UpstreamFault, UpstreamOutcome, explained, is_shut_out};
pub use finding::{Finding, Verdict};
pub use guard::Reach;
pub use kinds::{
    client_url, client_variables, declared_driver, declared_lease_driver, outspoken_libraries, stored_driver,
    stored_lease_driver,
};
pub use lease_driver::{Expiry, FoundLogin, LeaseCall, LeaseDriver, NewLogin};
pub use mark::{EntryLookup, Mark, MarkedEntry};
