use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `keyward serve`
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// The configuration file
    #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// Start sealed, and wait for `keyward unseal`, although `[root_key]` names a key
    #[arg(long)]
    pub sealed: bool,
    /// Start although the ledger or the keyring is older than at the last stop, so that entries are lost. Use it only after a restore; the broker raises an alarm
    #[arg(long, conflicts_with = "read_only")]
    pub accept_lost_entries: bool,
    /// Read-only mode, for a copy of the data while the original may still run: the broker records, issues and revokes nothing, and calls no upstream
    #[arg(long)]
    pub read_only: bool,
    /// What stops the broker besides a signal
    #[command(flatten)]
    pub stop: StopArgs,
}

/// What stops the broker besides a signal.
#[derive(Args, Debug)]
pub struct StopArgs {
    /// Stop when standard input, a pipe, ends: with the process that started the broker
    #[arg(long, hide = true)]
    pub until_stdin_ends: bool,
}

/// `keyward verify`
#[derive(Args, Debug)]
#[command(
    override_usage = "keyward verify [OPTIONS] --config <FILE>\n       keyward verify [OPTIONS] --data-dir <DIR>\n       keyward verify [OPTIONS] --key <KEY> <BUNDLE>"
)]
pub struct VerifyArgs {
    /// The evidence bundle. With `--config` or `--data-dir`, the ledger leads from `--key` to an earlier or later key that signed the bundle, and has to contain its entries
    #[arg(value_name = "BUNDLE", requires = "key", conflicts_with = "checkpoint")]
    pub bundle: Option<PathBuf>,
    /// The configuration file, which names the data directory and the unseal key: state changes are decrypted and checked too
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir", required_unless_present_any = ["data_dir", "bundle"])]
    pub config: Option<PathBuf>,
    /// The file with the unseal key, if the configuration names a systemd credential
    #[arg(long, value_name = "FILE", requires = "config", conflicts_with = "data_dir")]
    pub root_key_file: Option<PathBuf>,
    /// The data directory, which is verified without keys. This finds damage; add `--checkpoint` to find changes by a person who can write the files
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// An earlier signed checkpoint from `GET /v1/checkpoint`: the ledger has to contain the same entries
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// The key that verifies the checkpoint or the bundle, from `GET /v1/checkpoint/key`, or a file (`-`: standard input) whose first line is this key [default: the one in the keyring]
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
}

/// `keyward config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check a configuration file, and whether its names, addresses and permissions fit this host
    Check {
        /// The configuration file
        #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
        config: PathBuf,
    },
}

/// `keyward init`
#[derive(Args, Debug)]
pub struct InitArgs {
    /// The configuration file
    #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// The first operator's name
    #[arg(long, default_value = "admin", value_name = "NAME")]
    pub operator: String,
    /// The file with the unseal key, if the configuration names a systemd credential; a missing file is created
    #[arg(long, value_name = "FILE")]
    pub root_key_file: Option<PathBuf>,
    /// Also make a slot for a passphrase, read from a prompt or standard input; with `--reissue-operator`: open the
    /// keyring with this passphrase
    #[arg(long)]
    pub passphrase: bool,
    /// Read the passphrase from this file (`-`: standard input)
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase")]
    pub passphrase_file: Option<PathBuf>,
    /// Give the operator of an existing, stopped broker a new certificate
    #[arg(long)]
    pub reissue_operator: bool,
    /// With `--reissue-operator`: do not ask before another operator becomes an admin, or a suspension ends; required for that where there is no terminal
    #[arg(long, requires = "reissue_operator")]
    pub yes: bool,
}
