//! `keyward version` and `keyward status`: what this program is, and whether this machine and its broker work.

use std::process::Command;

use keyward::keyring::KEYRING_FORMAT;
use keyward::wire::{IdentityStatus, StatusOutput, VersionOutput};

use crate::support::process::{KEYWARD, Process};

fn status(process: &Process, who: &str) -> (Option<i32>, StatusOutput) {
    let output = process.run_as(who, &["status", "-o", "json"], b"");
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

/// The text of `keyward status`, on whichever stream.
fn told(process: &Process, who: &str) -> String {
    let output = process.run_as(who, &["status"], b"");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn codes(identity: &IdentityStatus) -> Vec<&str> {
    identity.problems.iter().map(|problem| problem.code.as_str()).collect()
}

#[test]
fn version_needs_no_home_and_names_the_formats() {
    let run = |args: &[&str]| Command::new(KEYWARD).env_clear().args(args).output().unwrap();
    let output = run(&["version", "-o", "json"]);
    let version: VersionOutput = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(version.version, env!("CARGO_PKG_VERSION"));
    let keyring = version.formats.iter().find(|format| format.name == "keyring").unwrap();
    assert_eq!((keyring.version, version.formats.len()), (KEYRING_FORMAT, 4));
    let text = String::from_utf8(run(&["version"]).stdout).unwrap();
    assert!(text.starts_with(&format!("keyward {}", version.version)), "{text}");
    assert!(text.contains("ledger segment"), "{text}");
}

#[test]
fn status_shows_identities_that_can_be_used() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let (exit, seen) = status(&process, "a");
    let [agent] = &seen.identities[..] else { panic!("{seen:?}") };
    assert!(exit == Some(0) && seen.ok, "{seen:?}");
    assert!(agent.reachable && agent.ready && agent.accepted && codes(agent).is_empty(), "{agent:?}");
    assert_eq!((agent.kind.as_ref(), agent.roles.join(",").as_str()), ("agent", "repo-reader"));
    assert_eq!(agent.spiffe_id.as_deref(), Some("spiffe://keyward.test/agent/a"));
    assert!(agent.not_after.is_some() && agent.address.is_some());
    let file = std::fs::read_to_string(&agent.address_file).unwrap();
    assert_eq!(agent.address.as_deref(), Some(file.trim()));
    let (exit, seen) = status(&process, "operator");
    assert_eq!((exit, seen.identities[0].kind.as_ref()), (Some(0), "operator"));
    assert_eq!(
        (&seen.identities[0].roles[..], &seen.identities[0].owner),
        (&["admin".to_owned()][..], &None)
    );
    let text = told(&process, "a");
    for part in ["agent  spiffe://keyward.test/agent/a", "valid until", "repo-reader", "state        ready"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn status_in_csv_has_a_line_for_each_identity() {
    let mut process = Process::init("warn");
    process.serve();
    let output = process.run_as("operator", &["status", "-o", "csv"], b"");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(output.status.success() && lines.len() == 2, "{text}");
    assert!(lines[0].starts_with("KIND,SPIFFE ID,NOT AFTER"), "{text}");
    assert!(lines[1].starts_with("operator,spiffe://keyward.test/operator/admin,"), "{text}");
    assert!(lines[1].contains(",ready,"), "{text}");
}

#[test]
fn status_names_the_problem_when_an_identity_cannot_be_used() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let (exit, nothing) = status(&process, "nobody");
    assert!(exit == Some(1) && !nothing.ok && nothing.identities.is_empty(), "{nothing:?}");
    assert!(told(&process, "nobody").contains(" join`"));
    process.good(&["agent", "revoke", "a"], b"");
    let (exit, seen) = status(&process, "a");
    let revoked = &seen.identities[0];
    assert!(exit == Some(1) && revoked.reachable && revoked.ready && !revoked.accepted, "{seen:?}");
    assert_eq!(codes(revoked).len(), 1, "{revoked:?}");
    assert!(told(&process, "a").contains("refuses this identity"));
    process.stop();
    let (exit, seen) = status(&process, "operator");
    assert!(exit == Some(1) && !seen.identities[0].reachable && !seen.identities[0].ready, "{seen:?}");
    assert_eq!(codes(&seen.identities[0]), ["broker_unreachable"]);
    assert!(told(&process, "operator").contains("the broker is not reachable"));
    std::fs::remove_file(process.path("home-operator/operator/key.pem")).unwrap();
    assert!(told(&process, "operator").contains("the broker was not asked: this identity cannot be used"));
}
