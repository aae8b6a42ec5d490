use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `keyward slot …`
#[derive(Debug, Subcommand)]
pub enum SlotCommand {
    /// List the slots: kind, state and age
    List {
        /// The configuration file
        #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
        config: PathBuf,
    },
    /// Add a key slot: a key file, a passphrase or shares that open the keyring
    Add {
        /// The new unseal key
        #[command(flatten)]
        by: NewSlotArgs,
        /// The shares
        #[command(flatten)]
        dealing: DealingArgs,
        /// The present unseal key
        #[command(flatten)]
        opening: OpeningArgs,
    },
    /// Confirm a slot of shares: enter as many shares as its threshold. Then the slot opens the keyring. If the slot
    /// replaces another one, this also replaces the root key
    Confirm {
        /// A file with shares, one per line (`-`: standard input); repeat it for further files
        #[arg(long, value_name = "FILE")]
        share_file: Vec<PathBuf>,
        /// Refused: every user of the machine can read arguments
        #[arg(hide = true)]
        argument: Vec<OsString>,
        /// The other slots
        #[command(flatten)]
        others: OtherSlotsArgs,
        /// The present unseal key
        #[command(flatten)]
        opening: OpeningArgs,
    },
    /// Check whether a key, a passphrase or shares open the keyring, and which slot; nothing is changed
    Check {
        /// The unseal key to check
        #[command(flatten)]
        opening: OpeningArgs,
    },
    /// Give a slot another key, passphrase or shares, and replace the root key: the former unseal key opens nothing
    /// that is written afterwards
    Rekey {
        /// The slot's id
        #[arg(value_name = "ID")]
        id: String,
        /// The new unseal key
        #[command(flatten)]
        by: NewSlotArgs,
        /// The shares
        #[command(flatten)]
        dealing: DealingArgs,
        /// The other slots
        #[command(flatten)]
        others: OtherSlotsArgs,
        /// The present unseal key
        #[command(flatten)]
        opening: OpeningArgs,
    },
    /// Remove a slot, except the last one, and replace the root key: the unseal key of the removed slot opens nothing
    /// that is written afterwards
    Remove {
        /// The slot's id
        #[arg(value_name = "ID")]
        id: String,
        /// Do not ask before the slot is removed; required where there is no terminal
        #[arg(long)]
        yes: bool,
        /// The other slots
        #[command(flatten)]
        others: OtherSlotsArgs,
        /// The present unseal key
        #[command(flatten)]
        opening: OpeningArgs,
    },
}

/// The unseal key of a new slot.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct NewSlotArgs {
    /// A passphrase, read from a prompt or standard input
    #[arg(long)]
    pub passphrase: bool,
    /// A passphrase, read from this file (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// The key in this file; a missing file is created with a new key
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// N shares of a new key, printed once; the slot opens nothing until `slot confirm` has read enough of them back
    #[arg(long, value_name = "N", requires = "threshold")]
    pub shares: Option<u8>,
}

/// Slots that cannot get another root key.
#[derive(Args, Debug)]
pub struct OtherSlotsArgs {
    /// Remove slots of an older version whose unseal keys are not given: they cannot get the new root key. Without
    /// this option the command changes nothing if such slots exist
    #[arg(long)]
    pub remove_old_slots: bool,
}

/// The shares of a new slot.
#[derive(Args, Debug)]
pub struct DealingArgs {
    /// Number of shares that open the slot together
    #[arg(long, value_name = "K", requires = "shares")]
    pub threshold: Option<u8>,
    /// Write each share to its own file in this directory and confirm the slot at once; without it the shares are
    /// printed, and `slot confirm` reads them back
    #[arg(long, value_name = "DIR", requires = "shares")]
    pub shares_dir: Option<PathBuf>,
}

/// The unseal key of a stopped broker's keyring; without an option the one that `[root_key]` names.
#[derive(Args, Debug)]
pub struct OpeningArgs {
    /// The configuration file
    #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// Open the keyring with the key in this file
    #[arg(long, value_name = "FILE")]
    pub root_key_file: Option<PathBuf>,
    /// Open the keyring with a passphrase, read from a prompt or standard input
    #[arg(long, conflicts_with = "root_key_file")]
    pub by_passphrase: bool,
    /// Open the keyring with the passphrase in this file (`-`: standard input)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["root_key_file", "by_passphrase"])]
    pub by_passphrase_file: Option<PathBuf>,
    /// Open the keyring with shares, read from prompts or standard input
    #[arg(long, conflicts_with_all = ["root_key_file", "by_passphrase", "by_passphrase_file"])]
    pub by_shares: bool,
    /// Open the keyring with the shares in this file (`-`: standard input); repeat it for further files
    #[arg(long, value_name = "FILE",
        conflicts_with_all = ["root_key_file", "by_passphrase", "by_passphrase_file", "by_shares"])]
    pub by_share_file: Vec<PathBuf>,
}
