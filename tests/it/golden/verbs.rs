//! The verbs of the command line.

use clap::CommandFactory;
use keyward::cli::Cli;

/// A verb: its words, and whether it acts by itself or only has verbs below it.
pub(super) struct Verb {
    pub(super) words: String,
    pub(super) acts: bool,
}

/// All verbs that help shows, each before those below it.
pub(super) fn verbs() -> Vec<Verb> {
    below(&Cli::command(), "")
}

fn below(command: &clap::Command, path: &str) -> Vec<Verb> {
    let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
    let verbs = shown.flat_map(|one| {
        let words = format!("{path} {}", one.get_name()).trim_start().to_owned();
        let inside = below(one, &words);
        let acts = inside.is_empty() || one.get_positionals().next().is_some();
        std::iter::once(Verb { words, acts }).chain(inside)
    });
    verbs.collect()
}
