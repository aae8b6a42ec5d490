use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::failure::Failure;
use super::identity::default_home;

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
    Init {
        /// The configuration
        #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
        config: PathBuf,
        /// The first operator's name
        #[arg(long, default_value = "admin", value_name = "NAME")]
        operator: String,
        /// The file with the root key's key, made when it is missing; for a configuration that names a credential
        #[arg(long, value_name = "FILE")]
        root_key_file: Option<PathBuf>,
        /// On a broker that is there and stopped: give the operator a new certificate
        #[arg(long)]
        reissue_operator: bool,
    },
    /// Run the broker
    Serve {
        /// The configuration
        #[arg(long, default_value = "/etc/keyward/keyward.toml", value_name = "FILE")]
        config: PathBuf,
        /// Go on although the ledger has lost entries that were acknowledged: an operator has looked
        #[arg(long)]
        accept_lost_entries: bool,
    },
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
    Get {
        /// The secret
        #[arg(value_name = "SECRET")]
        secret: String,
        /// The capability that names it [default: the one that `whoami` shows]
        #[arg(long, value_name = "CAPABILITY")]
        capability: Option<String>,
        /// Write the value to this new file, for its owner alone, instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show who this machine is to the broker, and what it may ask for
    Whoami {
        /// As the operator, not as the agent
        #[arg(long)]
        operator: bool,
    },
    /// Show what applying declaration files would change
    Plan {
        /// A file, or a directory of *.toml files
        #[arg(short = 'f', long = "file", required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Also take away what the files do not name
        #[arg(long)]
        prune: bool,
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
    /// Agents: invite, list, show
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
    /// Operators: invite, list, give roles, take away
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// Capabilities that are declared
    #[command(subcommand)]
    Capability(ListCommand),
    /// Roles that are declared
    #[command(subcommand)]
    Role(ListCommand),
    /// Upstream secrets: put, list
    #[command(subcommand)]
    Secret(SecretCommand),
    /// What the ledger says happened
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Check the ledger of a broker's data directory, without the broker
    Verify {
        /// The configuration: names the data directory and the root key, so that every state change is opened too
        #[arg(long, value_name = "FILE", conflicts_with = "data_dir", required_unless_present = "data_dir")]
        config: Option<PathBuf>,
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

/// `keyward agent …`
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Make an enrolment code: one use, 15 minutes, unless more is asked for
    Invite(InviteArgs),
    /// List agents
    List,
    /// Show one agent
    Show {
        /// The agent
        name: String,
    },
    /// End everything that was issued to an agent so far, or to one instance of it
    Revoke {
        /// The agent
        #[arg(required_unless_present = "instance", conflicts_with = "instance")]
        name: Option<String>,
        /// This instance alone
        #[arg(long, value_name = "ID")]
        instance: Option<String>,
    },
    /// Let nothing of an agent count until it is resumed
    Suspend {
        /// The agent
        name: String,
    },
    /// End a suspension
    Resume {
        /// The agent
        name: String,
    },
}

/// `keyward agent invite`
#[derive(Args, Debug)]
pub struct InviteArgs {
    /// The agent
    pub name: String,
    /// Create the agent with this role, when it is not there yet
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<String>,
    /// How many machines can enrol with the code
    #[arg(long, value_name = "N")]
    pub uses: Option<u32>,
    /// How long it can be redeemed, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub expires_in: Option<u32>,
    /// From where it can be redeemed, e.g. 10.1.0.0/16
    #[arg(long, value_name = "NETWORK")]
    pub network: Option<String>,
    /// Write the code to this new file, for its owner alone, instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `keyward operator …`
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Make an enrolment code for an operator: one use, 15 minutes
    Invite {
        /// The operator
        name: String,
        /// Create the operator with this role: admin, security, approver or auditor
        #[arg(long, value_name = "ROLE")]
        role: Option<String>,
        /// Bind it to what this owner has
        #[arg(long, value_name = "OWNER")]
        owner: Option<String>,
        /// Write the code to this new file, for its owner alone, instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// List operators
    List,
    /// Show one operator
    Show {
        /// The operator
        name: String,
    },
    /// Give an operator another role, from its next request on; its reach stays unless it is said
    Role {
        /// The operator
        name: String,
        /// admin, security, approver or auditor
        role: String,
        /// Bind it to what this owner has
        #[arg(long, value_name = "OWNER")]
        owner: Option<String>,
        /// Bind it to no owner
        #[arg(long, conflicts_with = "owner")]
        no_owner: bool,
    },
    /// End every certificate and code that an operator has so far
    Revoke {
        /// The operator
        name: String,
    },
    /// Let nothing of an operator count until it is resumed
    Suspend {
        /// The operator
        name: String,
    },
    /// End a suspension
    Resume {
        /// The operator
        name: String,
    },
}

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

/// `keyward cert …`
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// End the instance that holds this certificate, with all that it was given
    Revoke {
        /// The certificate's serial, 32 hexadecimal digits
        serial: String,
    },
}

/// `keyward authority …`
#[derive(Debug, Subcommand)]
pub enum AuthorityCommand {
    /// List them, and how many live instances are behind
    List,
    /// Make the next one and publish it; it signs nothing yet
    Prepare,
    /// Let the prepared one sign; the one before is old from then on
    Activate {
        /// Which one
        generation: u32,
        /// Although live instances do not know it yet, and would be locked out
        #[arg(long)]
        force: bool,
    },
    /// Tell whoever holds a certificate of an old one to renew now
    Taint {
        /// Which one
        generation: u32,
    },
    /// End every certificate of an old one, or give up the prepared one
    Revoke {
        /// Which one
        generation: u32,
        /// Although live instances still hold its certificates
        #[arg(long)]
        force: bool,
    },
}

/// `keyward token-key …`
#[derive(Debug, Subcommand)]
pub enum TokenKeyCommand {
    /// List them
    List,
    /// Make the next one and publish it; it signs nothing yet
    Prepare,
    /// Let the prepared one sign
    Activate {
        /// Which one
        generation: u32,
    },
    /// End every token that an old one signed
    Revoke {
        /// Which one
        generation: u32,
    },
}

/// `… list`
#[derive(Debug, Subcommand)]
pub enum ListCommand {
    /// List them
    List,
}

/// `keyward secret …`
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Store a new version, from standard input, a file or a prompt; never from an argument
    Put {
        /// The secret
        name: String,
        /// Read the value from this file (`-`: standard input)
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Whose the secret is to be; an operator who is bound to an owner need not say so
        #[arg(long, value_name = "OWNER")]
        owner: Option<String>,
        /// Refused: what is an argument can be seen by everybody on the machine
        #[arg(hide = true)]
        argument: Vec<OsString>,
    },
    /// List secrets, without their values
    List,
}

/// `keyward audit …`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List entries, oldest first
    List(AuditList),
}

/// `keyward audit list`
#[derive(Args, Debug)]
pub struct AuditList {
    /// Only entries after this sequence
    #[arg(long, default_value_t = 0, value_name = "SEQ")]
    pub after: u64,
    /// At most so many
    #[arg(long, default_value_t = 500, value_name = "N")]
    pub limit: u64,
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
