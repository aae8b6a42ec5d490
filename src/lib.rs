//! Keyward: a self-hosted secrets broker that issues short-lived, key-bound credentials to AI agents.
//!
//! The rooms and their floors are drawn in `docs/architecture.md`; a room imports only rooms on
//! strictly lower floors, and a test says so.

pub mod base;
pub mod config;
pub mod crypto;
pub mod index;
pub mod keyring;
pub mod ledger;
pub mod telemetry;
