//! What the tests stand on.

pub(crate) mod broker;
pub(crate) mod caller;
pub(crate) mod connection;
pub(crate) mod false_mariadb;
pub(crate) mod false_postgres;
pub(crate) mod gate;
pub(crate) mod host;
pub(crate) mod impostor;
pub(crate) mod leasing;
pub(crate) mod ledger_bed;
pub(crate) mod mariadb;
pub(crate) mod openssl;
pub(crate) mod ordeal;
pub(crate) mod pausing;
pub(crate) mod ports;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod remote_log;
pub(crate) mod rotating;
pub(crate) mod source;
pub(crate) mod terminal;
pub(crate) mod test_state;
pub(crate) mod unsynced;
pub(crate) mod users;
pub(crate) mod waiting;
pub(crate) mod webhook;
