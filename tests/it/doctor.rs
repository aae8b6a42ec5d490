//! `keyward doctor`: every finding on a machine that is well, and what it says of one that is not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::process::Process;

fn findings(process: &Process, who: &str, args: &[&str]) -> (Option<i32>, Vec<(String, String)>) {
    let output = process.run_as(who, &[&["doctor", "-o", "json"], args].concat(), b"");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let field = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
    let items = found["items"].as_array().unwrap();
    for item in items.iter().filter(|item| item["state"] != "ok") {
        assert!(!field(item, "fix").is_empty(), "{item}");
    }
    (output.status.code(), items.iter().map(|item| (field(item, "what"), field(item, "state"))).collect())
}

fn state(findings: &[(String, String)], what: &str) -> String {
    findings.iter().find(|(name, _)| name == what).unwrap_or_else(|| panic!("{what}: {findings:?}")).1.clone()
}

#[test]
fn a_client_that_is_well_is_told_so_and_one_that_is_not_is_told_what() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let (exit, found) = findings(&process, "a", &[]);
    assert!(exit == Some(0) && found.iter().all(|(_, state)| state == "ok"), "{found:?}");
    assert_eq!(findings(&process, "operator", &["--operator"]).0, Some(0));
    assert_eq!(findings(&process, "nobody", &[]).1, [("identity".to_owned(), "fail".to_owned())]);
    let key = process.path("home-a/agent/key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let (exit, found) = findings(&process, "a", &[]);
    assert_eq!((exit, state(&found, "private key").as_str()), (Some(1), "fail"));
    process.good(&["agent", "revoke", "a"], b"");
    assert_eq!(state(&findings(&process, "a", &[]).1, "broker"), "fail");
    process.stop();
    assert_eq!(state(&findings(&process, "operator", &["--operator"]).1, "broker"), "fail");
}

#[test]
fn doctor_checks_a_host_with_a_running_or_stopped_broker_read_only() {
    let mut process = Process::init("warn");
    process.serve();
    let config = process.config();
    let host = |process: &Process| findings(process, "host", &["--config", &config]);
    let (exit, found) = host(&process);
    assert_eq!(
        (exit, state(&found, "ledger").as_str(), state(&found, "slots").as_str()),
        (Some(0), "ok", "warn")
    );
    process.stop();
    let before = fs::read(process.path("data/keyring")).unwrap();
    assert_eq!(host(&process).0, Some(0));
    assert_eq!(fs::read(process.path("data/keyring")).unwrap(), before);
    fs::set_permissions(process.path("data"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(process.path("root.key")).unwrap();
    let (exit, found) = host(&process);
    assert_eq!(exit, Some(1));
    for what in ["data directory", "unseal key file", "keyring", "ledger"] {
        assert_eq!(state(&found, what), "fail", "{what}");
    }
    process.good(&["help", "error", "checks_failed"], b"");
}
