//! Verbs on the data directory of a stopped broker: they open the keyring and the ledger themselves.

mod adopt;
mod checkpoint;
mod configuration;
mod doctor;
mod host_checks;
mod init;
mod ledger_check;
mod ledger_move;
mod ledger_prepare;
mod slot_change;
mod slot_keys;
mod slots;
mod verify;
mod verify_evidence;

pub use adopt::adopt;
pub use configuration::check_config;
pub use doctor::doctor;
pub use init::{Confirmation, InitOptions, init, initialise};
pub use ledger_move::move_ledger;
pub use ledger_prepare::prepare_ledger;
pub use slots::slot;
pub use verify::verify;
