//! The worst day: the disk has failed, and somebody has to be stopped all the same.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::panel::held;
use crate::panel::set_up;
use crate::support::process::Process;

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

fn introspect(process: &Process, token: &str) -> String {
    let address = std::fs::read_to_string(process.path("home-reports/agent/address")).unwrap();
    let output = Command::new("curl")
        .args(["-sS", "--cacert", &held(process, "reports", "authority")])
        .args(["--cert", &held(process, "reports", "certificate"), "--key", &held(process, "reports", "key")])
        .args(["-d", &format!("token={token}"), &format!("https://{}/oauth/introspect", address.trim())])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn sto_04_with_a_failed_ledger_a_revocation_acts_at_once_and_says_that_it_does_not_last() {
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
    assert!(said.contains("not_durable") && said.contains("start forgets it"), "{said}");
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
    std::fs::write(process.path("stall"), "").unwrap();
    let mut minting = process.command("q", &["token", "reports.read"]);
    let minting = minting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Whatever reads memory answers while the mint waits for its record.
    assert!(introspect(&process, token.trim()).contains("\"active\":true"));
    process.good_as("p", &["whoami"], b"");
    process.good(&["agent", "list"], b"");
    std::fs::remove_file(process.path("stall")).unwrap();
    let minted = minting.wait_with_output().unwrap();
    assert!(minted.status.success(), "{}", String::from_utf8_lossy(&minted.stderr));
    assert_eq!(String::from_utf8(minted.stdout).unwrap().trim().split('.').count(), 3);
}

#[test]
fn a_disk_that_can_only_be_read_is_named_at_the_start_and_nothing_is_changed() {
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
