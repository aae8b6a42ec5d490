//! `keyward rotation revoke-previous` reports what the upstream did.

use std::fs;
use std::process::Output;

use super::LOOPBACK;
use crate::support::process::Process;
use crate::support::webhook::{ADMIN_TOKEN, Mood, Webhook};

/// A broker with a rotation of a key at `service`, which makes keys.
fn with_rotation(service: &Webhook) -> Process {
    let mut process = Process::init("warn");
    process.configure(LOOPBACK);
    process.serve();
    process.good(&["secret", "put", "billing/admin"], ADMIN_TOKEN.as_bytes());
    process.good(&["secret", "put", "billing/key"], b"the-first-key");
    let file = process.path("billing.toml");
    let rotation =
        "[[rotation]]\nsecret = \"billing/key\"\nevery = \"30d\"\ngrace = \"1h\"\n[rotation.upstream]\n";
    fs::write(&file, format!("{rotation}{}", service.creating())).unwrap();
    process.good(&["apply", "-f", &file.display().to_string()], b"");
    process
}

fn revoke(process: &Process) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        process.run_as("operator", &["rotation", "revoke-previous", "billing/key"], b"");
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_previous_version_that_stays_valid_is_never_called_revoked() {
    // Given a rotation whose former key the broker did not make
    let service = Webhook::start("the-first-key");
    let process = with_rotation(&service);
    process.good(&["secret", "rotate", "billing/key"], b"");
    // When its grace period is ended, then the command says that the former key may still work
    let (exit, said) = revoke(&process);
    assert_eq!(exit, Some(0), "{said}");
    assert!(said.contains("may still work") && said.contains("rotation clear-orphans billing/key"), "{said}");
    process.good(&["rotation", "clear-orphans", "billing/key"], b"");
    // Given one whose former key the broker made, and a service that does not delete keys now
    process.good(&["secret", "rotate", "billing/key"], b"");
    service.next("DELETE", &[Mood::Says(500)]);
    // When its grace period is ended, then the command fails and says so
    let (exit, said) = revoke(&process);
    assert_ne!(exit, Some(0), "{said}");
    assert!(said.contains("the previous version may still work"), "{said}");
    // And when the service deletes keys again, it succeeds.
    let (exit, said) = revoke(&process);
    assert_eq!(exit, Some(0), "{said}");
    assert!(said.contains("billing/key: the upstream has revoked the previous version"), "{said}");
    // Without a former version, the refusal says so.
    let (exit, said) = revoke(&process);
    assert_ne!(exit, Some(0), "{said}");
    assert!(said.contains("no previous version of billing/key is in its grace period"), "{said}");
}
