use std::path::PathBuf;

/// Where the entries of the ledger are durable.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LedgerEngine {
    /// In files below the data directory.
    Files,
    /// In a PostgreSQL database.
    Postgresql(DatabaseSettings),
}

/// The database of the ledger.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DatabaseSettings {
    /// Its servers.
    pub hosts: Vec<DatabaseHost>,
    /// The name of the database.
    pub database: String,
    /// The broker's role.
    pub role: String,
    /// The file with the role's password.
    pub password_file: PathBuf,
    /// The file with the CA certificates of the servers in PEM.
    pub ca_file: PathBuf,
    /// What is required of its replication.
    pub replication: Replication,
}

/// A server of the database.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DatabaseHost {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Whether the broker works on a database without synchronous standbys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Replication {
    /// It refuses.
    Required,
    /// It warns.
    Optional,
}
