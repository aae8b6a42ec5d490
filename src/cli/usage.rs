//! Errors in the arguments, as `clap` finds them, with tips that help.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::given_home::GivenHome;
use super::guesses::meant_verb;
use super::help;
use crate::base::{code, io_reason, near_texts};
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
    if error.use_stderr() && is_json(std::env::args_os().skip(1)) {
        let failure = as_failure(error);
        Console::new(Format::Json).report(&failure);
        return ExitCode::from(failure.exit());
    }
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

/// Whether the words ask for JSON. The arguments as a whole could not be parsed.
fn is_json(words: impl Iterator<Item = OsString>) -> bool {
    let words: Vec<String> =
        words.take_while(|word| word != "--").map(|word| word.to_string_lossy().into_owned()).collect();
    let joined = words.iter().filter_map(|word| word.strip_prefix("--output=").or(word.strip_prefix("-o")));
    let apart = words.windows(2).filter_map(|pair| match pair {
        [option, value] if ["-o", "--output"].contains(&option.as_str()) => Some(value.as_str()),
        _ => None,
    });
    let mut values = joined.chain(apart);
    values.any(|value| ["json", "jsonl"].contains(&value.trim_start_matches('=')))
}

/// The error in the form of all failures: what `clap` prints after `error:`, with its tips, else the usage, as the fix.
fn as_failure(error: &clap::Error) -> CommandFailure {
    let text = error.render().to_string();
    let told: Vec<&str> = text.split("\n\n").map(str::trim).collect();
    let why = told.first().map_or("", |why| why.strip_prefix("error: ").unwrap_or(why));
    let one_line = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let of = |start: &str| told.iter().find(|part| part.starts_with(start)).map(|part| one_line(part));
    let fix = of("tip: ").map(|tips| tips.replace("tip: ", "")).or_else(|| of("Usage: "));
    CommandFailure::usage(
        &one_line(why),
        &fix.unwrap_or_else(|| "the option `--help` shows the usage".to_owned()),
    )
}

/// The error without an unexpected argument or value, which may be a passphrase in the wrong place, and with tips that name
/// what the verb has.
pub(super) fn with_tips(mut error: clap::Error) -> clap::Error {
    let root = built(help::command());
    let verb = verb_of(&root, std::env::args_os().skip(1));
    let kind = error.kind();
    let tip = if kind == ErrorKind::UnknownArgument {
        argument_tip(&mut error, verb)
    } else if kind == ErrorKind::InvalidSubcommand {
        verb_tip(&mut error, &root)
    } else if kind == ErrorKind::InvalidValue {
        home_tip(&error)
    } else {
        if matches!(kind, ErrorKind::TooManyValues | ErrorKind::ValueValidation) {
            hide(&mut error, ContextKind::InvalidValue);
        }
        None
    };
    if let Some(tip) = tip {
        let tip = GivenHome::of_process().kept_in(&tip);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

fn text_of(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(_) | None => String::new(),
    }
}

/// Hides a text of the caller that is no option.
fn hide(error: &mut clap::Error, kind: ContextKind) {
    if !text_of(error, kind).starts_with('-') {
        error.insert(kind, ContextValue::String("…".to_owned()));
    }
}

/// The tip for an unknown option, or an unexpected word.
fn argument_tip(error: &mut clap::Error, verb: &clap::Command) -> Option<String> {
    let given = text_of(error, ContextKind::InvalidArg);
    hide(error, ContextKind::InvalidArg);
    if given.starts_with('-') { option_tip(error, verb, &given) } else { word_tip(verb, &given) }
}

/// The tip for an unknown option.
fn option_tip(error: &mut clap::Error, verb: &clap::Command, option: &str) -> Option<String> {
    // No verb takes it as a value, which `clap` suggests.
    drop(error.remove(ContextKind::Suggested));
    let meant = other_option(verb, option.trim_start_matches('-'));
    meant.inspect(|_| drop(error.remove(ContextKind::SuggestedArg)))
}

/// The tip for an unexpected word.
fn word_tip(verb: &clap::Command, word: &str) -> Option<String> {
    if verb.get_positionals().any(clap::Arg::is_last_set) {
        let name = verb.get_bin_name().unwrap_or_default();
        return Some(format!("put `--` before the command and its arguments: `{name} … -- COMMAND`"));
    }
    let tip = if Path::new(word).exists() { file_option(verb) } else { operator_option(verb) };
    tip.map(str::to_owned)
}

/// The tip for an unknown verb. Of the verbs that `clap` suggests, those stay that can be misspelt so.
fn verb_tip(error: &mut clap::Error, root: &clap::Command) -> Option<String> {
    let given = text_of(error, ContextKind::InvalidSubcommand);
    let noun = verb_of(root, std::env::args_os().skip(1).take_while(|word| *word != *given));
    let suggested = error.remove(ContextKind::SuggestedSubcommand);
    drop(error.remove(ContextKind::Suggested));
    let path = noun.get_bin_name().and_then(|path| path.split_once(' ')).map_or("", |(_, path)| path);
    if let Some((words, help)) = meant_verb(root, path, &given) {
        return Some(format!("use `keyward {words}`: {help}"));
    }
    if let Some(ContextValue::Strings(suggested)) = suggested {
        let near = near_texts(&given, suggested.iter().map(String::as_str));
        let near: Vec<String> = near.into_iter().map(str::to_owned).collect();
        if !near.is_empty() {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(near));
        }
    }
    None
}

/// `failure` of the verb `noun` with the verb that is meant, if the only capability in `given` is a usual verb, and the agent
/// does not have it.
pub(super) fn with_meant_verb(noun: &str, given: &[String], failure: CommandFailure) -> CommandFailure {
    let of_word = [code::CAPABILITY_NOT_GRANTED, code::SCOPE_MALFORMED, code::NO_IDENTITY];
    let is_of_word = of_word.iter().any(|code| failure.code() == code.as_str());
    let [word] = given else { return failure };
    let Some((words, help)) = meant_verb(&help::command(), noun, word).filter(|_| is_of_word) else {
        return failure;
    };
    let why = format!("`{word}` was taken for the name of a capability: {}", failure.why());
    let fix = GivenHome::of_process().kept_in(&format!("use `keyward {words}`: {help}"));
    failure.because(why).mended_by(fix)
}

/// The tip for an empty home directory that nobody typed.
fn home_tip(error: &clap::Error) -> Option<String> {
    let is_empty = std::env::var_os("KEYWARD_HOME").is_some_and(|home| home.is_empty());
    let is_home = text_of(error, ContextKind::InvalidArg).starts_with("--home");
    (is_empty && is_home)
        .then(|| "the environment variable `KEYWARD_HOME` is empty: name a directory, or unset it".to_owned())
}

fn built(mut command: clap::Command) -> clap::Command {
    command.build();
    command
}

/// The verb that `words` name.
fn verb_of(root: &clap::Command, words: impl Iterator<Item = OsString>) -> &clap::Command {
    words.fold(root, |found, word| found.find_subcommand(word).unwrap_or(found))
}

/// The option by which the verb takes the name of an operator, for a person who gives the name alone.
fn operator_option(verb: &clap::Command) -> Option<&'static str> {
    let operator = verb.get_arguments().find(|one| one.get_long() == Some("operator"))?;
    operator.get_action().takes_values().then_some("name the operator with `--operator NAME`")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_format_is_found_in_each_form_of_the_option() {
        for (words, is) in [
            (&["agent", "list", "-o", "json"][..], true),
            (&["-ojsonl", "agent", "lst"], true),
            (&["-o=json"], true),
            (&["--output=json", "x"], true),
            (&["--output", "json"], true),
            (&["agent", "list", "-o", "csv"], false),
            (&["run", "x", "--", "ls", "-o", "json"], false),
            (&["agent", "list", "json"], false),
        ] {
            assert_eq!(is_json(words.iter().map(OsString::from)), is, "{words:?}");
        }
    }
}
