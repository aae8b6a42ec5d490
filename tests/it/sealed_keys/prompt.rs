//! The prompt for the passphrase of an operator's key.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{WORDS, sealed};
use crate::support::process::{KEYWARD, Process};
use crate::support::terminal::TypedCommand;
use crate::support::waiting::wait_until;

/// What `whoami` prints at a terminal if a person types these lines, each after its own prompt.
fn typed_at_terminal(process: &Process, ahead: &str, lines: &[&str]) -> (bool, String) {
    let home = process.path("home-operator");
    let command = format!("{KEYWARD} whoami --operator --home {}", home.display());
    let prompt = "Passphrase of the operator's key: ";
    TypedCommand { command: &command, prompt, ahead, lines }.run(&process.path("begin"))
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

/// A shell script at a terminal, with a command that asks for a passphrase.
struct Script {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    said: String,
    pid: PathBuf,
}

impl Script {
    /// Runs `before`, a command that asks, and `after`, until the prompt is there.
    fn start(process: &Process, before: &str, after: &str) -> Self {
        let (home, pid) = (process.path("home-operator"), process.path("pid"));
        let (home, path) = (home.display(), pid.display());
        let asks = format!("sh -c 'echo $$ > {path}; exec {KEYWARD} whoami --operator --home {home}'");
        // A background process of a shell ignores some of the signals that these tests send.
        let mut command = Command::new("env");
        command.args([
            "--default-signal",
            "script",
            "-qec",
            &format!("{before} {asks}; {after}"),
            "/dev/null",
        ]);
        command.env("SHELL", "/bin/sh").env("NO_COLOR", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut script = Self { child, stdin, stdout, said: String::new(), pid };
        script.until_asked(1);
        script
    }

    fn until_asked(&mut self, times: usize) {
        let mut part = [0; 256];
        while self.said.matches("operator's key: ").count() < times {
            let len = self.stdout.read(&mut part).unwrap();
            assert!(len > 0, "{}", self.said);
            self.said.push_str(&String::from_utf8_lossy(&part[..len]));
        }
    }

    fn types(&mut self, text: &[u8]) {
        self.stdin.write_all(text).unwrap();
    }

    fn signal(&self, signal: Signal) {
        let pid = fs::read_to_string(&self.pid).unwrap().trim().parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// What it has printed in all, once it has ended.
    fn end(self) -> String {
        let Self { mut child, stdin, mut stdout, mut said, .. } = self;
        // A prompt that nobody answers gets the end of its input
        drop(stdin);
        stdout.read_to_string(&mut said).unwrap();
        child.wait().unwrap();
        said
    }
}

fn shows_input(said: &str) {
    for mode in ["isig", "icanon", "echo "] {
        assert!(said.contains(mode) && !said.contains(&format!("-{mode}")), "{mode}: {said}");
    }
}

#[test]
fn interrupted_prompt_leaves_a_terminal_that_shows_input() {
    let (process, _) = sealed();
    let mut script = Script::start(&process, "trap : INT;", "echo ended $?; stty -a");
    script.types(b"half a passphrase\x03");
    let said = script.end();
    assert!(said.contains("ended 130"), "{said}");
    shows_input(&said);
    // And without a trap of its own the whole script ends
    let mut script = Script::start(&process, "", "echo went on");
    script.types(b"\x03");
    let said = script.end();
    assert!(!said.contains("went on"), "{said}");
}

#[test]
fn prompt_that_a_signal_ends_leaves_a_terminal_that_shows_input() {
    let (process, _) = sealed();
    for (signal, status) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130), (Signal::QUIT, 131)]
    {
        let script = Script::start(&process, "ulimit -c 0;", "echo ended $?; stty -a");
        script.signal(signal);
        let said = script.end();
        assert!(said.contains(&format!("ended {status}")), "{said}");
        shows_input(&said);
    }
}

#[test]
fn prompt_hides_the_input_again_after_a_stop() {
    let (process, _) = sealed();
    for stop in [Signal::TSTP, Signal::STOP] {
        let mut script = Script::start(&process, "", "echo ended $?");
        script.signal(stop);
        wait_until(|| {
            let pid = fs::read_to_string(&script.pid).unwrap();
            fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap().contains(") T ")
        });
        script.signal(Signal::CONT);
        // Then it asks again
        script.until_asked(2);
        script.types(format!("{WORDS}\n").as_bytes());
        let said = script.end();
        assert!(said.contains("ended 0") && said.contains("operator/admin"), "{said}");
        assert!(!said.contains(WORDS), "{said}");
    }
}

#[test]
fn rest_of_a_pasted_text_reaches_no_other_program() {
    let (process, _) = sealed();
    let long = "x".repeat(100_000);
    for (pasted, told) in [
        (format!("{WORDS}\nsecond line\nthird line\n"), "more than one line"),
        (format!("{long}\nsecond line\n"), "larger than"),
    ] {
        // The program that comes next reads what the terminal still has
        let mut script = Script::start(&process, "", "stty -icanon min 0 time 5; echo next; cat");
        script.types(pasted.as_bytes());
        let said = script.end();
        assert!(said.contains(told) && said.contains("next"), "{said}");
        assert!(!said.contains("line\r") && !said.contains("xx") && !said.contains(WORDS), "{said}");
    }
    // A line break more is no second line
    let mut script = Script::start(&process, "", "echo ended $?");
    script.types(format!("{WORDS}\r\n").as_bytes());
    let said = script.end();
    assert!(said.contains("ended 0"), "{said}");
}

#[test]
fn prompt_has_the_terminal_mark_pasted_text() {
    let (process, _) = sealed();
    // Given a terminal that marks pasted text: the prompt asks for the marks
    let mut script = Script::start(&process, "export TERM=xterm;", "echo ended $?");
    assert!(script.said.contains("\x1b[?2004h") && !script.said.contains("\x1b[?2004l"), "{}", script.said);
    // When a passphrase is pasted, then the marks are no part of it
    script.types(format!("\x1b[200~{WORDS}\x1b[201~\n").as_bytes());
    let said = script.end();
    assert!(said.contains("ended 0") && said.contains("operator/admin"), "{said}");
    assert!(said.contains("\x1b[?2004l") && !said.contains(WORDS), "{said}");
    // And further lines are refused, and no other program gets them
    let mut script =
        Script::start(&process, "export TERM=xterm;", "stty -icanon min 0 time 5; echo next; cat");
    script.types(format!("\x1b[200~{WORDS}\nsecond line\n\x1b[201~").as_bytes());
    let said = script.end();
    assert!(said.contains("more than one line") && !said.contains("second"), "{said}");
    // And a terminal without a type, or a simple one, is asked for nothing
    for term in ["unset TERM;", "export TERM=dumb;"] {
        let script = Script::start(&process, term, "echo ended $?");
        assert!(!script.end().contains("2004"), "{term}");
    }
}
