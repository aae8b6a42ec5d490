//! Progress of long work: on a terminal only.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::rotation::LOOPBACK;
use crate::support::process::{KEYWARD, Process};
use crate::support::webhook::{ADMIN_TOKEN, Mood, Webhook};

#[test]
fn a_long_wait_is_shown_on_a_terminal_and_not_in_a_pipe() {
    // Given a service that answers when it is let go
    let service = Webhook::start("the-first-key");
    let mut process = Process::init("warn");
    process.configure(LOOPBACK);
    process.serve();
    process.good(&["secret", "put", "billing/key"], b"the-first-key");
    process.good(&["secret", "put", "billing/admin"], ADMIN_TOKEN.as_bytes());
    let declared =
        format!("[[rotation]]\nsecret = \"billing/key\"\n[rotation.upstream]\n{}", service.applying());
    std::fs::write(process.path("billing.toml"), declared).unwrap();
    process.good(&["apply", "-f", &process.path("billing.toml").display().to_string()], b"");
    service.next("PUT", &[Mood::Waits(500)]);
    // When an operator rotates at a terminal and from a program
    let home = process.path("home-operator").display().to_string();
    let line = format!("exec {KEYWARD} secret rotate billing/key --home {home}");
    let mut terminal = Command::new("script");
    terminal
        .args(["-qec", &line, "/dev/null"])
        .env("SHELL", "/bin/sh")
        .env("TERM", "xterm")
        .env_remove("NO_COLOR");
    terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut shown = terminal.spawn().expect("bsdutils is needed: run scripts/test");
    let mut piped = process.command("operator", &["secret", "rotate", "billing/key"]);
    let piped = piped.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Then the terminal shows the wait
    let (mut printed, mut part) = (String::new(), [0_u8; 256]);
    let mut stdout = shown.stdout.take().unwrap();
    while !printed.contains("waiting for the new version (") {
        let len = stdout.read(&mut part).unwrap();
        assert!(len > 0, "it ended: {printed}");
        printed.push_str(&String::from_utf8_lossy(&part[..len]));
    }
    // And the pipe, which waited as long, has only its messages.
    service.let_go();
    let output = piped.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("waiting for the new version") && !said.contains('\u{1b}'), "{said}");
    drop(shown.stdin.take());
    shown.wait().unwrap();
}
