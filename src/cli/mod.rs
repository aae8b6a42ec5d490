//! The command line: verbs in, tables or JSON out, errors as *error / why / fix*.
//!
//! Verbs that work on a broker talk to it over its public HTTP interface and nothing else; those
//! that need the data directory are carried out by `app`.

mod admin;
mod agent;
mod agent_args;
mod break_glass;
mod client;
mod clock;
mod command;
mod console;
mod credential_form;
mod demo;
mod dev;
mod doctor;
mod failure;
mod help;
mod host;
mod host_client;
mod identity;
mod input;
mod join;
mod kept_token;
mod key_nouns;
mod lease;
mod lease_nouns;
mod nouns;
mod operator;
mod passphrase;
mod patience;
mod pending;
mod renew;
mod rotation;
mod run;
mod sealing;
mod secret;
mod shares;
mod signing_keys;
mod slot_args;
mod stage;

pub use agent_args::TokenCommand;
pub use break_glass::{BreakGlassCommand, break_glass};
pub use clock::{ClockCommand, accept_clock};
pub use command::{Cli, Command, Format};
pub use console::{Console, OnlyCopy};
pub use doctor::{Finding, report};
pub use failure::Failure;
pub use help::{completions, help, man, reference};
pub use host::{own_uid, whoever_runs_this};
pub use host_client::host_standing;
pub use identity::{Identity, Kind, default_home};
pub use input::not_an_argument;
pub use nouns::{ConfigCommand, InitArgs};
pub use passphrase::{known_passphrase, new_passphrase};
pub use sealing::{UnsealArgs, seal, unseal};
pub use shares::{hand_out, known_shares, shares_failure};
pub use slot_args::{DealingArgs, NewSlotArgs, OpeningArgs, OtherSlotsArgs, SlotCommand};

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::base::{code, io_reason};

/// Reads the process's arguments.
///
/// # Errors
/// The exit code, once a usage error or help was printed.
pub fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| told(&unquoted(error)))
}

/// Prints a usage error or help. Gives the exit code.
fn told(error: &clap::Error) -> ExitCode {
    let printed = error.print().and_then(|()| std::io::stdout().flush());
    if let Err(fault) = printed
        && !error.use_stderr()
        && fault.kind() != std::io::ErrorKind::BrokenPipe
    {
        let why = format!("standard output cannot be written: {}", io_reason(&fault));
        let failure = Failure::new(code::OUTPUT_FAILED).because(why);
        failure.report(&Console::new(Format::Table));
        return ExitCode::from(failure.exit());
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(u8::MAX))
}

/// The error, without the argument that nobody expected, there or of that kind: it may be a passphrase, at the wrong place.
fn unquoted(mut error: clap::Error) -> clap::Error {
    let kind = error.kind();
    let given = if kind == ErrorKind::UnknownArgument {
        ContextKind::InvalidArg
    } else if matches!(kind, ErrorKind::TooManyValues | ErrorKind::ValueValidation) {
        ContextKind::InvalidValue
    } else {
        return error;
    };
    let is_option =
        matches!(error.get(given), Some(ContextValue::String(argument)) if argument.starts_with('-'));
    if !is_option {
        error.insert(given, ContextValue::String("…".to_owned()));
    }
    error
}

/// Carries out a verb that works on a broker from the outside.
///
/// # Errors
/// [`Failure`].
pub async fn run(cli: &Cli, console: &Console) -> Result<(), Failure> {
    let home = cli.home()?;
    match &cli.command {
        Command::Join { code_file, replace, argument } => {
            input::not_an_argument(argument)?;
            join::join(&home, code_file.as_deref(), *replace, console).await
        }
        Command::Token(args) => match &args.command {
            Some(TokenCommand::Revoke { id }) => admin::revoke_token(&home, id, console).await,
            None => agent::token(&home, args, console).await,
        },
        Command::Get(args) => agent::get(&home, args, console).await,
        Command::Run(args) => run::run(&home, args).await,
        Command::Companion(args) => run::companion(&home, args).await,
        Command::Renew { watch, operator } => {
            let kind = if *operator { Kind::Operator } else { Kind::Agent };
            if *watch {
                renew::watch(&home, kind, console).await
            } else {
                renew::renew(&home, kind, console).await
            }
        }
        Command::Whoami { operator } => agent::whoami(&home, *operator, console).await,
        Command::Doctor { operator, .. } => {
            let kind = if *operator { Kind::Operator } else { Kind::Agent };
            report(&doctor::client(&home, kind).await, console)
        }
        Command::Plan { files, prune, check } => {
            let checks = if *check { admin::Checks::Upstreams } else { admin::Checks::None };
            admin::declare(&home, files, *prune, ("/v1/plan", checks), console).await
        }
        Command::Apply { files, prune } => {
            admin::declare(&home, files, *prune, ("/v1/apply", admin::Checks::None), console).await
        }
        Command::Agent(command) => admin::agent(&home, command, console).await,
        Command::Operator(command) => operator::operator(&home, command, console).await,
        Command::Cert(nouns::CertCommand::Revoke { serial }) => {
            admin::revoke_certificate(&home, serial, console).await
        }
        Command::Authority(command) => signing_keys::authority(&home, command, console).await,
        Command::TokenKey(command) => signing_keys::token_key(&home, command, console).await,
        Command::CheckpointKey(command) => signing_keys::checkpoint_key(&home, command, console).await,
        Command::Capability(_) => admin::list(&home, "/v1/capabilities", console).await,
        Command::Role(_) => admin::list(&home, "/v1/roles", console).await,
        Command::Secret(command) => secret::secret(&home, command, console).await,
        Command::Rotation(command) => rotation::rotation(&home, command, console).await,
        Command::Lease(command) => lease::lease(&home, command, console).await,
        Command::ValueKey(command) => secret::value_key(&home, command, console).await,
        Command::Audit(command) => admin::audit(&home, command, console).await,
        Command::Demo => demo::play(console).await,
        Command::Dev { seed } => dev::dev(seed.as_deref(), console).await,
        Command::Init(_)
        | Command::Slot(_)
        | Command::Serve { .. }
        | Command::Adopt { .. }
        | Command::Seal { .. }
        | Command::BreakGlass(_)
        | Command::Clock(_)
        | Command::Unseal(_)
        | Command::Verify { .. }
        | Command::Config(_)
        | Command::Help { .. }
        | Command::Completions { .. }
        | Command::Man { .. } => Err(Failure::internal("this verb needs no broker to talk to")),
    }
}
