use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `keyward serve`
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// The configuration
    #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// Start sealed, and wait for `keyward unseal`, although a key is at hand
    #[arg(long)]
    pub sealed: bool,
    /// Go on with an older ledger or keyring than was there once: an operator has looked. Recorded, with an alarm
    #[arg(long, conflicts_with = "read_only")]
    pub accept_lost_entries: bool,
    /// Read-only mode, for a copy of the data while the original may still run: records, issues and calls nothing
    #[arg(long)]
    pub read_only: bool,
}

/// `keyward verify`
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The configuration: names the data directory and the root key, so that every state change is opened too
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir", required_unless_present = "data_dir")]
    pub config: Option<PathBuf>,
    /// The file with the root key's key; for a configuration that names a credential
    #[arg(long, value_name = "FILE", requires = "config")]
    pub root_key_file: Option<PathBuf>,
    /// The data directory alone: frames, sequence and hashes are checked, state changes stay closed
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// A signed checkpoint from earlier, from `GET /v1/checkpoint`: nothing in it may be gone or rewritten
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// The key that verifies the checkpoint, from `GET /v1/checkpoint/key` [default: from the keyring]
    #[arg(long, value_name = "KEY", requires = "checkpoint")]
    pub key: Option<String>,
}

/// `keyward config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether a configuration is good, or what is wrong, with line and column
    Check {
        /// The configuration
        #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
        config: PathBuf,
    },
}

/// `keyward init`
#[derive(Args, Debug)]
pub struct InitArgs {
    /// The configuration
    #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// The first operator's name
    #[arg(long, default_value = "admin", value_name = "NAME")]
    pub operator: String,
    /// The file with the root key's key, made when it is missing; for a configuration that names a credential
    #[arg(long, value_name = "FILE")]
    pub root_key_file: Option<PathBuf>,
    /// A passphrase that is to open the keyring, beside that key or instead of one, from a prompt or standard
    /// input; with --reissue-operator: that opens it
    #[arg(long)]
    pub passphrase: bool,
    /// The passphrase in this file (`-`: standard input)
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase")]
    pub passphrase_file: Option<PathBuf>,
    /// On a broker that is there and stopped: give the operator a new certificate
    #[arg(long)]
    pub reissue_operator: bool,
}
