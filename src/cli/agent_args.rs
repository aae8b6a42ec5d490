use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::verbs::credential_form::{HelperFormat, Operation};

/// `keyward token …`
#[derive(Args, Debug)]
pub struct TokenArgs {
    /// What to do with a token that there is
    #[command(subcommand)]
    pub command: Option<TokenCommand>,
    /// The capabilities
    #[arg(required = true, value_name = "CAPABILITY")]
    pub capabilities: Vec<String>,
    /// Whom the token is to be for
    #[arg(long, value_name = "URI")]
    pub resource: Option<String>,
    /// How long it is to hold, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub expires_in: Option<u32>,
    /// Take the one of an earlier call, if it is still good; keep this one for the next
    #[arg(long)]
    pub cached: bool,
    /// Nothing with less time left than this, in seconds
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub min_ttl: u32,
}

/// `keyward get`
#[derive(Args, Debug)]
pub struct GetArgs {
    /// The secret
    #[arg(value_name = "SECRET")]
    pub secret: String,
    /// What a program that uses this as its credential helper asks for
    #[arg(value_enum)]
    pub operation: Option<Operation>,
    /// The capability that names it [default: the one that `whoami` shows]
    #[arg(long, value_name = "CAPABILITY")]
    pub capability: Option<String>,
    /// As another program reads it
    #[arg(long, value_enum, default_value = "raw")]
    pub format: HelperFormat,
    /// The server that the secret is for, as docker names it, for git with its protocol: the helper has nothing
    /// for another one. Docker needs it
    #[arg(long, value_name = "SERVER")]
    pub server: Option<String>,
    /// Nothing with less time left than this, in seconds, where the value says when it ends
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub min_ttl: u32,
    /// Write it to this new file, for its owner alone, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `keyward run`
#[derive(Args, Debug)]
pub struct RunArgs {
    /// A capability that the token is to be for
    #[arg(long = "capability", required = true, value_name = "CAPABILITY")]
    pub capabilities: Vec<String>,
    /// Whom the token is to be for
    #[arg(long, value_name = "URI")]
    pub resource: Option<String>,
    /// Put the token that there is at the start into this variable too: it will not be renewed there
    #[arg(long, value_name = "VARIABLE")]
    pub env: Option<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// `keyward companion`
#[derive(Args, Debug)]
pub struct CompanionArgs {
    /// The directory with the token's file
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// The process to watch
    #[arg(long, value_name = "PID")]
    pub watch: u32,
    /// How long the token that is there holds, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub life: u64,
    /// Whom the token is for
    #[arg(long, value_name = "URI")]
    pub resource: Option<String>,
    /// Whether this is the one that stays
    #[arg(long)]
    pub second: bool,
    /// The capabilities
    pub capabilities: Vec<String>,
}

/// `keyward token revoke`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// End one token, as an operator, by its id (`tok_…`; never the token itself)
    Revoke {
        /// The token's id
        id: String,
    },
}
