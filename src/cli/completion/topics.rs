use std::ffi::OsString;

use clap_complete::CompletionCandidate;

use crate::base::code::Code;
use crate::cli::help::command;

/// The variable with the number of the word at the cursor.
const CURSOR: &str = "_CLAP_COMPLETE_INDEX";

/// What can follow the typed words of `keyward help`: verbs, and the topics.
pub(super) fn topics() -> Vec<CompletionCandidate> {
    let mut line: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    // fish gives only the words up to the cursor.
    let cursor = std::env::var(CURSOR).ok().and_then(|at| at.parse().ok());
    line.truncate(cursor.unwrap_or(line.len().saturating_sub(1)));
    let words = line.iter().skip_while(|word| *word != "help").skip(1);
    let words: Vec<&str> = words.filter_map(|word| word.to_str()).collect();
    after(&words).into_iter().map(CompletionCandidate::new).collect()
}

fn after(words: &[&str]) -> Vec<String> {
    if *words == ["error"] {
        return Code::all().map(|code| code.to_string()).collect();
    }
    let mut found = command();
    for word in words {
        let Some(below) = found.find_subcommand(word) else { return Vec::new() };
        found = below.clone();
    }
    let shown = found.get_subcommands().filter(|below| !below.is_hide_set());
    let mut names: Vec<String> = shown.map(|below| below.get_name().to_owned()).collect();
    if words.is_empty() {
        names.extend(["error", "exit-codes"].map(str::to_owned));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_help_follow_the_typed_words() {
        for (words, topic) in
            [(&[][..], "agent"), (&[], "exit-codes"), (&["agent"], "invite"), (&["error"], "no_identity")]
        {
            assert!(after(words).iter().any(|found| found == topic), "{words:?}");
        }
        assert!(after(&["error", "no_identity"]).is_empty() && after(&["nonsense"]).is_empty());
        assert!(!after(&[]).iter().any(|found| found == "companion"));
    }
}
