//! What an operator has set or declares: TOML in, checked values out, and faults with their places.
//!
//! This room knows no other room's types but names: `app` turns the values into rooms. Unknown keys
//! are refused with their place, and no message repeats a value.

mod check;
mod fault;
mod raw;
mod settings;
mod source;
mod tables;
#[cfg(test)]
mod tests;

pub use fault::without_values;
pub use raw::ConfigError;
pub use settings::{
    Certificates, Checkpoints, Clock, Config, Connections, Ledger, Listen, Log, LogFormat, LogLevel, Quota,
    RootKey, Secrets, Server, Tokens, Upstream,
};
pub use source::{Fault, FaultList, Faults, Place, SourceFile};
pub use tables::{FieldOffsets, Tables};
