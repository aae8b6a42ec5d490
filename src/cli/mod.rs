//! The command line: verbs in, tables or JSON out, errors as *error / why / fix*.
//!
//! Verbs for a running broker use only its public HTTP interface; `offline` has the verbs for the data directory.

mod approval_answer;
mod approval_key;
mod client;
mod command;
mod completion;
mod confirmation;
mod demo;
mod details;
mod ended_keys;
mod enrolment;
mod examples;
mod given_home;
mod guesses;
mod help;
mod host_args;
mod identity;
mod ledger_args;
mod listing;
mod named_key;
mod named_network;
mod own_access;
mod owners;
mod run;
mod sealed_key;
mod session;
mod slot_args;
mod table;
mod usage;
mod verbs;

pub use client::host_state;
pub use command::{Cli, ClientCommand, Command, HostCommand, LocalCommand};
pub use completion::{complete, completions};
pub(crate) use confirmation::Question;
pub use help::{help, man, reference};
pub use host_args::{ConfigCommand, InitArgs, ServeArgs, VerifyArgs};
pub use identity::{Identity, IdentityKind, default_home};
pub(crate) use identity::{NEW_KEY_IN_CLEAR, identity_lock};
pub use ledger_args::{LedgerCommand, LedgerDestination, LedgerMoveArgs, LedgerPrepareArgs};
pub use named_key::named_key;
pub use slot_args::{DealingArgs, NewSlotArgs, OpeningArgs, OtherSlotsArgs, SlotCommand};
pub use verbs::doctor::{DoctorFinding, doctor, report};
pub(crate) use verbs::status::CLOCK_DISAGREES;

use std::path::Path;
use std::process::ExitCode;

use clap::FromArgMatches;

use self::enrolment::{join, renew};
use self::given_home::GivenHome;
use self::run::{companion, run as run_command};
use self::session::VerbSession;
use self::usage::{report_usage, with_meant_verb, with_tips};
use self::verbs::sealing::seal;
use self::verbs::status::status;
use self::verbs::version::version;
use crate::console::{CommandFailure, Console};

/// Reads the process's arguments.
///
/// # Errors
/// The exit code, after a usage error or help was printed.
pub fn parse() -> Result<Cli, ExitCode> {
    let parsed = help::command().try_get_matches().and_then(|found| Cli::from_arg_matches(&found));
    parsed.map_err(|error| report_usage(&with_tips(error)))
}

/// Runs a verb that needs no identity of this machine.
///
/// # Errors
/// [`CommandFailure`].
pub async fn run_local(command: &LocalCommand, console: &Console) -> Result<(), CommandFailure> {
    match command {
        LocalCommand::Seal(args) => seal(args, console).await,
        LocalCommand::Unseal(args) => args.run(console).await,
        LocalCommand::Clock(command) => command.run(console).await,
        LocalCommand::BreakGlass(command) => command.run(console).await,
        LocalCommand::Version => {
            version(console);
            Ok(())
        }
        LocalCommand::Declaration(command) => {
            command.run(console);
            Ok(())
        }
        LocalCommand::Demo => demo::play(console).await,
        LocalCommand::Dev { seed } => demo::dev(seed.as_deref(), console).await,
    }
}

/// Runs a verb that calls a running broker. Commands that a failure suggests have the option `--home` of this one.
///
/// # Errors
/// [`CommandFailure`].
pub async fn run(command: &ClientCommand, home: &Path, console: &Console) -> Result<(), CommandFailure> {
    let done = run_verb(command, home, console).await;
    done.map_err(|failure| GivenHome::of_process().kept_in_failure(failure))
}

async fn run_verb(command: &ClientCommand, home: &Path, console: &Console) -> Result<(), CommandFailure> {
    if console.is_json() {
        client::say_nothing_of_read_only();
    }
    let session = VerbSession { home, console };
    match command {
        ClientCommand::Join(args) => join(home, args, console).await,
        ClientCommand::Renew(args) => renew(home, args, console).await,
        ClientCommand::Token(args) => {
            args.run(session).await.map_err(|failure| with_meant_verb("token", &args.capabilities, failure))
        }
        ClientCommand::Get(args) => args.run(session).await,
        ClientCommand::Run(args) => run_command(home, args).await,
        ClientCommand::Companion(args) => companion(home, args).await,
        ClientCommand::Whoami(args) => args.run(session).await,
        ClientCommand::Status => status(session).await,
        ClientCommand::Plan(args) => args.run(session).await,
        ClientCommand::Simulate(args) => args.run(session).await,
        ClientCommand::Apply(args) => args.run(session).await,
        ClientCommand::Explain(args) => args.run(session).await,
        ClientCommand::Export(args) => args.run(session).await,
        ClientCommand::Evidence(args) => args.run(session).await,
        ClientCommand::Agent(command) => command.run(session).await,
        ClientCommand::Operator(command) => command.run(session).await,
        ClientCommand::Cert(command) => command.run(session).await,
        ClientCommand::Code(command) => command.run(session).await,
        ClientCommand::Authority(command) => command.run(session).await,
        ClientCommand::TokenKey(command) => command.run(session).await,
        ClientCommand::CheckpointKey(command) => command.run(session).await,
        ClientCommand::Capability(command) => command.run(session).await,
        ClientCommand::Role(command) => command.run(session).await,
        ClientCommand::Policy(command) => command.run(session).await,
        ClientCommand::Secret(command) => command.run(session).await,
        ClientCommand::ValueKey(command) => command.run(session).await,
        ClientCommand::Rotation(command) => command.run(session).await,
        ClientCommand::Lease(command) => command.run(session).await,
        ClientCommand::Contain(args) => args.run(session).await,
        ClientCommand::Lift(args) => args.run(session).await,
        ClientCommand::Freeze(args) => args.freeze(session).await,
        ClientCommand::Thaw(args) => args.thaw(session).await,
        ClientCommand::Incident(command) => command.run(session).await,
        ClientCommand::Approval(command) => command.run(session).await,
        ClientCommand::Request(args) => args.run(session).await,
        ClientCommand::Audit(command) => command.run(session).await,
    }
}
