//! Errors in the arguments, as `clap` finds them, with tips that help.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::help;
use crate::base::{code, io_reason};
use crate::console::{CommandFailure, Console, Format};

/// Names that people give to an option, and the options that are meant.
const OTHER_NAMES: &[(&[&str], &[&str])] = &[
    (
        &[
            "duration",
            "expire",
            "expires",
            "expires-in",
            "expiry",
            "for",
            "life",
            "lifetime",
            "ttl",
            "validity",
        ],
        &["expires-in", "life", "for"],
    ),
    (&["assume-yes", "confirm", "force", "no-confirm"], &["yes"]),
    (&["count", "last", "lines", "max", "number"], &["limit", "lines"]),
    (&["format", "json"], &["output"]),
];

/// Prints a usage error or help, and returns the exit code.
pub(super) fn report_usage(error: &clap::Error) -> ExitCode {
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

/// The error without an unexpected argument or value, which may be a passphrase in the wrong place, and with tips that name
/// what the verb has.
pub(super) fn with_tips(mut error: clap::Error) -> clap::Error {
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
    let verb = verb_of(help::command(), std::env::args_os().skip(1));
    let tip = match (kind, argument.strip_prefix('-')) {
        (ErrorKind::UnknownArgument, Some(option)) => {
            // No verb takes it as a value, which `clap` suggests.
            drop(error.remove(ContextKind::Suggested));
            let meant = other_option(&verb, option.trim_start_matches('-'));
            meant.inspect(|_| drop(error.remove(ContextKind::SuggestedArg)))
        }
        (_, Some(_)) => None,
        (_, None) => {
            error.insert(given, ContextValue::String("…".to_owned()));
            let is_file = kind == ErrorKind::UnknownArgument && Path::new(&argument).exists();
            file_option(&verb).filter(|_| is_file).map(str::to_owned)
        }
    };
    if let Some(tip) = tip {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// The verb that `words` name.
fn verb_of(mut command: clap::Command, words: impl Iterator<Item = OsString>) -> clap::Command {
    command.build();
    for word in words {
        if let Some(next) = command.find_subcommand(word) {
            command = next.clone();
        }
    }
    command
}

/// The option by which the verb takes a file, for a person who names the file alone.
fn file_option(verb: &clap::Command) -> Option<&'static str> {
    let has_long = |name: &str| verb.get_arguments().any(|one| one.get_long() == Some(name));
    let has_short = |name: char| verb.get_arguments().any(|one| one.get_short() == Some(name));
    if has_short('f') {
        return Some("name declaration files with `-f FILE`");
    }
    has_long("config").then_some("name the configuration file with `--config FILE`")
}

/// The option of the verb that a person means by `given`, with its help.
fn other_option(verb: &clap::Command, given: &str) -> Option<String> {
    let mut meant =
        OTHER_NAMES.iter().filter(|(names, _)| names.contains(&given)).flat_map(|(_, options)| *options);
    let option = meant.find_map(|name| verb.get_arguments().find(|one| one.get_long() == Some(name)))?;
    let value =
        option.get_value_names().and_then(<[_]>::first).filter(|_| option.get_action().takes_values());
    let value = value.map_or_else(String::new, |value| format!(" {value}"));
    let help = option.get_help().map_or_else(String::new, |help| format!(": {help}"));
    Some(format!("use `--{}{value}`{help}", option.get_long()?))
}
