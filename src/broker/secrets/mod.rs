//! Secrets: their values, versions and sensitivity.

mod access;
pub(super) mod classify;
mod declared_then;
pub(super) mod delete;
pub(super) mod put_secret;
pub(super) mod put_values;
pub(super) mod reveal;
pub(super) mod second_operator;
pub(super) mod surplus;
pub(super) mod versions;
