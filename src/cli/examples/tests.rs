use clap::CommandFactory;

use super::*;
use crate::base::TokenId;
use crate::cli::command::Cli;

/// The verbs that take no further verb.
fn verbs(command: &Command, path: &str) -> Vec<String> {
    let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
    let below: Vec<String> =
        shown.flat_map(|one| verbs(one, format!("{path} {}", one.get_name()).trim_start())).collect();
    let is_verb = below.is_empty() || command.get_positionals().next().is_some();
    let own = (is_verb && !path.is_empty()).then(|| path.to_owned());
    own.into_iter().chain(below).collect()
}

/// The words of the last command of a line; quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let at = line.rfind("keyward ").unwrap_or_default();
    let line = line[at..].split(" > ").next().unwrap();
    let parts = line.split('"').enumerate();
    let split = |(at, part): (usize, &str)| -> Vec<String> {
        if at % 2 == 1 { vec![part.to_owned()] } else { part.split_whitespace().map(str::to_owned).collect() }
    };
    parts.flat_map(split).collect()
}

#[test]
fn every_verb_has_examples_that_it_accepts() {
    let mut listed: Vec<&str> = examples().map(|(verb, _)| *verb).collect();
    let mut known = verbs(&Cli::command(), "");
    listed.sort_unstable();
    known.sort_unstable();
    assert_eq!(listed, known);
    for (verb, examples) in examples() {
        for example in examples {
            let words = words(example);
            assert!(words[1..].join(" ").starts_with(*verb), "{example}");
            // The tail of every example's id, after its kind.
            for (_, tail) in
                words.iter().filter_map(|word| word.split_once('_')).filter(|id| id.1.len() == 26)
            {
                assert!(format!("tok_{tail}").parse::<TokenId>().is_ok(), "{example}");
            }
            let parsed = Cli::command().try_get_matches_from(&words);
            assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
        }
    }
}
