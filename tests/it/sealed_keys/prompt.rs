//! The prompt for the passphrase of an operator's key.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use super::{WORDS, sealed};
use crate::support::process::{KEYWARD, Process};

/// What a command at a terminal prints if a person types these lines, each after its own prompt. `ahead` is typed, and
/// shown by the terminal, before the command begins.
fn typed_at_terminal(process: &Process, ahead: &str, lines: &[&str]) -> (bool, String) {
    const PROMPT: &str = "Passphrase of the operator's key: ";
    let (home, begin) = (process.path("home-operator"), process.path("begin"));
    drop(fs::remove_file(&begin));
    let line = format!(
        "until [ -e {} ]; do sleep 0.02; done; exec {KEYWARD} whoami --operator --home {}",
        begin.display(),
        home.display()
    );
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env("SHELL", "/bin/sh").env("NO_COLOR", "1");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut said, mut part) = (String::new(), [0; 256]);
    let mut read_until = |said: &mut String, is_there: &dyn Fn(&str) -> bool| {
        while !is_there(said) {
            let len = stdout.read(&mut part).unwrap();
            if len == 0 {
                return;
            }
            said.push_str(&String::from_utf8_lossy(&part[..len]));
        }
    };
    stdin.write_all(ahead.as_bytes()).unwrap();
    read_until(&mut said, &|said| said.contains(ahead.trim_end()));
    fs::write(&begin, "").unwrap();
    for (at, line) in lines.iter().enumerate() {
        read_until(&mut said, &|said| said.matches(PROMPT).count() > at);
        writeln!(stdin, "{line}").unwrap();
    }
    read_until(&mut said, &|_| false);
    (child.wait().unwrap().success(), said)
}

#[test]
fn passphrase_is_asked_at_the_terminal_up_to_three_times() {
    let (process, _) = sealed();
    // Given words that were typed before the prompt: they are no try. When the third try is right
    let (is_done, said) = typed_at_terminal(&process, "ahead\n", &["a guess", "a guess", WORDS]);
    // Then the command says how many tries are left, and shows no passphrase
    assert!(is_done && said.contains("operator/admin"), "{said}");
    assert_eq!(said.matches("Passphrase of the operator's key: ").count(), 3, "{said}");
    for told in ["wrong passphrase, 2 tries left", "wrong passphrase, 1 try left"] {
        assert_eq!(said.matches(told).count(), 1, "{said}");
    }
    assert!(!said.contains("guess") && !said.contains(WORDS), "{said}");
    // And after three wrong tries it fails.
    let (is_done, said) = typed_at_terminal(&process, "ahead\n", &["a guess"; 3]);
    assert!(!is_done && said.contains("key_passphrase_wrong") && !said.contains("guess"), "{said}");
}

#[test]
fn interrupted_prompt_leaves_a_terminal_that_shows_input() {
    let (process, _) = sealed();
    let home = process.path("home-operator").display().to_string();
    let line = format!("{KEYWARD} whoami --operator --home {home}; echo ended $?; stty -a");
    let mut command = Command::new("script");
    command.args(["-qec", &format!("trap : INT; {line}"), "/dev/null"]).env("SHELL", "/bin/sh");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut said, mut part) = (String::new(), [0; 256]);
    let stdout = child.stdout.as_mut().unwrap();
    while !said.contains("operator's key: ") {
        let len = stdout.read(&mut part).unwrap();
        assert!(len > 0, "{said}");
        said.push_str(&String::from_utf8_lossy(&part[..len]));
    }
    child.stdin.take().unwrap().write_all(b"half a passphrase\x03").unwrap();
    stdout.read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    assert!(said.contains("ended 130"), "{said}");
    for mode in ["isig", "icanon", "echo "] {
        assert!(said.contains(mode) && !said.contains(&format!("-{mode}")), "{mode}: {said}");
    }
}
