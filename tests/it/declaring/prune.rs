//! `keyward apply --prune` asks before it removes, and removes no more than it showed.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::support::process::{KEYWARD, Process};

const FILE: &str = "[[role]]\nname = \"repo-reader\"\ncapabilities = []\n";

fn scene() -> Process {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    std::fs::write(process.path("one.toml"), FILE).unwrap();
    process
}

fn one(process: &Process) -> String {
    process.path("one.toml").display().to_string()
}

/// Runs `keyward` with a terminal as its standard input, output and error, and types `answer`.
pub(super) fn at_a_terminal(process: &Process, args: &[&str], answer: &str) -> Output {
    let home = process.path("home-operator").display().to_string();
    let words: Vec<String> =
        [&[KEYWARD], args, &["--home", &home]].concat().iter().map(|word| format!("'{word}'")).collect();
    let mut terminal = Command::new("script")
        .args(["-qec", &words.join(" "), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("`script` of util-linux is needed");
    terminal.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
    terminal.wait_with_output().unwrap()
}

#[test]
fn prune_without_a_terminal_needs_a_confirmation() {
    let process = scene();
    let file = one(&process);
    // When nothing confirms it, then nothing is changed
    let refused = process.run_as("operator", &["apply", "--prune", "-f", &file], b"");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{why}");
    assert!(why.contains("`--prune`") && why.contains("--yes"), "{why}");
    assert_eq!(process.json(&["agent", "show", "a"])["name"], "a");
    // When `--yes` does, then the objects go
    let applied = String::from_utf8(process.good(&["apply", "--prune", "--yes", "-f", &file], b"")).unwrap();
    assert!(applied.contains("- agent a"), "{applied}");
    assert_eq!(process.run_as("operator", &["agent", "show", "a"], b"").status.code(), Some(7));
}

#[test]
fn a_plan_that_was_read_confirms_exactly_itself() {
    let process = scene();
    let file = one(&process);
    let planned = process.json(&["plan", "--prune", "-f", &file]);
    let id = planned["plan"].as_str().unwrap();
    process.enrol("late", "publisher");
    let refused = process.run_as("operator", &["apply", "--prune", "-f", &file, "--plan", id], b"");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(8), "{why}");
    assert!(why.contains("plan_outdated"), "{why}");
    let planned = process.run_as("operator", &["plan", "--prune", "-f", &file], b"");
    let said = String::from_utf8_lossy(&planned.stdout).into_owned();
    let said = said.lines().last().unwrap();
    let id = said.split("--plan ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    process.good(&["apply", "--prune", "-f", &file, "--plan", &id], b"");
    assert_eq!(process.run_as("operator", &["agent", "show", "late"], b"").status.code(), Some(7));
}

#[test]
fn prune_at_a_terminal_shows_the_plan_and_asks() {
    let process = scene();
    let file = one(&process);
    let args = ["apply", "--prune", "-f", &file];
    // When the answer is no, then nothing is changed
    let asked = at_a_terminal(&process, &args, "n\n");
    let shown = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert_eq!(asked.status.code(), Some(1), "{shown}");
    for part in [
        "- agent a",
        "a (removed)  1 live instance, 0 tokens, 0 leases",
        "to remove)? [y/N]",
        "not_confirmed",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(process.json(&["agent", "show", "a"])["name"], "a");
    // When further lines follow it, then it does not count, and nothing is changed
    let asked = at_a_terminal(&process, &args, "y\nsecond line\n");
    let shown = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(asked.status.code() == Some(2) && shown.contains("more than one line"), "{shown}");
    assert_eq!(process.json(&["agent", "show", "a"])["name"], "a");
    // When it is yes, then the plan is applied
    let asked = at_a_terminal(&process, &args, "y\n");
    let shown = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(asked.status.success() && shown.contains("applied in ledger entry"), "{shown}");
    assert_eq!(process.run_as("operator", &["agent", "show", "a"], b"").status.code(), Some(7));
}

#[test]
fn rotation_in_its_grace_period_is_pruned_after_the_advised_command() {
    let mut process = Process::init("warn");
    process.serve();
    let file = one(&process);
    std::fs::write(&file, "[[rotation]]\nsecret = \"a/b\"\nupstream = { driver = \"generate\" }\n").unwrap();
    process.good(&["apply", "-f", &file], b"");
    // Given a second value, beside which the first one still works
    let is_first_made =
        |_: &u32| process.run_as("operator", &["secret", "show", "a/b"], b"").status.code() == Some(0);
    assert!((0..600).find(is_first_made).is_some(), "there is no first value");
    process.good(&["secret", "rotate", "a/b"], b"");
    std::fs::write(&file, "# nothing\n").unwrap();
    // When the rotation is to be removed, then the refusal names a command
    let prune = ["apply", "--prune", "--yes", "-f", &file];
    let refused = process.run_as("operator", &prune, b"");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("error: rotation_in_grace_period"), "{why}");
    // And after this command, the rotation can be removed
    let advised = why.split("fix: ").nth(1).unwrap().split('`').nth(1).unwrap().to_owned();
    let words: Vec<&str> = advised.split(' ').skip(1).collect();
    process.good(&words, b"");
    let is_over = |_: &u32| process.json(&["rotation", "show", "a/b"])["run"].is_null();
    assert!((0..600).find(is_over).is_some(), "the grace period does not end");
    let pruned = process.run_as("operator", &prune, b"");
    let said = String::from_utf8_lossy(&pruned.stderr).into_owned();
    assert!(pruned.status.success(), "{said}");
    assert!(said.contains("declares nothing, so `--prune` removes every declared object"), "{said}");
}

#[test]
fn plan_in_a_file_ends_with_its_id_after_the_checks() {
    let process = scene();
    let file = one(&process);
    let lease = "[[capability]]\nname = \"a.b\"\naccess = \"read\"\ndelivery = \"lease\"\nmax_life_s = 600\n\
                 [[lease]]\ncapability = \"a.b\"\n[lease.upstream]\ndriver = \"postgresql-dynamic\"\nhost = \"127.0.0.1\"\n\
                 port = 1\ntls = \"off\"\ndatabase = \"d\"\nmember_of = [\"m\"]\nadmin_role = \"k\"\nadmin_secret = \"github/app\"\n";
    std::fs::write(&file, lease).unwrap();
    let check = ["plan", "--check", "-f", &file];
    let checked = process.run_as("operator", &check, b"");
    let (planned, why) =
        (String::from_utf8(checked.stdout).unwrap(), String::from_utf8(checked.stderr).unwrap());
    assert!(planned.contains("FAIL a.b connection: "), "{planned}");
    assert!(why.contains("upstream_check_failed") && why.contains("1 of 1 checks failed"), "{why}");
    let command = planned.lines().last().unwrap().split_once(": ").unwrap().1;
    let json = process.run_as("operator", &[&check[..], &["-o", "json"]].concat(), b"");
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&json["not_checked"], &json["lease_checks"][0]["capability"]),
        (&serde_json::json!([]), &"a.b".into())
    );
    assert!(command.ends_with(json["plan"].as_str().unwrap()), "{command}");
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    process.good(&words, b"");
    // And what is applied already is checked too
    let again = process.run_as("operator", &check, b"");
    let said = String::from_utf8(again.stdout).unwrap();
    assert!(said.contains("unchanged: lease a.b") && said.contains("FAIL a.b connection: "), "{said}");
}
