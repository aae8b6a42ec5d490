//! The command line: verbs in, tables or JSON out, errors as *error / why / fix*.
//!
//! Verbs for a running broker use only its public HTTP interface; `offline` has the verbs for the data directory.

mod client;
mod command;
mod completion;
mod confirmation;
mod demo;
mod details;
mod enrolment;
mod examples;
mod help;
mod host_args;
mod identity;
mod listing;
mod own_access;
mod owners;
mod run;
mod sealed_key;
mod session;
mod slot_args;
mod table;
mod verbs;

pub use client::host_state;
pub use command::{Cli, ClientCommand, Command, HostCommand, LocalCommand};
pub use completion::{complete, completions};
pub(crate) use confirmation::Question;
pub use help::{help, man, reference};
pub use host_args::{ConfigCommand, InitArgs, ServeArgs, VerifyArgs};
pub use identity::{Identity, IdentityKind, default_home};
pub(crate) use identity::{NEW_KEY_IN_CLEAR, identity_lock};
pub use slot_args::{DealingArgs, NewSlotArgs, OpeningArgs, OtherSlotsArgs, SlotCommand};
pub use verbs::doctor::{DoctorFinding, doctor, report};

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::FromArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use self::enrolment::{join, renew};
use self::run::{companion, run as run_command};
use self::session::VerbSession;
use self::verbs::sealing::seal;
use self::verbs::status::status;
use self::verbs::version::version;
use crate::base::{code, io_reason};
use crate::console::{CommandFailure, Console, Format};

/// Reads the process's arguments.
///
/// # Errors
/// The exit code, after a usage error or help was printed.
pub fn parse() -> Result<Cli, ExitCode> {
    let parsed = help::command().try_get_matches().and_then(|found| Cli::from_arg_matches(&found));
    parsed.map_err(|error| report_usage(&unquoted(error)))
}

/// Prints a usage error or help, and returns the exit code.
fn report_usage(error: &clap::Error) -> ExitCode {
    let printed = error.print().and_then(|()| std::io::stdout().flush());
    if let Err(fault) = printed
        && !error.use_stderr()
        && fault.kind() != std::io::ErrorKind::BrokenPipe
    {
        let why = format!("standard output cannot be written: {}", io_reason(&fault));
        let failure = CommandFailure::new(code::OUTPUT_FAILED).because(why);
        Console::new(Format::Table).report(&failure);
        return ExitCode::from(failure.exit());
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(u8::MAX))
}

/// The error without an unexpected argument or value, which may be a passphrase in the wrong place.
fn unquoted(mut error: clap::Error) -> clap::Error {
    let kind = error.kind();
    let given = if kind == ErrorKind::UnknownArgument {
        ContextKind::InvalidArg
    } else if matches!(kind, ErrorKind::TooManyValues | ErrorKind::ValueValidation) {
        ContextKind::InvalidValue
    } else {
        return error;
    };
    let argument = match error.get(given) {
        Some(ContextValue::String(argument)) => argument.clone(),
        Some(_) | None => String::new(),
    };
    if !argument.starts_with('-') {
        error.insert(given, ContextValue::String("…".to_owned()));
        let is_file = kind == ErrorKind::UnknownArgument && Path::new(&argument).exists();
        let words: Vec<OsString> = std::env::args_os().skip(1).collect();
        if let Some(tip) = file_option(help::command(), &words).filter(|_| is_file) {
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
        }
    }
    error
}

/// The option by which the verb of `words` takes a file, for a person who names the file alone.
fn file_option(mut command: clap::Command, words: &[OsString]) -> Option<&'static str> {
    for word in words {
        let Some(next) = command.find_subcommand(word) else { break };
        command = next.clone();
    }
    let has_long = |name: &str| command.get_arguments().any(|one| one.get_long() == Some(name));
    let has_short = |name: char| command.get_arguments().any(|one| one.get_short() == Some(name));
    if has_short('f') {
        return Some("name declaration files with `-f FILE`");
    }
    has_long("config").then_some("name the configuration file with `--config FILE`")
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

/// Runs a verb that calls a running broker.
///
/// # Errors
/// [`CommandFailure`].
pub async fn run(command: &ClientCommand, home: &Path, console: &Console) -> Result<(), CommandFailure> {
    let session = VerbSession { home, console };
    match command {
        ClientCommand::Join(args) => join(home, args, console).await,
        ClientCommand::Renew(args) => renew(home, args, console).await,
        ClientCommand::Token(args) => args.run(session).await,
        ClientCommand::Get(args) => args.run(session).await,
        ClientCommand::Run(args) => run_command(home, args).await,
        ClientCommand::Companion(args) => companion(home, args).await,
        ClientCommand::Whoami(args) => args.run(session).await,
        ClientCommand::Status => status(session).await,
        ClientCommand::Plan(args) => args.run(session).await,
        ClientCommand::Apply(args) => args.run(session).await,
        ClientCommand::Export(args) => args.run(session).await,
        ClientCommand::Evidence(args) => args.run(session).await,
        ClientCommand::Agent(command) => command.run(session).await,
        ClientCommand::Operator(command) => command.run(session).await,
        ClientCommand::Cert(command) => command.run(session).await,
        ClientCommand::Authority(command) => command.run(session).await,
        ClientCommand::TokenKey(command) => command.run(session).await,
        ClientCommand::CheckpointKey(command) => command.run(session).await,
        ClientCommand::Capability(command) => command.run(session).await,
        ClientCommand::Role(command) => command.run(session).await,
        ClientCommand::Secret(command) => command.run(session).await,
        ClientCommand::ValueKey(command) => command.run(session).await,
        ClientCommand::Rotation(command) => command.run(session).await,
        ClientCommand::Lease(command) => command.run(session).await,
        ClientCommand::Contain(args) => args.run(session).await,
        ClientCommand::Lift(args) => args.run(session).await,
        ClientCommand::Freeze(args) => args.freeze(session).await,
        ClientCommand::Thaw(args) => args.thaw(session).await,
        ClientCommand::Incident(command) => command.run(session).await,
        ClientCommand::Audit(command) => command.run(session).await,
    }
}
