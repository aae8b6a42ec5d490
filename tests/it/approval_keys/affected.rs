//! Commands that end an approval or a key say what they affect.

use std::fs;

use serde_json::Value;

use super::commands::{PROMPT, WORDS, accepted, persons, typed};
use super::webhook::POLICY;
use crate::support::broker::DECLARATIONS;
use crate::support::process::Process;

/// Persons, the accepted key of alice, and the agent `a`, whose writes need an approval.
fn asking() -> Process {
    let process = persons();
    accepted(&process, "alice");
    let agent = "[[agent]]\nname = \"a\"\nroles = [\"publisher\"]\nperson = \"dev@corp.example\"\n";
    fs::write(process.path("a.toml"), format!("{DECLARATIONS}{POLICY}{agent}")).unwrap();
    process.good(&["secret", "put", "github/app"], b"value");
    process.good(&["apply", "-f", &process.path("a.toml").display().to_string()], b"");
    let code = process.good(&["agent", "invite", "a"], b"");
    process.good_as("a", &["join"], &code);
    process
}

/// Asks for two tokens, and alice approves them; the id.
fn approved(process: &Process, reason: &str) -> String {
    let args = ["request", "reports.publish", "--uses", "2", "--reason", reason, "-o", "json"];
    let asked: Value = serde_json::from_slice(&process.good_as("a", &args, b"")).unwrap();
    let id = asked["approval"].as_str().unwrap().to_owned();
    let approve = format!("approval approve {id}");
    let (is_done, said) = typed(process, "alice", &approve, "Passphrase of the approval key: ", &[WORDS]);
    assert!(is_done, "{said}");
    id
}

/// What a command says on both outputs.
fn said(process: &Process, who: &str, args: &[&str]) -> String {
    let output = process.run_as(who, args, b"");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{args:?}: {said}");
    said
}

fn has(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn denial_and_change_of_a_key_name_what_they_affect() {
    // Given two approvals of alice, one with a valid token
    let process = asking();
    let (first, second) = (approved(&process, "one"), approved(&process, "two"));
    process.good_as("a", &["token", "reports.publish", "--approval", &first], b"");
    let shown = said(&process, "alice", &["approval", "show", &first]);
    let to_end = format!("to end the approval: `keyward approval deny {first}`");
    has(&shown, &["1 of at most 2 issued, 1 left", "valid token", "keyward token revoke tok_", &to_end]);
    // And her keys are shown without a note: each approval is one with the accepted key
    let keys = said(&process, "alice", &["approval", "key", "show"]);
    assert!(keys.contains("accepted") && !keys.contains("another key"), "{keys}");
    // When she denies it, then she learns what still works, and how it ends
    let denied = said(&process, "alice", &["approval", "deny", &first]);
    has(
        &denied,
        &["note: the denial does not revoke the token", "keyward token revoke tok_", "admin or security"],
    );
    // When she replaces her key, then she learns which approvals will not count
    let (is_done, replaced) =
        typed(&process, "alice", "approval key create --replace", PROMPT, &[WORDS, WORDS]);
    assert!(is_done && replaced.contains("once the new key is accepted"), "{replaced}");
    assert!(replaced.contains(&second) && !replaced.contains(&first), "{replaced}");
    // When her keys are removed, then the admin learns it, and the request shows it
    let removed = said(&process, "bob", &["approval", "key", "remove", "alice"]);
    has(
        &removed,
        &["approvals by `alice` with another key do not count any more", &second, "of the agent `a`"],
    );
    assert!(!removed.contains(&first), "{removed}");
    let shown = said(&process, "bob", &["approval", "show", &second]);
    let lapsed =
        "DOES NOT COUNT any more for the rule ask-first: the operator has no accepted approval key now";
    let to_answer = format!("to answer: `keyward approval approve {second}`");
    has(&shown, &[lapsed, "do not meet every rule", &to_answer]);
    // And an auditor sees which roles can approve it
    let code = process.good(&["operator", "invite", "olga", "--role", "auditor"], b"");
    process.good_as("olga", &["join"], &code);
    let shown = said(&process, "olga", &["approval", "show", &second]);
    has(&shown, &["your role does not approve requests", "admin or security or approver"]);
    // And a key without approvals affects none
    let none = said(&process, "alice", &["approval", "key", "show"]);
    has(&none, &["approvals by `alice` with another key"]);
    has(&said(&process, "operator", &["approval", "key", "remove", "bob"]), &["no approval is affected"]);
}
