//! What an operator has set: TOML in, checked values out.
//!
//! This room knows no other room's types but names: `app` turns the values into rooms. Unknown keys
//! are refused with their place, and no message repeats a value.

mod check;
mod fault;
mod raw;
#[cfg(test)]
mod tests;

pub use check::{
    Certificates, Config, Connections, Listen, Log, LogFormat, LogLevel, Quota, RootKey, Server, Tokens,
};
pub use fault::{toml_message, toml_place};
pub use raw::ConfigError;
