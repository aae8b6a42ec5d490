//! The runbooks, to the letter: each command of a page runs in its order.

use std::fs;

use super::{blocks, run_as};
use crate::panel::set_up;
use crate::support::process::Process;
use crate::support::waiting::wait_until;
use crate::worst_day::{answer_again, hang_with_a_mint, on_a_failing_disk, with_a_runtime_directory};
use crate::worst_hour::SmallDisk;

/// A broker with the agent `a`, which may read `github/app`.
fn served() -> Process {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process
}

fn gets(process: &Process) -> bool {
    process.run_as("a", &["get", "github/app"], b"").status.success()
}

/// The newest incident.
fn incident(process: &Process) -> String {
    process.json(&["incident", "list"])["items"][0]["incident"].as_str().unwrap().to_owned()
}

fn state(process: &Process) -> String {
    process.json(&["incident", "list"])["items"][0]["state"].as_str().unwrap().to_owned()
}

/// The blocks of a runbook. Each has its five parts.
fn runbook(page: &str, count: usize) -> Vec<String> {
    let text = fs::read_to_string(crate::readme::root().join("docs/runbooks").join(page)).unwrap();
    for part in ["## Trigger", "Contain", "Verify", "## Rollback", "## Inform"] {
        assert!(text.contains(part), "{page}: {part}");
    }
    let blocks = blocks(&format!("runbooks/{page}"));
    assert_eq!(blocks.len(), count, "{page}");
    blocks
}

#[test]
fn a_leaked_token_is_contained_by_the_runbook() {
    let process = served();
    let token = process.good_as("a", &["token", "github.repo.read", "-o", "json"], b"");
    let token: serde_json::Value = serde_json::from_slice(&token).unwrap();
    fs::write(process.path("token"), token["access_token"].as_str().unwrap()).unwrap();
    let blocks = runbook("leaked-token.md", 6);
    let id = token["token_id"].as_str().unwrap();
    let contained = run_as(&process, "operator", &blocks[0], &[]);
    assert!(!contained.contains(token["access_token"].as_str().unwrap()), "{contained}");
    let incident = incident(&process);
    let known = [("TOKEN_ID", id), ("INCIDENT", incident.as_str())];
    let shown: String =
        blocks[1..5].iter().map(|block| run_as(&process, "operator", block, &known)).collect();
    for part in [id, "token.minted", "contained", "the note is recorded"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(gets(&process), "the agent gets another token");
    run_as(&process, "operator", &blocks[5], &known);
    assert_eq!(state(&process), "closed");
}

#[test]
fn a_leaked_code_is_revoked_by_the_runbook() {
    // Given a code with two uses that another person used
    let process = served();
    let code = process.good(&["agent", "invite", "b", "--role", "repo-reader", "--uses", "2"], b"");
    process.good_as("thief", &["join"], &code);
    fs::write(process.path("code"), &code).unwrap();
    let blocks = runbook("leaked-code.md", 5);
    // When the operator follows the page
    run_as(&process, "operator", &blocks[0], &[]);
    let shown = process.json(&["agent", "show", "b"]);
    let instance = shown["instances"][0]["id"].as_str().unwrap();
    let known = [("AGENT", "b"), ("INSTANCE", instance)];
    let said: String = blocks[1..5].iter().map(|block| run_as(&process, "operator", block, &known)).collect();
    // Then the code and the instance are refused, and the agent enrols with a new code
    for part in ["enrolment-code", "instance.enrolled", instance, "revoked"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains(String::from_utf8_lossy(&code).trim()), "{said}");
    assert!(!process.run_as("b", &["join"], &code).status.success());
    assert!(!process.run_as("thief", &["whoami"], b"").status.success());
    let new = process.path("new-code").display().to_string();
    process.good_as("b", &["join", "--code-file", &new], b"");
}

#[test]
fn a_leaked_secret_is_replaced_by_the_runbook() {
    let process = served();
    assert!(gets(&process));
    let blocks = runbook("leaked-secret.md", 7);
    run_as(&process, "operator", &blocks[0], &[]);
    let incident = incident(&process);
    let known = [("NEW_VALUE", "replaced"), ("VERSION", "1"), ("INCIDENT", incident.as_str())];
    run_as(&process, "operator", &blocks[1], &known);
    assert!(!gets(&process), "the secret is contained");
    let shown: String =
        blocks[2..6].iter().map(|block| run_as(&process, "operator", block, &known)).collect();
    for part in ["destroyed", "secret.revealed", "secret.stored"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    run_as(&process, "operator", &blocks[6], &known);
    assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"replaced");
    assert_eq!(state(&process), "closed");
}

#[test]
fn a_compromised_operator_is_contained_by_the_runbook() {
    let process = served();
    let code = process.good(&["operator", "invite", "eve", "--role", "admin"], b"");
    process.good_as("eve", &["join"], &code);
    let invited = process.good_as("eve", &["agent", "invite", "b", "--role", "repo-reader"], b"");
    let blocks = runbook("operator-compromised.md", 7);
    run_as(&process, "operator", &blocks[0], &[]);
    assert!(!process.run_as("eve", &["agent", "list"], b"").status.success());
    assert!(!process.run_as("b", &["join"], &invited).status.success(), "the code is invalid");
    let incident = incident(&process);
    let known = [("INCIDENT", incident.as_str())];
    let shown: String =
        blocks[1..6].iter().map(|block| run_as(&process, "operator", block, &known)).collect();
    for part in ["agent.invited", "accepted", "evidence.zip"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    run_as(&process, "operator", &blocks[6], &known);
    let code = process.path("code").display().to_string();
    process.good_as("eve", &["join", "--replace", "--code-file", &code], b"");
    process.good_as("eve", &["agent", "list"], b"");
}

#[test]
fn a_compromised_host_is_left_by_the_runbook() {
    let process = served();
    let blocks = runbook("host-compromised.md", 8);
    run_as(&process, "operator", &blocks[0], &[]);
    assert!(!gets(&process));
    let incident = incident(&process);
    run_as(&process, "operator", &blocks[1], &[]);
    let slots = process.json(&["slot", "list", "--config", &process.config()]);
    let slot = slots["items"][0]["id"].as_str().unwrap().to_owned();
    run_as(&process, "operator", &blocks[2], &[("SLOT", &slot)]);
    let known = [("OLD", "1"), ("NEW", "2"), ("NEW_VALUE", "replaced"), ("INCIDENT", incident.as_str())];
    let shown: String =
        blocks[3..7].iter().map(|block| run_as(&process, "operator", block, &known)).collect();
    assert!(shown.contains("revoked") && shown.contains("frozen"), "{shown}");
    run_as(&process, "operator", &blocks[7], &known);
    let code = process.path("code").display().to_string();
    process.good_as("a", &["join", "--replace", "--code-file", &code], b"");
    assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"replaced");
}

#[test]
fn a_compromised_authority_is_replaced_by_the_runbook() {
    let process = served();
    let blocks = runbook("authority-compromised.md", 7);
    let renews = || drop(process.good_as("a", &["renew"], b""));
    run_as(&process, "operator", &blocks[0], &[]);
    let incident = incident(&process);
    let known = [("OLD", "1"), ("NEW", "2"), ("INCIDENT", incident.as_str())];
    run_as(&process, "operator", &blocks[1], &known);
    renews();
    process.good_as("a", &["whoami"], b"");
    run_as(&process, "operator", &blocks[2], &known);
    run_as(&process, "operator", &blocks[3], &known);
    renews();
    process.good_as("a", &["whoami"], b"");
    run_as(&process, "operator", &blocks[4], &known);
    assert!(run_as(&process, "operator", &blocks[5], &known).contains("revoked"));
    assert!(gets(&process));
    run_as(&process, "operator", &blocks[6], &known);
    assert_eq!(state(&process), "closed");
}

#[test]
fn a_compromised_token_key_is_replaced_by_the_runbook() {
    let process = served();
    let blocks = runbook("token-key-compromised.md", 3);
    let known = [("OLD", "1"), ("NEW", "2")];
    run_as(&process, "operator", &blocks[0], &known);
    assert!(run_as(&process, "operator", &blocks[1], &known).contains("revoked"));
    assert!(gets(&process));
    let incident = incident(&process);
    run_as(&process, "operator", &blocks[2], &[("INCIDENT", &incident)]);
    assert_eq!(state(&process), "closed");
}

#[test]
fn a_wrong_clock_is_accepted_or_set_right_by_the_runbook() {
    let mut process = Process::init("warn");
    process.configure("[clock]\nsynchronised_by = \"none\"\n");
    process.broker_environment = process.clock_in("clock");
    process.serve();
    process.set_up(b"value");
    process.enrol("research-bot", "repo-reader");
    let blocks = runbook("wrong-clock.md", 5);
    // Given a system clock that is an hour behind: no certificate of the operator is valid by it
    process.set_clock("clock", -3600);
    wait_until(|| run_as(&process, "operator", &blocks[0], &[]).contains("clock_disagrees"));
    let refused = process.run_as("operator", &["contain", "agent/research-bot", "--reason", "a test"], b"");
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("keyward break-glass contain SUBJECT"), "{told}");
    // Then root on the host contains all the same
    assert!(run_as(&process, "operator", &blocks[1], &[]).contains("contained"));
    process.set_clock("clock", 0);
    wait_until(|| process.run_as("operator", &["incident", "list"], b"").status.success());
    assert_eq!(state(&process), "contained");
    process.good(&["lift", &incident(&process), "--reason", "a test"], b"");
    wait_until(|| gets(&process));
    // And one that was wrong for an hour ahead, and is right again
    process.set_clock("clock", 3600);
    wait_until(|| run_as(&process, "operator", &blocks[0], &[]).contains("clock_disagrees"));
    assert!(!gets(&process));
    process.set_clock("clock", 0);
    wait_until(|| gets(&process));
    let informed = run_as(&process, "operator", &blocks[4], &[]);
    assert!(informed.contains("issuance.refused"), "{informed}");
    // And one that is an hour ahead, and is right
    process.set_clock("clock", 3600);
    wait_until(|| run_as(&process, "operator", &blocks[0], &[]).contains("clock_disagrees"));
    run_as(&process, "operator", &blocks[2], &[]);
    wait_until(|| gets(&process));
    let shown = run_as(&process, "operator", &blocks[3], &[]);
    assert!(shown.contains("clock.adjusted") && !shown.contains("clock_disagrees"), "{shown}");
}

/// A broker with agents `p`, `q` and `research-bot`, and a runtime directory.
fn served_with_a_runtime_directory() -> (tempfile::TempDir, Process) {
    let process = set_up();
    let code = process.good(&["agent", "invite", "research-bot", "--role", "publisher"], b"");
    process.good_as("research-bot", &["join"], &code);
    with_a_runtime_directory(process)
}

fn is_refused(process: &Process) -> bool {
    process.run_as("research-bot", &["whoami"], b"").status.code() == Some(4)
}

#[test]
fn on_a_full_disk_the_runbook_contains_and_makes_space() {
    let (_elsewhere, mut process) = served_with_a_runtime_directory();
    process.stop();
    let disk = SmallDisk::under(&mut process);
    process.serve();
    crate::readiness::fill(&disk.path(&process, "rest"));
    wait_until(|| process.run_as("q", &["token", "reports.read"], b"").status.code() == Some(10));
    let blocks = runbook("full-disk.md", 4);
    assert!(run_as(&process, "operator", &blocks[0], &[]).contains("ledger_no_space"));
    // When it contains, then this is durable in the reserve
    assert!(run_as(&process, "operator", &blocks[1], &[]).contains("contained in ledger entry"));
    assert!(is_refused(&process));
    let incident = incident(&process);
    // When there is space again, then the broker continues by itself
    for filled in ["fill", "rest"] {
        fs::remove_file(disk.path(&process, filled)).unwrap();
    }
    wait_until(|| process.run_as("q", &["token", "reports.read"], b"").status.success());
    assert!(run_as(&process, "operator", &blocks[2], &[]).contains("token.minted"));
    run_as(&process, "operator", &blocks[3], &[("INCIDENT", &incident)]);
    assert_eq!(state(&process), "lifted");
    process.stop();
}

#[test]
fn on_a_hanging_disk_the_runbook_contains_in_memory() {
    let (_elsewhere, process) = served_with_a_runtime_directory();
    let process = on_a_failing_disk(process);
    let mut minting = hang_with_a_mint(&process, "q");
    let blocks = runbook("hanging-disk.md", 4);
    run_as(&process, "operator", &blocks[0], &[]);
    assert!(is_refused(&process));
    assert!(run_as(&process, "operator", &blocks[1], &[]).contains("unrecorded"));
    answer_again(&process);
    minting.wait().unwrap();
    wait_until(|| state(&process) == "contained");
    assert!(run_as(&process, "operator", &blocks[2], &[]).contains("contained"));
    let incident = incident(&process);
    run_as(&process, "operator", &blocks[3], &[("INCIDENT", &incident)]);
    assert_eq!(state(&process), "lifted");
}
