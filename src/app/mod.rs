//! The composition root: builds the rooms from the settings. Only this room knows all others.

mod admission;
pub(crate) mod adoption;
pub(crate) mod assemble;
pub(crate) mod data_dir;
mod duty;
pub(crate) mod environment;
pub(crate) mod failures;
mod host_socket;
pub(crate) mod ledger_place;
mod listeners;
mod location;
pub(crate) mod open_keyring;
pub(crate) mod public_documents;
mod running_broker;
pub(crate) mod runtime_dir;
mod runtimes;
mod sealing_keys;
pub(crate) mod secret_file;
mod serve;
pub(crate) mod server_identity;
mod stop_signals;
pub(crate) mod trusted_files;
mod upkeep;
pub(crate) mod webhook;

pub use environment::Environment;
pub use running_broker::{RunningBroker, start};
pub use serve::serve;
