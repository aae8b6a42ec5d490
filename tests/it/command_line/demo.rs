//! The demo and the broker for development.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::said;
use crate::support::process::KEYWARD;

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
    std::fs::write(&seed, "[[role]]\nname = \"seeded\"\ncapabilities = [\"reports.read\"]\n").unwrap();
    let mut command = Command::new(KEYWARD);
    command.args(["dev", "--seed"]).arg(&seed).env("TMPDIR", dir.path());
    let mut dev = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(dev.stdout.take().unwrap()).lines().map(Result::unwrap);
    let told: Vec<String> = lines.take_while(|line| line != "ready").collect();
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
    kill_process(Pid::from_raw(dev.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    assert!(dev.wait().unwrap().success());
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["seed.toml"], "nothing of it stays");
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
