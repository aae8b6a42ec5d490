//! A broker that shows one request and names another one gets no signature.

use std::fs;
use std::process::Command;

use keyward::wire::ApprovalRequest;
use serde_json::{Value, json};

use super::commands::{WORDS, accepted, persons, typed};
use crate::hostile_broker::twice;
use crate::support::impostor::{Impostor, operator_whoami, pem};

/// The prompt below the request that is shown.
const PROMPT: &str = "Passphrase of the approval key: ";
const ID: &str = "appr_06h2htbrfhs6388gu9e2l31ivk";

fn request(reason: &str) -> Value {
    json!({
        "type": "keyward-approval-request-1", "agent": "spiffe://keyward.test/agent/deploy-bot",
        "capabilities": [{ "name": "web.deploy", "access": "write", "environment": "production" }],
        "audience": "https://deploy.example", "life_s": 600, "uses": 1, "reason": reason,
    })
}

/// The digest of the request, as a broker computes it.
fn digest(request: &Value) -> String {
    let request: ApprovalRequest = serde_json::from_value(request.clone()).unwrap();
    keyward::crypto::sha256(&request.canonical().unwrap()).hex()
}

/// What the impostor says about the request: it shows `shown`, and names the digest of `meant`.
fn answer(shown: &Value, meant: &Value) -> Value {
    json!({
        "approval": ID, "user_code": "WDJB-MJHT", "state": "pending", "agent": "deploy-bot",
        "instance": "inst_06h2htbrfhs6388gu9e2l31ivk", "request": shown, "digest": digest(meant),
        "rules": "ab".repeat(32), "policies": ["prod"], "votes": [], "uses": 0, "seq": 9,
        "demands": [{ "policy": "prod", "kind": "approval", "quorum": 1, "approved": 0 }],
        "opened_at": "2026-12-01T03:00:00.000Z",
    })
}

/// Runs `approve` of an operator whose broker was taken over, and answers so. What it said, and the paths and bodies that the
/// impostor got.
fn approve_with(shown: Value, meant: &Value, lines: &[&str]) -> (bool, String, Vec<String>) {
    // Given an operator with an accepted key at a broker
    let mut process = persons();
    let fingerprint = accepted(&process, "alice");
    process.stop();
    // When another server with the authority's key answers
    let (serving, by) = twice("keyward.test");
    let given = answer(&shown, meant);
    let impostor = Impostor::start(&serving, &[&by], move |path, _| match path {
        "/v1/approval-key" => json!({
            "operator": "alice",
            "keys": [{ "fingerprint": fingerprint, "state": "accepted", "proposed_at": "x", "accepted_at": "x", "accepted_by": "bob" }],
        }),
        path if path.ends_with("/context") => json!({
            "approval": ID, "entries": { "read": 0, "complete": true }, "tokens": 0, "differences": [], "previous": [],
        }),
        path if path.ends_with("/votes") => json!({ "approval": ID, "state": "approved", "seq": 10 }),
        "/v1/whoami" => operator_whoami("approver"),
        _ => given.clone(),
    });
    let home = process.path("home-alice/operator");
    fs::write(home.join("address"), &impostor.address).unwrap();
    fs::write(home.join("authority.pem"), pem(&[&by])).unwrap();
    let (is_done, said) = typed(&process, "alice", &format!("approval approve {ID}"), PROMPT, lines);
    (is_done, said, impostor.heard())
}

#[test]
fn approve_signs_the_request_that_it_shows() {
    let (is_done, said, heard) = approve_with(request("release 7"), &request("release 7"), &[WORDS]);
    assert!(is_done && said.contains("approved in ledger entry 10"), "{said}");
    for shown in
        ["web.deploy (write, production)", "https://deploy.example", "release 7", "prod: approval by 1"]
    {
        assert!(said.contains(shown), "{shown}: {said}");
    }
    assert!(heard.iter().any(|path| path.ends_with("/votes")), "{heard:?}");
}

#[test]
fn approve_signs_nothing_for_a_broker_that_names_another_request() {
    // The broker shows a harmless request, and names the digest of another one
    let (is_done, said, heard) =
        approve_with(request("read a report"), &request("deploy to production"), &[]);
    assert!(!is_done && said.contains("approval_digest_differs"), "{said}");
    // No passphrase was asked for, and no vote was sent
    assert!(!said.contains("Passphrase of the approval key"), "{said}");
    assert!(!heard.iter().any(|path| path.ends_with("/votes")), "{heard:?}");
}

#[test]
fn approve_signs_nothing_for_a_request_with_a_field_that_is_not_shown() {
    // A field that this version does not know is part of what the broker means
    let mut shown = request("release 7");
    shown["hosts"] = json!(["*"]);
    let mut canonical = shown.clone();
    canonical.sort_all_objects();
    let meant = keyward::crypto::sha256(canonical.to_string().as_bytes()).hex();
    let mut given = answer(&request("release 7"), &request("release 7"));
    (given["request"], given["digest"]) = (shown, json!(meant));
    let answer: keyward::wire::ApprovalAnswer = serde_json::from_value(given).unwrap();
    assert_ne!(keyward::crypto::sha256(&answer.request.canonical().unwrap()).hex(), answer.digest);
}

#[test]
fn wrong_passphrase_signs_nothing() {
    let (is_done, said, heard) =
        approve_with(request("release 7"), &request("release 7"), &["another passphrase"]);
    assert!(!is_done && said.contains("key_passphrase_wrong"), "{said}");
    assert!(!heard.iter().any(|path| path.ends_with("/votes")), "{heard:?}");
    // The tests need `script` for a terminal
    assert!(Command::new("script").arg("--version").output().unwrap().status.success());
}
