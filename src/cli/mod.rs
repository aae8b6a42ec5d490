//! The command line: verbs in, tables or JSON out, errors as *error / why / fix*.
//!
//! Verbs that work on a broker talk to it over its public HTTP interface and nothing else; those
//! that need the data directory are carried out by `offline`.

mod agent_args;
mod client;
mod command;
mod demo;
mod enrolment;
mod help;
mod host_args;
mod identity;
mod key_nouns;
mod nouns;
mod slot_args;
mod verbs;

pub use client::host_standing;
pub use command::{Cli, ClientCommand, Command, HostCommand};
pub use help::{completions, help, man, reference};
pub use host_args::{ConfigCommand, InitArgs, ServeArgs, VerifyArgs};
pub use identity::{Identity, Kind, default_home};
pub use slot_args::{DealingArgs, NewSlotArgs, OpeningArgs, OtherSlotsArgs, SlotCommand};
pub use verbs::doctor::{Finding, doctor, report};

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use self::agent_args::TokenCommand;
use self::enrolment::{join, renew};
use self::verbs::break_glass::break_glass;
use self::verbs::clock::{ClockCommand, accept_clock};
use self::verbs::sealing::{seal, unseal};
use self::verbs::{agents, keys, leases, operators, rotations, run, secrets, token};
use crate::base::{code, io_reason};
use crate::config::Config;
use crate::console::{Console, Failure, Format, not_an_argument};

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
        Console::new(Format::Table).report(&failure);
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

/// Carries out a verb that works on a broker that runs.
///
/// # Errors
/// [`Failure`].
pub async fn run(command: &ClientCommand, home: &Path, console: &Console) -> Result<(), Failure> {
    match command {
        ClientCommand::Seal { config } => seal(&Config::load(config)?.listen.host, console).await,
        ClientCommand::Unseal(args) => unseal(&Config::load(&args.config)?.listen.host, args, console).await,
        ClientCommand::Clock(ClockCommand::Accept { broker }) => {
            accept_clock(&Config::load(&broker.config)?.listen.host, console).await
        }
        ClientCommand::BreakGlass(command) => {
            break_glass(command, &Config::load(command.config())?, console).await
        }
        ClientCommand::Join { code_file, replace, argument } => {
            not_an_argument(argument)?;
            join::join(home, code_file.as_deref(), *replace, console).await
        }
        ClientCommand::Token(args) => match &args.command {
            Some(TokenCommand::Revoke { id }) => agents::revoke_token(home, id, console).await,
            None => token::token(home, args, console).await,
        },
        ClientCommand::Get(args) => token::get(home, args, console).await,
        ClientCommand::Run(args) => run::run(home, args).await,
        ClientCommand::Companion(args) => run::companion(home, args).await,
        ClientCommand::Renew { watch, operator } => {
            let kind = Kind::named(*operator);
            if *watch {
                renew::watch(home, kind, console).await
            } else {
                renew::renew(home, kind, console).await
            }
        }
        ClientCommand::Whoami { operator } => token::whoami(home, *operator, console).await,
        ClientCommand::Plan { files, prune, check } => {
            let checks = if *check { agents::Checks::Upstreams } else { agents::Checks::None };
            agents::declare(home, files, *prune, ("/v1/plan", checks), console).await
        }
        ClientCommand::Apply { files, prune } => {
            agents::declare(home, files, *prune, ("/v1/apply", agents::Checks::None), console).await
        }
        ClientCommand::Agent(command) => agents::agent(home, command, console).await,
        ClientCommand::Operator(command) => operators::operator(home, command, console).await,
        ClientCommand::Cert(nouns::CertCommand::Revoke { serial }) => {
            agents::revoke_certificate(home, serial, console).await
        }
        ClientCommand::Authority(command) => keys::authority(home, command, console).await,
        ClientCommand::TokenKey(command) => keys::token_key(home, command, console).await,
        ClientCommand::CheckpointKey(command) => keys::checkpoint_key(home, command, console).await,
        ClientCommand::Capability(_) => agents::list(home, "/v1/capabilities", console).await,
        ClientCommand::Role(_) => agents::list(home, "/v1/roles", console).await,
        ClientCommand::Secret(command) => secrets::secret(home, command, console).await,
        ClientCommand::Rotation(command) => rotations::rotation(home, command, console).await,
        ClientCommand::Lease(command) => leases::lease(home, command, console).await,
        ClientCommand::ValueKey(command) => secrets::value_key(home, command, console).await,
        ClientCommand::Audit(command) => agents::audit(home, command, console).await,
        ClientCommand::Demo => demo::play(console).await,
        ClientCommand::Dev { seed } => demo::dev(seed.as_deref(), console).await,
    }
}
