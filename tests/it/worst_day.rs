//! The disk has failed, and an operator has to revoke an agent.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use keyward::base::Stopwatch;
use serde_json::Value;

use crate::panel::held;
use crate::panel::set_up;
use crate::support::process::Process;
use crate::support::waiting::wait_until;

/// The same broker again, on a disk whose syncs fail from the moment that [`fail`] is called.
pub(crate) fn on_a_failing_disk(mut process: Process) -> Process {
    let root = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let shim = process.path("fault.so").display().to_string();
    let source = root.join("tests/it/support/fault.c");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o", &shim]).arg(source).arg("-ldl").status();
    assert!(made.expect("a C compiler is needed").success());
    process.stop();
    process.environment.push(("LD_PRELOAD".to_owned(), shim));
    for (name, file) in [
        ("KEYWARD_TEST_FAULT", "fault"),
        ("KEYWARD_TEST_STALL", "stall"),
        ("KEYWARD_TEST_READ_ONLY", "read-only"),
    ] {
        process.environment.push((name.to_owned(), process.path(file).display().to_string()));
    }
    process.serve();
    process
}

fn fail(process: &Process) {
    std::fs::write(process.path("fault"), "").unwrap();
}

pub(crate) fn introspect(process: &Process, token: &str) -> String {
    let address = std::fs::read_to_string(process.path("home-reports/agent/address")).unwrap();
    let output = Command::new("curl")
        .args(["-sS", "--cacert", &held(process, "reports", "authority")])
        .args(["--cert", &held(process, "reports", "certificate"), "--key", &held(process, "reports", "key")])
        .args(["-d", &format!("token={token}"), &format!("https://{}/oauth/introspect", address.trim())])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Hazard STO-04.
#[test]
fn a_revocation_with_a_failed_ledger_acts_and_says_it_is_not_durable() {
    let mut process = on_a_failing_disk(set_up());
    let token = String::from_utf8(process.good_as("p", &["token", "reports.read"], b"")).unwrap();
    let token = token.trim();
    assert!(introspect(&process, token).contains("\"active\":true"));
    fail(&process);
    let refused = process.run_as("q", &["token", "reports.read"], b"");
    assert_eq!(refused.status.code(), Some(10), "nothing is issued without a record");

    let revoked = process.run_as("operator", &["agent", "revoke", "p"], b"");
    let said = String::from_utf8_lossy(&revoked.stderr).into_owned();
    assert_eq!(revoked.status.code(), Some(12), "{said}");
    assert!(said.contains("not_durable") && said.contains("a restart forgets the change"), "{said}");
    assert_eq!(introspect(&process, token), "{\"active\":false}");
    assert_eq!(process.run_as("p", &["whoami"], b"").status.code(), Some(4), "at the very next request");
    process.good_as("q", &["whoami"], b"");
    let json = process.run_as("operator", &["agent", "suspend", "q", "-o", "json"], b"");
    let answer: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((json.status.code(), &answer["durable"], answer.get("seq")), (Some(12), &false.into(), None));
    assert_eq!(process.run_as("q", &["whoami"], b"").status.code(), Some(4));
    let resumed = process.run_as("operator", &["agent", "resume", "q"], b"");
    assert_eq!(resumed.status.code(), Some(10), "nothing is given back without a record");

    // The disk is mended, and the broker started again: what was not recorded is said once more.
    std::fs::remove_file(process.path("fault")).unwrap();
    process.kill();
    process.serve();
    process.good_as("p", &["whoami"], b"");
    process.good(&["agent", "revoke", "p"], b"");
    assert_eq!(process.run_as("p", &["whoami"], b"").status.code(), Some(4));
    process.good_as("q", &["whoami"], b"");
}

#[test]
fn a_disk_that_hangs_keeps_nobody_waiting_who_needs_no_record() {
    let process = on_a_failing_disk(set_up());
    let token = String::from_utf8(process.good_as("p", &["token", "reports.read"], b"")).unwrap();
    hang(&process);
    let mut minting = process.command("q", &["token", "reports.read"]);
    let minting = minting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Reads of memory answer while the mint waits for its record.
    assert!(introspect(&process, token.trim()).contains("\"active\":true"));
    process.good_as("p", &["whoami"], b"");
    process.good(&["agent", "list"], b"");
    std::fs::remove_file(process.path("stall")).unwrap();
    let minted = minting.wait_with_output().unwrap();
    assert!(minted.status.success(), "{}", String::from_utf8_lossy(&minted.stderr));
    assert_eq!(String::from_utf8(minted.stdout).unwrap().trim().split('.').count(), 3);
}

/// The disk hangs from here on. What an earlier hang noted is forgotten: [`wait_for_the_hang`] waits for this one.
pub(crate) fn hang(process: &Process) {
    drop(std::fs::remove_file(process.path("stall.reached")));
    std::fs::write(process.path("stall"), "").unwrap();
}

/// Until a group commit of the ledger hangs.
pub(crate) fn wait_for_the_hang(process: &Process) {
    wait_until(|| process.path("stall.reached").exists());
}

/// The ledger's disk hangs from here on, with a mint of the agent `who` in the group commit that hangs.
pub(crate) fn hang_with_a_mint(process: &Process, who: &str) -> Child {
    hang(process);
    let mut minting = process.command(who, &["token", "reports.read"]);
    let minting = minting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_the_hang(process);
    minting
}

pub(crate) fn answer_again(process: &Process) {
    std::fs::remove_file(process.path("stall")).unwrap();
}

/// What operators and the host revoked, suspended and resumed, as the ledger says it.
pub(crate) fn recorded(process: &Process) -> Vec<(String, String)> {
    let audit = process.json(&["audit", "list", "--oldest-first", "--limit", "500"]);
    let items = audit["items"].as_array().unwrap().iter();
    let changes = items.filter_map(|item| {
        let action = match item["kind"].as_str().unwrap() {
            "subject.revoked" => "revoke",
            "subject.suspended" => "suspend",
            "subject.resumed" => "resume",
            _ => return None,
        };
        let event = &item["event"];
        let agent = event["subject"]["name"].as_str().or_else(|| event["agent"].as_str()).unwrap();
        Some((action.to_owned(), agent.to_owned()))
    });
    changes.collect()
}

pub(crate) fn pair(action: &str, agent: &str) -> (String, String) {
    (action.to_owned(), agent.to_owned())
}

#[test]
fn a_revocation_takes_effect_while_the_disk_hangs_and_is_recorded_later() {
    let mut process = on_a_failing_disk(set_up());
    let token = String::from_utf8(process.good_as("p", &["token", "reports.read"], b"")).unwrap();
    let minting = hang_with_a_mint(&process, "p");

    let asked = Stopwatch::start();
    let revoked = process.run_as("operator", &["agent", "revoke", "p"], b"");
    let said = String::from_utf8_lossy(&revoked.stderr).into_owned();
    assert_eq!(revoked.status.code(), Some(12), "{said}");
    assert!(said.contains("not_durable") && asked.elapsed() < Duration::from_secs(5), "{said}");
    assert_eq!(introspect(&process, token.trim()), "{\"active\":false}");
    assert_eq!(process.run_as("p", &["whoami"], b"").status.code(), Some(4), "at the very next request");
    let suspended = process.run_as("operator", &["agent", "suspend", "q", "-o", "json"], b"");
    let answer: Value = serde_json::from_slice(&suspended.stdout).unwrap();
    assert_eq!((suspended.status.code(), &answer["durable"]), (Some(12), &false.into()));
    let resumed = process.run_as("operator", &["agent", "resume", "q"], b"");
    let said = String::from_utf8_lossy(&resumed.stderr).into_owned();
    assert!(resumed.status.code() == Some(10) && said.contains("revocation_unrecorded"), "{said}");

    answer_again(&process);
    let minted = minting.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&minted.stderr).into_owned();
    // Refused, or its connection was cut before that.
    assert!([Some(4), Some(10)].contains(&minted.status.code()) && minted.stdout.is_empty(), "{said}");
    wait_until(|| recorded(&process).len() == 2);
    assert_eq!(recorded(&process), [pair("revoke", "p"), pair("suspend", "q")], "by itself");
    assert_eq!(process.run_as("p", &["whoami"], b"").status.code(), Some(4));
    process.good(&["agent", "resume", "q"], b"");
    process.good_as("q", &["whoami"], b"");
    process.kill();
    process.serve();
    assert_eq!(process.run_as("p", &["whoami"], b"").status.code(), Some(4), "a start knows it");
    process.good_as("q", &["whoami"], b"");
}

#[test]
fn a_value_in_the_hanging_commit_is_withheld_when_its_token_is_revoked() {
    let process = on_a_failing_disk(set_up());
    let token = String::from_utf8(process.good_as("a", &["token", "github.repo.read"], b"")).unwrap();
    let claims = keyward::base::encoding::from_base64url(token.trim().split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let address = std::fs::read_to_string(process.path("home-a/agent/address")).unwrap();
    hang(&process);
    let reading = Command::new("curl")
        .args(["-sS", "--cacert", &held(&process, "a", "authority")])
        .args(["--cert", &held(&process, "a", "certificate"), "--key", &held(&process, "a", "key")])
        .args(["-H", &format!("Authorization: Bearer {}", token.trim())])
        .arg(format!("https://{}/v1/secrets/github/app", address.trim()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_the_hang(&process);
    let id = claims["jti"].as_str().unwrap();
    assert_eq!(process.run_as("operator", &["token", "revoke", id], b"").status.code(), Some(12));
    answer_again(&process);
    let answer = reading.wait_with_output().unwrap().stdout;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("token_revoked"), "its entry is durable, and its connection is open: {answer}");
}

#[test]
fn a_hanging_disk_withholds_nothing_from_agents_that_nobody_revoked() {
    let process = on_a_failing_disk(set_up());
    let minting = hang_with_a_mint(&process, "q");
    assert_eq!(process.run_as("operator", &["agent", "revoke", "p"], b"").status.code(), Some(12));
    answer_again(&process);
    let minted = minting.wait_with_output().unwrap();
    assert!(minted.status.success(), "{}", String::from_utf8_lossy(&minted.stderr));
}

/// A broker that was killed while an order to revoke `p` was in force in memory alone, and kept.
pub(crate) fn killed_with_a_kept_order() -> (tempfile::TempDir, Process) {
    let (elsewhere, process) = with_a_runtime_directory(set_up());
    let mut process = on_a_failing_disk(process);
    let mut minting = hang_with_a_mint(&process, "q");
    let config = process.config();
    let revoke = ["break-glass", "revoke", "agent", "p", "--config", &config, "-o", "json"];
    let revoked = process.run_as("host", &revoke, b"");
    let answer: Value = serde_json::from_slice(&revoked.stdout).unwrap();
    assert_eq!((revoked.status.code(), &answer["durable"]), (Some(12), &false.into()));
    assert_eq!(answer["kept"], true, "{}", process.log());
    process.kill();
    minting.wait().unwrap();
    answer_again(&process);
    (elsewhere, process)
}

#[test]
fn an_order_in_the_runtime_directory_survives_a_kill_while_the_disk_hangs() {
    let (elsewhere, mut process) = killed_with_a_kept_order();
    let orders = kept_by(&elsewhere, "orders");
    assert!(std::fs::read_to_string(&orders).unwrap().contains("revoke-agent"));
    process.serve();
    assert_eq!(process.run_as("p", &["whoami"], b"").status.code(), Some(4), "before anybody was served");
    assert_eq!(recorded(&process), [pair("revoke", "p")]);
    assert!(!orders.exists(), "the ledger has it");
    process.good_as("q", &["whoami"], b"");
}

/// A file of the only broker that keeps anything in this runtime directory.
pub(crate) fn kept_by(elsewhere: &tempfile::TempDir, file: &str) -> std::path::PathBuf {
    let places: Vec<_> =
        std::fs::read_dir(elsewhere.path()).unwrap().map(|one| one.unwrap().path()).collect();
    assert_eq!(places.len(), 1, "{places:?}");
    places[0].join(file)
}

/// The same broker with a runtime directory on another file system than that of the data directory, which is in
/// memory where there is room.
pub(crate) fn with_a_runtime_directory(process: Process) -> (tempfile::TempDir, Process) {
    let is_in_memory = std::env::temp_dir().starts_with("/dev/shm");
    let other = if is_in_memory { env!("CARGO_TARGET_TMPDIR") } else { "/dev/shm" };
    let elsewhere = tempfile::tempdir_in(other).unwrap();
    std::fs::set_permissions(elsewhere.path(), Permissions::from_mode(0o700)).unwrap();
    let text = std::fs::read_to_string(process.config()).unwrap();
    let setting = format!("runtime_dir = \"{}\"\n{text}", elsewhere.path().display());
    std::fs::write(process.config(), setting).unwrap();
    (elsewhere, process)
}

#[test]
fn a_read_only_disk_is_named_at_the_start_and_nothing_is_changed() {
    let mut process = on_a_failing_disk(set_up());
    process.good_as("p", &["token", "reports.read"], b"");
    process.stop();
    let ledger = || {
        let all = crate::support::process::files(&process.path("data/ledger"));
        all.into_iter().map(|path| (std::fs::read(&path).unwrap(), path)).collect::<Vec<_>>()
    };
    let before = ledger();
    std::fs::write(process.path("read-only"), process.path("data").display().to_string()).unwrap();
    let (exit, said) = process.refused_serve();
    assert!(exit.is_some_and(|exit| exit != 0) && said.contains("fix:"), "{exit:?}: {said}");
    assert!(said.contains("read-only"), "the reason is named: {said}");
    assert!(ledger() == before);
    std::fs::remove_file(process.path("read-only")).unwrap();
    process.serve();
    process.good_as("p", &["token", "reports.read"], b"");
}
