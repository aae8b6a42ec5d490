//! Verbs that people try, and the verbs that are meant.

use clap::Command;

/// Guesses below a noun, or alone (the noun is empty), and the verb for them.
const GUESSES: &[(&str, &[&str], &str)] = &[
    ("", &["enrol", "enroll", "login", "register"], "join"),
    ("", &["events", "history", "log", "logs"], "audit list"),
    ("", &["daemon", "server", "start"], "serve"),
    ("", &["put", "set", "store"], "secret put"),
    ("", &["cat", "read", "reveal"], "get"),
    ("", &["exec"], "run"),
    ("", &["codes", "enrolment-code"], "code revoke"),
    ("agent", &["end-code", "revoke-code"], "code revoke"),
    ("operator", &["end-code", "revoke-code"], "code revoke"),
    ("code", &["delete", "end", "expire", "remove"], "code revoke"),
    ("agent", &["add", "create", "enrol", "enroll", "new", "register"], "agent invite"),
    ("operator", &["add", "create", "enrol", "enroll", "new", "register"], "operator invite"),
    ("secret", &["cat", "get", "read", "reveal", "value"], "get"),
    ("secret", &["add", "create", "new", "set", "store", "update", "write"], "secret put"),
    ("lease", &["create", "issue", "new", "request"], "lease get"),
    ("capability", &["add", "create", "delete", "new", "put", "remove", "rm", "set"], "apply"),
    ("role", &["add", "create", "delete", "new", "put", "remove", "rm", "set"], "apply"),
    ("incident", &["create", "new", "start"], "incident open"),
    ("incident", &["contain"], "contain"),
    ("incident", &["lift", "resolve"], "lift"),
    ("token", &["decode", "describe", "info", "inspect", "verify", "view"], "token show"),
    ("token", &["delete", "disable", "remove", "rm"], "token revoke"),
    ("token", &["all", "list", "ls"], "audit list"),
    ("token", &["create", "get", "issue", "mint", "new"], "token"),
    ("audit", &["log", "logs", "search"], "audit list"),
    ("audit", &["follow", "watch"], "audit tail"),
];

/// Guesses below any noun, and the verbs of which the noun has at most one.
const GUESSES_OF_NOUNS: &[(&[&str], &str)] = &[
    (&["all", "ls"], "list"),
    (&["describe", "get", "info", "inspect", "view"], "show"),
    (&["del", "destroy", "remove", "rm"], "delete"),
    (&["block", "disable", "lock"], "suspend"),
    (&["enable", "unblock", "unlock"], "resume"),
];

/// The words of the verb that a person means by `given` below the verb `noun`, and its help.
pub(super) fn meant_verb(root: &Command, noun: &str, given: &str) -> Option<(String, String)> {
    let named = |(of, given_for, _): &&(&str, &[&str], &str)| *of == noun && given_for.contains(&given);
    let of_noun = |(given_for, _): &&(&[&str], &str)| given_for.contains(&given);
    let words = match GUESSES.iter().find(named) {
        Some((_, _, words)) => (*words).to_owned(),
        None if noun.is_empty() => format!("{} list", given.strip_suffix('s')?),
        None => format!("{noun} {}", GUESSES_OF_NOUNS.iter().find(of_noun)?.1),
    };
    let help = find(root, &words)?.get_about().map(ToString::to_string);
    Some((words, help.unwrap_or_default()))
}

/// The verb of these words.
fn find<'a>(root: &'a Command, words: &str) -> Option<&'a Command> {
    words.split(' ').try_fold(root, |found, word| found.find_subcommand(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::help::command;

    #[test]
    fn each_guess_leads_to_a_verb_that_exists() {
        let root = command();
        for (noun, given, words) in GUESSES {
            let below = if noun.is_empty() { Some(&root) } else { find(&root, noun) }.unwrap();
            for guess in *given {
                assert!(below.find_subcommand(guess).is_none(), "`{noun} {guess}` exists");
                assert_eq!(meant_verb(&root, noun, guess).unwrap().0, *words);
            }
        }
        for (given, verb) in GUESSES_OF_NOUNS {
            let has = |noun: &&Command| noun.find_subcommand(verb).is_some();
            assert!(root.get_subcommands().any(|noun| has(&noun)), "no noun has `{verb}`");
            assert!(given.iter().all(|guess| guess != verb));
        }
    }

    #[test]
    fn a_guess_without_a_verb_leads_nowhere() {
        let root = command();
        let meant = |noun, given| meant_verb(&root, noun, given).map(|(words, _)| words);
        assert_eq!(meant("agent", "rm").as_deref(), Some("agent delete"));
        assert_eq!(meant("", "agents").as_deref(), Some("agent list"));
        for (noun, given) in [("", "reset"), ("", "nonsenses"), ("role", "block"), ("agent", "reset")] {
            assert_eq!(meant(noun, given), None, "{noun} {given}");
        }
    }
}
