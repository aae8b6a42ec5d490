use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::base::Sensitivity;

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

/// `keyward cert …`
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// End the instance that holds this certificate, with all that it was given
    Revoke {
        /// The certificate's serial, 32 hexadecimal digits
        serial: String,
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
    Put(PutArgs),
    /// List secrets, without their values
    List,
    /// Show a secret, its versions and who can read it; never a value
    Show {
        /// The secret
        name: String,
    },
    /// Say how sensitive a secret is: tokens for one that is `high` are short, and only capabilities of its own
    /// owner reach it
    Classify {
        /// The secret
        name: String,
        /// How sensitive: `ordinary` or `high`
        sensitivity: Sensitivity,
    },
    /// List the versions of a secret
    Versions {
        /// The secret
        name: String,
    },
    /// List who read a secret last
    Readers {
        /// The secret
        name: String,
    },
    /// Hand a former version out again
    Rollback {
        /// The secret
        name: String,
        /// The version
        #[arg(value_name = "VERSION")]
        number: u32,
    },
    /// Destroy a former version: after the next rotation of the value key it cannot be decrypted
    Destroy {
        /// The secret
        name: String,
        /// The version
        #[arg(value_name = "VERSION")]
        number: u32,
        /// That is what you want
        #[arg(long)]
        yes: bool,
        /// Rotate the value key at once
        #[arg(long)]
        now: bool,
    },
    /// Have a secret rotated now, and wait until the new value is handed out
    Rotate {
        /// The secret
        name: String,
        /// Show what would be called and who is touched, and do nothing
        #[arg(long, conflicts_with = "no_wait")]
        plan: bool,
        /// Do not wait
        #[arg(long)]
        no_wait: bool,
    },
}

/// `keyward secret put`
#[derive(Args, Debug)]
pub struct PutArgs {
    /// The secret
    pub name: String,
    /// Read the value from this file (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Whose the secret is to be; an operator who is bound to an owner need not say so
    #[arg(long, value_name = "OWNER")]
    pub owner: Option<String>,
    /// How sensitive it is to be: `ordinary` or `high`
    #[arg(long)]
    pub sensitivity: Option<Sensitivity>,
    /// Only if this version is the current one
    #[arg(long, value_name = "VERSION", conflicts_with = "new")]
    pub if_match: Option<u32>,
    /// Only if there is no such secret yet
    #[arg(long)]
    pub new: bool,
    /// Refused: what is an argument can be seen by everybody on the machine
    #[arg(hide = true)]
    pub argument: Vec<OsString>,
    /// Refused likewise
    #[arg(long = "value", hide = true)]
    pub value: Option<OsString>,
}

/// `keyward rotation …`
#[derive(Debug, Subcommand)]
pub enum RotationCommand {
    /// List rotations, when each is due and how it stands
    List,
    /// Show one
    Show {
        /// The secret
        name: String,
    },
    /// Let none begin by itself until it is resumed; the one under way goes on
    Pause {
        /// The secret
        name: String,
    },
    /// End a pause; what fell due meanwhile comes once
    Resume {
        /// The secret
        name: String,
    },
    /// Try a step that failed again now, a dead letter too
    Retry {
        /// The secret
        name: String,
    },
    /// Try the upstream: connect, verify its certificate, log in, look for what is missing; nothing is changed
    Check {
        /// The secret
        name: String,
    },
    /// Hand out a version that works upstream, and end the rotation under way; no version is lost
    Adopt {
        /// The secret
        name: String,
        /// This version [default: the first of the newest four that the upstream lets in]
        #[arg(value_name = "VERSION")]
        number: Option<u32>,
        /// Do not ask the upstream: it is gone for good, or you know that the version works
        #[arg(long)]
        unverified: bool,
    },
    /// Revoke the previous version now, before its grace period ends
    RevokePrevious {
        /// The secret
        name: String,
    },
    /// Say that the values which `show` lists as orphans were deleted upstream, by hand
    ClearOrphans {
        /// The secret
        name: String,
    },
    /// Show what is to come
    Calendar {
        /// How far ahead
        #[arg(long, default_value = "30d", value_name = "LENGTH")]
        next: String,
        /// As iCalendar
        #[arg(long)]
        ical: bool,
    },
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
    /// The newest so many, instead: at most 500
    #[arg(long, value_name = "N", conflicts_with_all = ["after", "limit"])]
    pub last: Option<u64>,
}
