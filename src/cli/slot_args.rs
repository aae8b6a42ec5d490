use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `keyward slot …`
#[derive(Debug, Subcommand)]
pub enum SlotCommand {
    /// List the slots: what opens each, and since when
    List {
        /// The configuration
        #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
        config: PathBuf,
    },
    /// Add a slot: one more way to open the keyring, independent of the others
    Add {
        /// What is to open it
        #[command(flatten)]
        by: NewSlotArgs,
        /// How its shares are handed out
        #[command(flatten)]
        dealing: DealingArgs,
        /// What opens the keyring now
        #[command(flatten)]
        opening: OpeningArgs,
    },
    /// Hand back shares that were handed out, and so make their slot one that opens the keyring; in the place
    /// of another slot, also replace the root key
    Confirm {
        /// A file with shares, one a line (`-`: standard input); once for each file
        #[arg(long, value_name = "FILE")]
        share_file: Vec<PathBuf>,
        /// Refused: what is an argument can be seen by everybody on the machine
        #[arg(hide = true)]
        argument: Vec<OsString>,
        /// What becomes of the other slots
        #[command(flatten)]
        others: OtherSlotsArgs,
        /// What opens the keyring now
        #[command(flatten)]
        opening: OpeningArgs,
    },
    /// Show that a key, a passphrase or shares open the keyring, and by which slot; changes nothing
    Check {
        /// What is to open it
        #[command(flatten)]
        opening: OpeningArgs,
    },
    /// Give a slot another key, passphrase or shares, in one step, and replace the root key: what opened the
    /// slot opens nothing that is written from then on
    Rekey {
        /// The slot
        #[arg(value_name = "ID")]
        id: String,
        /// What is to open it
        #[command(flatten)]
        by: NewSlotArgs,
        /// How its shares are handed out
        #[command(flatten)]
        dealing: DealingArgs,
        /// What becomes of the other slots
        #[command(flatten)]
        others: OtherSlotsArgs,
        /// What opens the keyring now
        #[command(flatten)]
        opening: OpeningArgs,
    },
    /// Remove a slot, never the last one, and replace the root key: what opened the slot opens nothing that is
    /// written from then on
    Remove {
        /// The slot
        #[arg(value_name = "ID")]
        id: String,
        /// What becomes of the other slots
        #[command(flatten)]
        others: OtherSlotsArgs,
        /// What opens the keyring now
        #[command(flatten)]
        opening: OpeningArgs,
    },
}

/// What a new slot is to be opened by.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct NewSlotArgs {
    /// A passphrase, from a prompt or standard input
    #[arg(long)]
    pub passphrase: bool,
    /// The passphrase in this file (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// The key in this file, made when it is missing
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// This many shares of a fresh key, handed out once; the slot opens nothing until they are handed back
    #[arg(long, value_name = "N", requires = "threshold")]
    pub shares: Option<u8>,
}

/// What becomes of slots that cannot take another root key.
#[derive(Args, Debug)]
pub struct OtherSlotsArgs {
    /// Remove slots that an older build made, and whose keys are not at hand: they cannot take the new root
    /// key. Without this, nothing is changed when there are any
    #[arg(long)]
    pub remove_old_slots: bool,
}

/// How the shares of a new slot are handed out.
#[derive(Args, Debug)]
pub struct DealingArgs {
    /// How many of the shares open the slot together
    #[arg(long, value_name = "K", requires = "shares")]
    pub threshold: Option<u8>,
    /// Write each share to a file of its own in this directory, and read them back at once; otherwise they
    /// are printed, and `slot confirm` takes them back
    #[arg(long, value_name = "DIR", requires = "shares")]
    pub shares_dir: Option<PathBuf>,
}

/// How the keyring of a stopped broker is opened: by what `[root_key]` names, unless something else is said.
#[derive(Args, Debug)]
pub struct OpeningArgs {
    /// The configuration
    #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// Open the keyring with the key in this file
    #[arg(long, value_name = "FILE")]
    pub root_key_file: Option<PathBuf>,
    /// Open it with a passphrase, from a prompt or standard input
    #[arg(long, conflicts_with = "root_key_file")]
    pub by_passphrase: bool,
    /// Open it with the passphrase in this file (`-`: standard input)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["root_key_file", "by_passphrase"])]
    pub by_passphrase_file: Option<PathBuf>,
    /// Open it with shares, from prompts or standard input
    #[arg(long, conflicts_with_all = ["root_key_file", "by_passphrase", "by_passphrase_file"])]
    pub by_shares: bool,
    /// Open it with the shares in this file (`-`: standard input); once for each file
    #[arg(long, value_name = "FILE",
        conflicts_with_all = ["root_key_file", "by_passphrase", "by_passphrase_file", "by_shares"])]
    pub by_share_file: Vec<PathBuf>,
}
