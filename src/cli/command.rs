use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use super::agent_args::{CompanionArgs, GetArgs, RunArgs, TokenArgs};
use super::break_glass::BreakGlassCommand;
use super::clock::ClockCommand;
use super::failure::Failure;
use super::identity::default_home;
use super::key_nouns::{AuthorityCommand, CheckpointKeyCommand, TokenKeyCommand, ValueKeyCommand};
use super::lease_nouns::LeaseCommand;
use super::nouns::{
    AgentCommand, AuditCommand, CertCommand, ConfigCommand, InitArgs, ListCommand, OperatorCommand,
    RotationCommand, SecretCommand,
};
use super::sealing::UnsealArgs;
use super::slot_args::SlotCommand;

/// Keyward: short-lived, key-bound credentials for AI agents.
#[derive(Debug, Parser)]
#[command(name = "keyward", version, about, max_term_width = 100, propagate_version = true)]
#[command(disable_help_subcommand = true)]
pub struct Cli {
    /// How to print: a table for people, JSON for programs
    #[arg(short = 'o', long = "output", value_enum, default_value = "table", global = true)]
    pub output: Format,
    /// Where identities are kept [default: `~/.config/keyward`]
    #[arg(long, env = "KEYWARD_HOME", global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Where identities are kept.
    ///
    /// # Errors
    /// [`Failure`] when nothing says where.
    pub fn home(&self) -> Result<PathBuf, Failure> {
        self.home.clone().map_or_else(default_home, Ok)
    }
}

/// How to print.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a broker: keys, ledger, authority, and the first operator's certificate
    Init(InitArgs),
    /// Run the broker
    Serve {
        /// The configuration
        #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
        config: PathBuf,
        /// Start sealed, and wait for `keyward unseal`, although a key is at hand
        #[arg(long)]
        sealed: bool,
        /// Go on with an older ledger or keyring than was there once: an operator has looked. Recorded, with an alarm
        #[arg(long, conflicts_with = "read_only")]
        accept_lost_entries: bool,
        /// Read-only mode, for a copy of the data while the original may still run: records, issues and calls nothing
        #[arg(long)]
        read_only: bool,
    },
    /// On the broker's host: serve from this copy of the data, once every other broker with these data has stopped for good
    Adopt {
        /// The configuration: names the data directory
        #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
        config: PathBuf,
    },
    /// On the broker's host: have the running broker stop serving and let go of every key, until it is unsealed
    Seal {
        /// The configuration: names the socket on the host
        #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
        config: PathBuf,
    },
    /// On the broker's host: open the keyring of a sealed broker, so that it serves
    Unseal(UnsealArgs),
    /// On the broker's host, as root: take away without being an operator, or become one for an hour
    #[command(subcommand)]
    BreakGlass(BreakGlassCommand),
    /// On the broker's host: what the broker takes the time to be
    #[command(subcommand)]
    Clock(ClockCommand),
    /// Play the whole path against a real broker on this machine's loopback
    Demo,
    /// Run a broker to try things on, with example agents enrolled, until Ctrl-C; nothing of it stays
    Dev {
        /// Declarations to apply upon the examples
        #[arg(long, value_name = "FILE")]
        seed: Option<PathBuf>,
    },
    /// Enrol this machine, as the agent or the operator that an invitation is for, with a code from standard input, a file or a prompt
    Join {
        /// Read the enrolment code from this file (`-`: standard input)
        #[arg(long, value_name = "FILE")]
        code_file: Option<PathBuf>,
        /// Replace the identity that this home holds; only by one of a broker whose authority it trusts already
        #[arg(long)]
        replace: bool,
        /// Refused: what is an argument can be seen by everybody on the machine
        #[arg(hide = true)]
        argument: Vec<OsString>,
    },
    /// Replace this machine's certificate by a new one with a new key; other verbs do so when it is due
    Renew {
        /// The operator's, not the agent's
        #[arg(long)]
        operator: bool,
        /// Go on renewing whenever it is due
        #[arg(long)]
        watch: bool,
    },
    /// Get a token for one or more capabilities; or end one: `token revoke ID`
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Token(TokenArgs),
    /// Get an upstream secret: asks for a token and reads the secret with it
    Get(GetArgs),
    /// Run a command that finds a fresh token in the file that `KEYWARD_TOKEN_FILE` names, for as long as it runs
    Run(RunArgs),
    /// What `run` leaves behind
    #[command(hide = true)]
    Companion(CompanionArgs),
    /// Show who this machine is to the broker, and what it may ask for
    Whoami {
        /// As the operator, not as the agent
        #[arg(long)]
        operator: bool,
    },
    /// Look whether everything is as it should be: this machine's identity and the broker, or a broker's host
    Doctor {
        /// The operator's identity, not the agent's
        #[arg(long, conflicts_with = "config")]
        operator: bool,
        /// The broker's host, by this configuration
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The file with the root key's key; for a configuration that names a credential
        #[arg(long, value_name = "FILE", requires = "config")]
        root_key_file: Option<PathBuf>,
    },
    /// Show what applying declaration files would change
    Plan {
        /// A file, or a directory of *.toml files
        #[arg(short = 'f', long = "file", required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Also take away what the files do not name
        #[arg(long)]
        prune: bool,
        /// Also try the upstream of each rotation that would be declared; nothing is changed there
        #[arg(long)]
        check: bool,
    },
    /// Bring about what declaration files say, all of it or nothing
    Apply {
        /// A file, or a directory of *.toml files
        #[arg(short = 'f', long = "file", required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Also take away what the files do not name
        #[arg(long)]
        prune: bool,
    },
    /// Agents: invite, list, show, suspend, resume, revoke
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Certificates: revoke
    #[command(subcommand)]
    Cert(CertCommand),
    /// The certificate authority's generations: prepared, active, old, tainted, revoked
    #[command(subcommand)]
    Authority(AuthorityCommand),
    /// The token key's generations; they follow a schedule of their own
    #[command(subcommand)]
    TokenKey(TokenKeyCommand),
    /// The key that signs checkpoints of the ledger; it turns by a schedule of its own
    #[command(subcommand)]
    CheckpointKey(CheckpointKeyCommand),
    /// Operators: invite, list, give roles, take away
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// Capabilities that are declared
    #[command(subcommand)]
    Capability(ListCommand),
    /// Roles that are declared
    #[command(subcommand)]
    Role(ListCommand),
    /// Upstream secrets: put, list, show, versions, roll back, destroy, rotate
    #[command(subcommand)]
    Secret(SecretCommand),
    /// The key that the values of secrets are wrapped by; it turns by a schedule of its own
    #[command(subcommand)]
    ValueKey(ValueKeyCommand),
    /// When secrets are rotated, and how far that has come
    #[command(subcommand)]
    Rotation(RotationCommand),
    /// Logins of one's own that end by themselves: get, renew, give up; as an operator list and revoke
    #[command(subcommand)]
    Lease(LeaseCommand),
    /// What the ledger says happened
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Check the ledger of a broker's data directory, without the broker
    Verify {
        /// The configuration: names the data directory and the root key, so that every state change is opened too
        #[arg(long, value_name = "FILE", conflicts_with = "data_dir", required_unless_present = "data_dir")]
        config: Option<PathBuf>,
        /// The file with the root key's key; for a configuration that names a credential
        #[arg(long, value_name = "FILE", requires = "config")]
        root_key_file: Option<PathBuf>,
        /// The data directory alone: frames, sequence and hashes are checked, state changes stay closed
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
        /// A signed checkpoint from earlier, from `GET /v1/checkpoint`: nothing in it may be gone or rewritten
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// The key that verifies the checkpoint, from `GET /v1/checkpoint/key` [default: from the keyring]
        #[arg(long, value_name = "KEY", requires = "checkpoint")]
        key: Option<String>,
    },
    /// What opens the keyring of a stopped broker: key files, passphrases, shares
    #[command(subcommand)]
    Slot(SlotCommand),
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Explain a verb (`help agent invite`), an error (`help error CODE`) or the exit codes (`help exit-codes`)
    Help {
        /// A verb, `error CODE`, or `exit-codes`
        words: Vec<String>,
    },
    /// Print a script that completes verbs and options in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one a verb
    Man {
        /// Where to
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}
