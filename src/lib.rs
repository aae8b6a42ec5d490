//! Keyward: a self-hosted secrets broker that issues short-lived, key-bound credentials to AI agents.
//!
//! The rooms and their floors are drawn in `docs/architecture.md`; a room imports only rooms on
//! strictly lower floors, and a test says so.

pub mod app;
pub mod approvals;
pub mod authn;
pub mod base;
pub mod broker;
pub mod cli;
pub mod config;
pub mod console;
pub mod crypto;
pub mod custody;
pub mod database;
pub mod evidence;
mod files;
pub mod http;
pub mod idempotency;
pub mod incidents;
pub mod index;
pub mod issuance;
pub mod jobs;
pub mod keyring;
pub mod leases;
pub mod ledger;
pub mod offline;
pub mod operators;
pub mod pki;
pub mod policy;
pub mod postings;
pub mod quota;
pub mod registry;
pub mod revocation;
pub mod rotation;
pub mod rules;
pub mod secrets;
pub mod store;
pub mod telemetry;
pub mod token;
pub mod upstream;
pub mod wire;
