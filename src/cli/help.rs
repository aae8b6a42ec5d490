use std::path::Path;

use clap::CommandFactory;

use crate::base::code::{self, Code};
use crate::cli::command::Cli;
use crate::cli::examples::with_examples;
use crate::console::{CommandFailure, Console, EXIT_CODES, exit_code};
use crate::wire::{CodeOutput, ErrorCodeOutput, HelpOutput, Items, ManOutput};

/// The command line with its examples.
pub(super) fn command() -> clap::Command {
    with_examples(Cli::command())
}

/// `keyward help …`: a verb, an error code, or the exit codes. Needs no broker.
///
/// # Errors
/// [`CommandFailure`] if the verb, code or topic does not exist.
pub fn help(words: &[String], console: &Console) -> Result<(), CommandFailure> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["error", code] => explain(code, console),
        ["error"] => {
            list(Code::all().map(|code| (code.to_string(), code.meaning())), console);
            Ok(())
        }
        ["exit-codes"] => {
            list(EXIT_CODES.iter().map(|(code, means)| (code.to_string(), *means)), console);
            Ok(())
        }
        words => of_verb(words, console),
    }
}

/// Prints codes with their meanings.
fn list(codes: impl Iterator<Item = (String, &'static str)>, console: &Console) {
    let items: Vec<CodeOutput> =
        codes.map(|(code, meaning)| CodeOutput { code, meaning: meaning.to_owned() }).collect();
    if console.is_json() {
        console.json(&Items { items });
        return;
    }
    let row = |item: &CodeOutput| vec![item.code.clone(), item.meaning.clone()];
    console.table("codes", &["CODE", "MEANS"], &items.iter().map(row).collect::<Vec<_>>());
}

fn explain(text: &str, console: &Console) -> Result<(), CommandFailure> {
    let found: Code = text.to_ascii_lowercase().parse().map_err(|_| {
        CommandFailure::new(code::USAGE)
            .because(format!("there is no error code `{text}`"))
            .mended_by("`keyward help error` lists the codes")
    })?;
    if console.is_json() {
        console.json(&ErrorCodeOutput {
            code: found.as_str().into(),
            meaning: found.meaning().into(),
            fix: found.fix().into(),
            retryable: found.is_retryable(),
            exit_code: exit_code(found.sort()),
        });
        return Ok(());
    }
    console.line(&format!("error: {found}"));
    console.line(&format!("  why: {}", found.meaning()));
    console.line(&format!("  fix: {}", found.fix()));
    let retry = if found.is_retryable() {
        "yes, the same request may succeed later"
    } else {
        "no, the same request fails again"
    };
    console.line(&format!("  retry: {retry}"));
    console.line(&format!("  exit code: {}", exit_code(found.sort())));
    Ok(())
}

fn of_verb(words: &[&str], console: &Console) -> Result<(), CommandFailure> {
    let mut command = command();
    command.build();
    let mut found = &mut command;
    for word in words {
        found = found.find_subcommand_mut(word).ok_or_else(|| {
            let why = format!("there is no verb or topic `{}`", words.join(" "));
            let fix = "`keyward help` lists the verbs; `keyward help error CODE` explains an error, `keyward help exit-codes` the exit codes";
            CommandFailure::new(code::USAGE).because(why).mended_by(fix)
        })?;
    }
    let help = found.render_long_help().to_string();
    if console.is_json() {
        console.json(&HelpOutput { verb: words.join(" "), help });
    } else {
        console.bytes(help.as_bytes());
    }
    Ok(())
}

/// `keyward man --out DIR`: one page per verb.
///
/// # Errors
/// [`CommandFailure`] if a page cannot be written.
pub fn man(out: &Path, console: &Console) -> Result<(), CommandFailure> {
    std::fs::create_dir_all(out).map_err(|error| CommandFailure::of_file(out, &error))?;
    clap_mangen::generate_to(command(), out).map_err(|error| CommandFailure::of_file(out, &error))?;
    if console.is_json() {
        console.json(&ManOutput { directory: out.display().to_string() });
    }
    Ok(())
}

/// All verbs with their help, for the reference. Only the first section has the options that every verb takes.
#[must_use]
pub fn reference() -> String {
    let mut command = command().term_width(100);
    command.build();
    let mut page = String::new();
    write_verb(&mut page, &command, "keyward");
    for (path, below) in subcommands(&command, "keyward") {
        let own = below.mut_args(|option| if is_of_every_verb(&option) { option.hide(true) } else { option });
        write_verb(&mut page, &own, &path);
    }
    page
}

/// The verbs below `command`, each before the verbs below itself.
fn subcommands(command: &clap::Command, path: &str) -> Vec<(String, clap::Command)> {
    let shown = command.get_subcommands().filter(|one| one.get_name() != "help" && !one.is_hide_set());
    let below = shown.flat_map(|one| {
        let path = format!("{path} {}", one.get_name());
        let inside = subcommands(one, &path);
        std::iter::once((path, one.clone())).chain(inside)
    });
    below.collect()
}

fn is_of_every_verb(option: &clap::Arg) -> bool {
    option.is_global_set() || ["help", "version"].contains(&option.get_id().as_str())
}

fn write_verb(page: &mut String, command: &clap::Command, path: &str) {
    let help = command.clone().term_width(100).render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    page.push_str(&format!("\n## {path}\n\n```text\n{}\n```\n", lines.join("\n").trim_end()));
}
