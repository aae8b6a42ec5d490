use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::enrolment::{JoinArgs, RenewArgs};
use super::host_args::{ConfigCommand, InitArgs, ServeArgs, VerifyArgs};
use super::identity::default_home;
use super::slot_args::SlotCommand;
use super::verbs::agents::AgentCommand;
use super::verbs::audit::AuditCommand;
use super::verbs::break_glass::BreakGlassCommand;
use super::verbs::certificates::CertCommand;
use super::verbs::clock::ClockCommand;
use super::verbs::declarations::{ApplyArgs, ListCommand, PlanArgs};
use super::verbs::get::GetArgs;
use super::verbs::keys::{AuthorityCommand, CheckpointKeyCommand, TokenKeyCommand, ValueKeyCommand};
use super::verbs::leases::LeaseCommand;
use super::verbs::on_host::OnHostArgs;
use super::verbs::operators::OperatorCommand;
use super::verbs::rotations::RotationCommand;
use super::verbs::run::{CompanionArgs, RunArgs};
use super::verbs::sealing::UnsealArgs;
use super::verbs::secrets::SecretCommand;
use super::verbs::token::TokenArgs;
use super::verbs::whoami::WhoamiArgs;
use crate::console::{Failure, Format};

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

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Where the broker's data are.
    #[command(flatten)]
    Host(HostCommand),
    /// At a broker that runs.
    #[command(flatten)]
    Client(ClientCommand),
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

/// Verbs that open a broker's data directory, or look at its host.
#[derive(Debug, Subcommand)]
pub enum HostCommand {
    /// Make a broker: keys, ledger, authority, and the first operator's certificate
    Init(InitArgs),
    /// Run the broker
    Serve(ServeArgs),
    /// On the broker's host: serve from this copy of the data, once every other broker with these data has stopped for good
    Adopt {
        /// The configuration: names the data directory
        #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
        config: PathBuf,
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
    /// Check the ledger of a broker's data directory, without the broker
    Verify(VerifyArgs),
    /// What opens the keyring of a stopped broker: key files, passphrases, shares
    #[command(subcommand)]
    Slot(SlotCommand),
    /// The configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Verbs that work on a broker that runs, through its public interface.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// On the broker's host: have the running broker stop serving and let go of every key, until it is unsealed
    Seal(OnHostArgs),
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
    Join(JoinArgs),
    /// Replace this machine's certificate by a new one with a new key; other verbs do so when it is due
    Renew(RenewArgs),
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
    Whoami(WhoamiArgs),
    /// Show what applying declaration files would change
    Plan(PlanArgs),
    /// Bring about what declaration files say, all of it or nothing
    Apply(ApplyArgs),
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
    /// The key that signs checkpoints of the ledger; it is rotated by schedule
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
    /// The key that wraps the values of secrets; it is rotated by schedule
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
}
