//! The configuration file and declaration files: TOML in, checked values out, errors with file, line and column.
//!
//! This room knows no types of other rooms except names: `app` builds the rooms from the values. Unknown settings
//! are errors, and no message repeats a value.

mod check;
mod database;
mod engine;
mod fault;
mod found;
mod objects;
mod raw;
mod settings;
mod source;
mod tables;
#[cfg(test)]
mod tests;
mod written;

pub use engine::{DatabaseHost, DatabaseSettings, LedgerEngine, Replication};
pub use fault::without_values;
pub use raw::ConfigError;
pub use settings::{
    ApprovalSettings, Certificates, Checkpoints, ClockSettings, Config, Connections, LedgerSettings, Listen,
    LogFormat, LogLevel, LogSettings, PolicySettings, Quota, RootKey, Secrets, ServerSettings, Tokens,
    Upstream, WebhookSettings,
};
pub use source::{Fault, FaultList, FaultMessage, Faults, SourceFile, SourcePosition};
pub use tables::{FieldOffsets, Tables};
pub use written::toml_table;
