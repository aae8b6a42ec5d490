use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::enrolment::{JoinArgs, RenewArgs};
use super::host_args::{ConfigCommand, InitArgs, ServeArgs, VerifyArgs};
use super::identity::default_home;
use super::ledger_args::LedgerCommand;
use super::run::{CompanionArgs, RunArgs};
use super::slot_args::SlotCommand;
use super::verbs::agents::AgentCommand;
use super::verbs::approval_request::RequestArgs;
use super::verbs::approvals::ApprovalCommand;
use super::verbs::audit::AuditCommand;
use super::verbs::break_glass::BreakGlassCommand;
use super::verbs::capabilities::{CapabilityCommand, RoleCommand};
use super::verbs::certificates::CertCommand;
use super::verbs::clock::ClockCommand;
use super::verbs::codes::CodeCommand;
use super::verbs::declaration::DeclarationCommand;
use super::verbs::declarations::{ApplyArgs, PlanArgs};
use super::verbs::evidence::EvidenceArgs;
use super::verbs::explain::ExplainArgs;
use super::verbs::export::ExportArgs;
use super::verbs::get::GetArgs;
use super::verbs::incident_records::IncidentCommand;
use super::verbs::incidents::{ContainArgs, FreezeArgs, LiftArgs};
use super::verbs::keys::{AuthorityCommand, CheckpointKeyCommand, TokenKeyCommand, ValueKeyCommand};
use super::verbs::leases::LeaseCommand;
use super::verbs::on_host::OnHostArgs;
use super::verbs::operators::OperatorCommand;
use super::verbs::policies::PolicyCommand;
use super::verbs::rotations::RotationCommand;
use super::verbs::sealing::UnsealArgs;
use super::verbs::secrets::SecretCommand;
use super::verbs::simulate::SimulateArgs;
use super::verbs::token::TokenArgs;
use super::verbs::whoami::WhoamiArgs;
use crate::console::{ColorChoice, CommandFailure, Format};

/// Keyward: short-lived, key-bound credentials for AI agents.
#[derive(Debug, Parser)]
#[command(name = "keyward", version, about, max_term_width = 100, propagate_version = true)]
#[command(disable_help_subcommand = true)]
pub struct Cli {
    /// Output format
    #[arg(short = 'o', long = "output", value_enum, default_value = "table", global = true)]
    pub output: Format,
    /// Colours: at a terminal without `NO_COLOR` (`auto`), also in files and pipes (`always`), or nowhere (`never`)
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        hide_possible_values = true,
        global = true,
        value_name = "WHEN"
    )]
    pub color: ColorChoice,
    /// Directory of this machine's identities [default: `~/.config/keyward`]
    #[arg(long, env = "KEYWARD_HOME", global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// The verb
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The directory of this machine's identities.
    ///
    /// # Errors
    /// [`CommandFailure`] without `--home`, `KEYWARD_HOME` and a home directory.
    pub fn home(&self) -> Result<PathBuf, CommandFailure> {
        self.home.clone().map_or_else(default_home, Ok)
    }
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Verbs on the broker's host.
    #[command(flatten)]
    Host(HostCommand),
    /// Verbs that need no identity of this machine.
    #[command(flatten)]
    Local(LocalCommand),
    /// Verbs that call a running broker.
    #[command(flatten)]
    Client(ClientCommand),
    /// Explain a verb (`help agent invite`), an error (`help error CODE`) or the exit codes (`help exit-codes`)
    Help {
        /// A verb, `error CODE`, or `exit-codes`
        words: Vec<String>,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write one manual page per verb
    Man {
        /// Directory for the pages
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// Verbs that open a broker's data directory or check its host.
#[derive(Debug, Subcommand)]
pub enum HostCommand {
    /// Initialise a broker: keys, ledger, certificate authority and the first operator's certificate
    Init(InitArgs),
    /// Run the broker
    Serve(ServeArgs),
    /// On the broker's host: let this copy of the data serve, after all other brokers with these data have stopped for good
    Adopt {
        /// The configuration file, which names the data directory
        #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
        config: PathBuf,
    },
    /// Check this machine's identity and its connection to the broker, or with `--config` the broker's host
    Doctor {
        /// Check the operator's identity instead of the agent's
        #[arg(long, conflicts_with = "config")]
        operator: bool,
        /// Check the broker's host with this configuration file
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The file with the unseal key, if the configuration names a systemd credential
        #[arg(long, value_name = "FILE", requires = "config")]
        root_key_file: Option<PathBuf>,
    },
    /// Verify the ledger in a data directory, without the broker
    Verify(VerifyArgs),
    /// Where the ledger of a broker is: files or a database
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Key slots of a stopped broker's keyring: key files, passphrases, shares
    #[command(subcommand)]
    Slot(SlotCommand),
    /// The configuration file
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Verbs that need no identity of this machine: most call the broker at the socket on its host, or start one.
#[derive(Debug, Subcommand)]
pub enum LocalCommand {
    /// On the broker's host: seal the running broker, which stops serving and wipes its keys until it is unsealed
    Seal(OnHostArgs),
    /// On the broker's host: unseal a sealed broker, so that it serves requests
    Unseal(UnsealArgs),
    /// On the broker's host, as root: revoke or suspend without an operator's certificate, or get an admin's certificate for one hour
    #[command(subcommand)]
    BreakGlass(BreakGlassCommand),
    /// On the broker's host: the broker's clock
    #[command(subcommand)]
    Clock(ClockCommand),
    /// Show the version of this program, its commit, and the formats of the data that it writes
    Version,
    /// The format of declaration files
    #[command(subcommand)]
    Declaration(DeclarationCommand),
    /// Run a demonstration against a temporary broker on this machine
    Demo,
    /// Run a temporary broker with enrolled example agents until Ctrl-C, then delete its files
    Dev {
        /// A declaration file to apply after the examples
        #[arg(long, value_name = "FILE")]
        seed: Option<PathBuf>,
    },
}

/// Verbs that call a running broker through its public interface.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Enrol this machine as an agent or operator with an enrolment code from standard input, a file or a prompt
    Join(JoinArgs),
    /// Renew this machine's certificate with a new key; other verbs renew it by themselves when it is due
    Renew(RenewArgs),
    /// Get an access token for one or more capabilities; `token show -` explains one, `token revoke ID` revokes one
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Token(TokenArgs),
    /// Read an upstream secret: gets a token, and reads the secret with it
    Get(GetArgs),
    /// Run a command with an access token in the file `$KEYWARD_TOKEN_FILE`, secrets in environment variables, and files from templates; token and files are renewed while the command runs
    Run(RunArgs),
    /// The process that renews the token and the files of `run`
    #[command(hide = true)]
    Companion(CompanionArgs),
    /// Show this machine's identity at the broker and its capabilities
    Whoami(WhoamiArgs),
    /// Show this machine's identities, and whether their broker is reachable, ready, and accepts them. The exit code is 0 if all of this is true, else 1
    Status,
    /// Show the changes that `apply` would make
    Plan(PlanArgs),
    /// Replay recorded requests of agents against declaration files, and list the decisions that would change; nothing is changed
    Simulate(SimulateArgs),
    /// Apply declaration files: all changes or none
    Apply(ApplyArgs),
    /// Explain a decision on a request of an agent: the roles, what each policy says, and the change that would allow the request
    Explain(ExplainArgs),
    /// Write the broker's present declarations to standard output; a plan of them shows no change
    Export(ExportArgs),
    /// Write the ledger entries about an agent or operator, with their proofs, to a file that can be verified on any machine
    Evidence(EvidenceArgs),
    /// Agents: invite, list, show, suspend, resume, revoke, delete
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Certificates: revoke
    #[command(subcommand)]
    Cert(CertCommand),
    /// Enrolment codes: revoke
    #[command(subcommand)]
    Code(CodeCommand),
    /// Generations of the certificate authority: prepared, active, old, tainted (no longer trusted), revoked
    #[command(subcommand)]
    Authority(AuthorityCommand),
    /// Generations of the key that signs tokens; it is rotated by schedule
    #[command(subcommand)]
    TokenKey(TokenKeyCommand),
    /// The key that signs checkpoints of the ledger; it is rotated by schedule
    #[command(subcommand)]
    CheckpointKey(CheckpointKeyCommand),
    /// Operators: invite, list, show, change the role, suspend, resume, revoke, delete
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// Declared capabilities: list, show
    #[command(subcommand)]
    Capability(CapabilityCommand),
    /// Declared roles: list, show
    #[command(subcommand)]
    Role(RoleCommand),
    /// Declared policies: list, show, test
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Upstream secrets: store, list, show, classify, roll back, destroy, rotate, delete
    #[command(subcommand)]
    Secret(SecretCommand),
    /// The key that wraps the values of secrets; it is rotated by schedule
    #[command(subcommand)]
    ValueKey(ValueKeyCommand),
    /// Rotations of secrets: list, show, pause, resume, retry, check, adopt
    #[command(subcommand)]
    Rotation(RotationCommand),
    /// Leases of database logins: get, renew, give up; as an operator: list, extend, revoke
    #[command(subcommand)]
    Lease(LeaseCommand),
    /// Contain a subject: revoke what was issued under it, and refuse it until the containment is lifted
    Contain(ContainArgs),
    /// Lift the containment of an incident; what was revoked stays revoked
    Lift(LiftArgs),
    /// Freeze the broker: it issues no tokens, reveals no secrets and gives no leases until it is thawed. It goes on to verify tokens, to renew certificates and to revoke
    Freeze(FreezeArgs),
    /// Thaw a frozen broker
    Thaw(FreezeArgs),
    /// Records of incidents: list, show, open, note, update, close
    #[command(subcommand)]
    Incident(IncidentCommand),
    /// Requests for approval: list, show, approve, deny; the key that signs approvals
    #[command(subcommand)]
    Approval(ApprovalCommand),
    /// As an agent: ask for the approval of tokens that need one, and optionally wait for the answer; list, show and withdraw requests
    ///
    /// Exit codes: 0 if the request is approved, and without `--wait` also while it is pending; 5 if it was denied, withdrawn,
    /// used up or has expired, and with `--wait=DURATION` if it is still pending (the error code says which); 8 if no policy
    /// demands an approval; 9 if too many requests are pending; 10 if the broker does not answer.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Request(RequestArgs),
    /// Entries of the ledger
    #[command(subcommand)]
    Audit(AuditCommand),
}
