//! The demo and the broker for development.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::said;
use crate::support::process::KEYWARD;
use crate::support::waiting::wait_until;

#[test]
fn the_demo_plays_to_its_end_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(KEYWARD).arg("demo").env("TMPDIR", dir.path()).output().unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    for act in [
        "init", "declare", "enrol", "mint", "use", "deny", "replay", "reuse", "restart", "ledger", "verify",
        "leaks",
    ] {
        assert!(said.contains(&format!("\u{2713} {act}")), "{act}: {said}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn dev_gives_a_broker_whose_printed_commands_work_and_takes_it_away_again() {
    let dir = tempfile::tempdir().unwrap();
    let seed = dir.path().join("seed.toml");
    // The second role belongs to an agent that exists, so the seed widens what this agent may do.
    let roles = "[[role]]\nname = \"seeded\"\ncapabilities = [\"reports.read\"]\n\
                 [[role]]\nname = \"repo-reader\"\ncapabilities = [\"github.repo.read\", \"reports.read\"]\n";
    std::fs::write(&seed, roles).unwrap();
    let (mut dev, lines) = started(&["dev", "--seed", seed.to_str().unwrap()], dir.path());
    let told: Vec<String> = lines.map(Result::unwrap).take_while(|line| line != "ready").collect();
    let script: Vec<&str> = told.iter().filter_map(|line| line.strip_prefix("  ")).collect();
    assert!(script.len() >= 8, "{told:?}");
    let bin = std::path::Path::new(KEYWARD).parent().unwrap().display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let script = format!("{}\nkeyward role list\n", script.join("\n"));
    let output = Command::new("bash").args(["-eu", "-c", &script]).env("PATH", path).output().unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    for part in
        ["spiffe://keyward.internal/agent/research-bot", "ghp_", "secret.revealed", "suspended", "seeded"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    send(&dev, Signal::INT);
    assert!(dev.wait().unwrap().success());
    assert_eq!(left_in(dir.path()), ["seed.toml"]);
}

#[test]
fn demo_and_dev_remove_their_files_when_a_signal_ends_them() {
    let dir = tempfile::tempdir().unwrap();
    for (verb, line, signal, exit) in [
        ("dev", "ready", Signal::HUP, Some(0)),
        ("demo", "init", Signal::TERM, Some(1)),
        ("demo", "mint", Signal::HUP, Some(1)),
    ] {
        // Given a temporary broker that runs
        let (mut process, mut lines) = started(&[verb], dir.path());
        lines.find(|told| told.as_ref().unwrap().contains(line)).unwrap().unwrap();
        let broker = broker_in(dir.path());
        // When the signal arrives
        send(&process, signal);
        // Then broker and files are gone
        assert_eq!(process.wait().unwrap().code(), exit, "{verb}");
        assert!(!is_running(&broker), "{verb}");
        assert_eq!(left_in(dir.path()), [""; 0], "{verb}");
    }
}

#[test]
fn broker_of_a_killed_dev_ends_and_the_next_demo_removes_its_files() {
    // Given a dev that was killed
    let dir = tempfile::tempdir().unwrap();
    let (mut dev, mut lines) = started(&["dev"], dir.path());
    lines.find(|line| line.as_ref().unwrap() == "ready").unwrap().unwrap();
    let broker = broker_in(dir.path());
    let left = left_in(dir.path()).remove(0);
    dev.kill().unwrap();
    dev.wait().unwrap();
    // Then its broker ends
    wait_until(|| !is_running(&broker));
    // When a directory of another dev, which runs, is there, too
    let (mut running, mut lines) = started(&["dev"], dir.path());
    lines.find(|line| line.as_ref().unwrap() == "ready").unwrap().unwrap();
    let [kept] = &left_in(dir.path())[..] else { panic!("{:?}", left_in(dir.path())) };
    assert_ne!(*kept, left);
    let output = Command::new(KEYWARD).arg("demo").env("TMPDIR", dir.path()).output().unwrap();
    // Then the demo leaves it alone
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(left_in(dir.path()), [kept.as_str()]);
    send(&running, Signal::TERM);
    assert!(running.wait().unwrap().success());
}

/// `keyward ARGS` with this directory for temporary files, and its output.
fn started(args: &[&str], dir: &Path) -> (Child, Lines<BufReader<ChildStdout>>) {
    // A background process of a shell ignores some of the signals that these tests send.
    let mut command = Command::new("env");
    command.args(["--default-signal", KEYWARD]).args(args).env("TMPDIR", dir).stdout(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    (process, lines)
}

fn send(process: &Child, signal: Signal) {
    kill_process(Pid::from_raw(process.id().cast_signed()).unwrap(), signal).unwrap();
}

fn left_in(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The command line of the broker below `dir`.
fn broker_in(dir: &Path) -> String {
    let is_broker = |line: &String| line.contains(" serve ") && line.contains(dir.to_str().unwrap());
    command_lines().into_iter().find(is_broker).unwrap()
}

fn is_running(line: &String) -> bool {
    command_lines().contains(line)
}

/// The command lines of all processes.
fn command_lines() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
    let lines = processes.filter_map(|path| std::fs::read(path).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).collect()
}

#[test]
fn dev_names_the_line_of_a_seed_that_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let seed = dir.path().join("seed.toml");
    for (text, code, told) in [
        ("[[role]]\nname = \"seeded\"\ncapabilites = []\n", 2, "seed.toml:"),
        ("[[role]]\nname = \"seeded\"\ncapabilities = [\"reports.raed\"]\n", 2, "reports.raed"),
    ] {
        std::fs::write(&seed, text).unwrap();
        let mut command = Command::new(KEYWARD);
        let output = command.args(["dev", "--seed"]).arg(&seed).env("TMPDIR", dir.path()).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(told) && !said.contains("bug") && !said.contains("demo_failed"), "{said}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing of it stays");
}
