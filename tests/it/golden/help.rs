//! The help of every verb, as the program prints it.

use std::process::Command;

use super::compare;
use super::verbs::verbs;
use crate::support::process::KEYWARD;

fn help_of(words: &str) -> String {
    let mut command = Command::new(KEYWARD);
    command.arg("help").args(words.split_whitespace()).env_remove("KEYWARD_HOME");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned()
}

#[test]
fn help_texts_are_the_golden_ones() {
    let mut page = String::new();
    let all = std::iter::once(String::new()).chain(verbs().into_iter().map(|verb| verb.words));
    for words in all {
        let command = format!("keyward help {words}");
        page.push_str(&format!("$ {}\n{}\n\n", command.trim_end(), help_of(&words)));
    }
    compare("help.txt", page.trim_end());
}
