use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

/// `keyward lease …`
#[derive(Debug, Subcommand)]
pub enum LeaseCommand {
    /// Get a login of one's own that ends by itself: the one that this identity has already, or a new one
    Get(LeaseGetArgs),
    /// Run a command that logs in by variables that `psql` and libpq read: with the login that this identity has, or a new one
    Run {
        /// The capability
        #[arg(value_name = "CAPABILITY")]
        capability: String,
        /// How long the login is to last, in seconds [default: an hour]
        #[arg(long, value_name = "SECONDS")]
        life: Option<u32>,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Have a lease of one's own end later, as far as its capability allows
    Renew {
        /// The lease
        #[arg(value_name = "LEASE")]
        id: String,
        /// How long it is to last from now on, in seconds [default: an hour]
        #[arg(long, value_name = "SECONDS")]
        life: Option<u32>,
    },
    /// Have anybody's lease end later, as an operator, as far as its holder could
    Extend {
        /// The lease
        #[arg(value_name = "LEASE")]
        id: String,
        /// How long it is to last from now on, in seconds [default: an hour]
        #[arg(long, value_name = "SECONDS")]
        life: Option<u32>,
    },
    /// Give a lease of one's own up: its login ends
    GiveUp {
        /// The lease
        #[arg(value_name = "LEASE")]
        id: String,
        /// Only one use of it: the decision by which it was handed out; with the last use it ends
        #[arg(long = "use", value_name = "DECISION")]
        used_by: Option<String>,
    },
    /// List leases, those whose end failed too
    List {
        /// One's own, as the agent
        #[arg(long)]
        own: bool,
    },
    /// Retry revocations that failed, now
    Retry(LeaseRetryArgs),
    /// Give up on a login that cannot be revoked: it may still exist, and you answer for it; an alarm
    Forget {
        /// The lease
        #[arg(value_name = "LEASE")]
        id: String,
        /// Why, in one line: it stays in the ledger
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// End leases, and wait until their logins are gone
    Revoke(LeaseRevokeArgs),
}

/// `keyward lease get`
#[derive(Args, Debug)]
pub struct LeaseGetArgs {
    /// The capability
    #[arg(value_name = "CAPABILITY")]
    pub capability: String,
    /// How long it is to last, in seconds [default: an hour]
    #[arg(long, value_name = "SECONDS")]
    pub life: Option<u32>,
    /// A new one, though there is one
    #[arg(long)]
    pub fresh: bool,
    /// As what reads it; `-o json` has everything
    #[arg(long, value_enum, default_value = "env")]
    pub format: LoginFormat,
    /// Write the certificates that the server's is verified against to this file
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// In what form a login is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LoginFormat {
    /// Variables that `psql` and libpq read, a line each
    Env,
    /// A connection string
    Url,
}

/// `keyward lease revoke`
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("which").required(true).multiple(false)))]
pub struct LeaseRevokeArgs {
    /// This lease
    #[arg(value_name = "LEASE", group = "which")]
    pub id: Option<String>,
    /// All of this agent
    #[arg(long, value_name = "NAME", group = "which")]
    pub agent: Option<String>,
    /// All of this capability
    #[arg(long, value_name = "CAPABILITY", group = "which")]
    pub capability: Option<String>,
    /// All there are
    #[arg(long, group = "which")]
    pub all: bool,
    /// Do not wait
    #[arg(long)]
    pub no_wait: bool,
}

/// `keyward lease retry`
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("retried").required(true).multiple(false)))]
pub struct LeaseRetryArgs {
    /// This lease
    #[arg(value_name = "LEASE", group = "retried")]
    pub id: Option<String>,
    /// All of this agent
    #[arg(long, value_name = "NAME", group = "retried")]
    pub agent: Option<String>,
    /// All of this capability
    #[arg(long, value_name = "CAPABILITY", group = "retried")]
    pub capability: Option<String>,
    /// All there are
    #[arg(long, group = "retried")]
    pub all: bool,
}
