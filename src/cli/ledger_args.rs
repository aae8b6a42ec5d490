use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `keyward ledger …`
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Create the schema of the ledger in the configured database, as its owner, and grant the broker's role its rights
    Prepare(LedgerPrepareArgs),
    /// Move the ledger of a stopped broker from files to the configured database, or back. The entries and their Merkle tree stay the same. An interrupted move can be repeated
    Move(LedgerMoveArgs),
}

/// `keyward ledger prepare`
#[derive(Args, Debug)]
pub struct LedgerPrepareArgs {
    /// The configuration file, which names the database and the broker's role
    #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// The role that owns the schema; not the broker's role
    #[arg(long, value_name = "ROLE")]
    pub owner: String,
    /// The file with the password of this role in its first line
    #[arg(long, value_name = "FILE")]
    pub password_file: PathBuf,
}

/// `keyward ledger move`
#[derive(Args, Debug)]
pub struct LedgerMoveArgs {
    /// Where the ledger is moved
    #[arg(long, value_name = "ENGINE")]
    pub to: LedgerDestination,
    /// The configuration file, with `engine = "postgresql"` and the database in `[ledger]` for both directions
    #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// The file with the unseal key, if the configuration names a systemd credential
    #[arg(long, value_name = "FILE")]
    pub root_key_file: Option<PathBuf>,
}

/// Where a ledger is moved.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LedgerDestination {
    /// To files in the data directory
    Files,
    /// To the configured database
    Postgresql,
}

impl LedgerDestination {
    /// Its name, as `engine` in `[ledger]` has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Postgresql => "postgresql",
        }
    }
}
