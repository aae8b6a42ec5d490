//! Every option that a page gives to a verb is in the help of that verb.

use std::collections::BTreeMap;
use std::process::Command;

use crate::readme::{code, pages};
use crate::support::process::KEYWARD;

/// Verbs by their words, with their help.
type Helps = BTreeMap<Vec<String>, Option<String>>;

/// The help of the verb of these words; `None` if there is no such verb.
fn help<'a>(helps: &'a mut Helps, words: &[String]) -> Option<&'a str> {
    let made = || {
        let output = Command::new(KEYWARD).arg("help").args(words).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    };
    helps.entry(words.to_vec()).or_insert_with(made).as_deref()
}

/// The options in `line` that the help of its verb does not name.
fn unknown_options(helps: &mut Helps, line: &str) -> Vec<String> {
    let mut unknown = Vec::new();
    for command in line.split(['|', ';', '#', '(', ')']) {
        // What follows `--` belongs to another command.
        let words = command.split_whitespace().take_while(|word| *word != "--").map(|word| {
            let word = word.trim_matches(['\'', '"', '`', ',', '.']);
            word.split('=').next().unwrap_or_default().to_owned()
        });
        let words: Vec<String> = words.collect();
        let begins = words.iter().position(|word| word == "keyward" || word.ends_with("/keyward"));
        let Some(words) = begins.and_then(|at| words.get(at + 1..)) else { continue };
        // An option before the verb, which every verb has.
        let words = if words.first().is_some_and(|word| word == "--home") { &words[2..] } else { words };
        let mut verb: Vec<String> = Vec::new();
        for word in words.iter().filter(|word| !word.starts_with('-')) {
            let longer = [verb.as_slice(), std::slice::from_ref(word)].concat();
            if !word.starts_with(char::is_lowercase) || help(helps, &longer).is_none() {
                break;
            }
            verb = longer;
        }
        let known = help(helps, &verb).unwrap_or_default().to_owned();
        let options = words.iter().filter(|word| word.starts_with("--"));
        let is_known = |option: &str| {
            known.match_indices(option).any(|(at, _)| {
                let next = known[at + option.len()..].chars().next();
                next.is_none_or(|next| !next.is_ascii_alphanumeric() && next != '-')
            })
        };
        unknown.extend(options.filter(|option| !is_known(option)).map(|option| format!("{line}: {option}")));
    }
    unknown
}

#[test]
fn every_option_that_the_pages_give_to_a_verb_is_there() {
    let mut helps = Helps::new();
    for (path, page) in pages() {
        let lines = code(&page);
        let unknown: Vec<String> = lines.iter().flat_map(|line| unknown_options(&mut helps, line)).collect();
        assert!(unknown.is_empty(), "{}: {unknown:#?}", path.display());
    }
    for made_up in ["keyward agent invite a --rol b", "x | keyward run --capability a --envy B -- c --d"] {
        assert_eq!(unknown_options(&mut helps, made_up).len(), 1, "{made_up}");
    }
    for real in
        ["keyward agent invite a --role=b", "keyward run --capability a -- c --d", "keyward --home x whoami"]
    {
        assert_eq!(unknown_options(&mut helps, real), Vec::<String>::new());
    }
}
