//! `keyward contain --rotate-touched --revoke-previous`: what was read works no more when the command ends.

use serde_json::{Value, json};

use super::touched::with_rotation;
use crate::support::process::Process;
use crate::support::waiting::wait_until;
use crate::support::webhook::{Mood, Webhook};

const CONTAIN: [&str; 6] = ["contain", "bill", "--reason", "leaked", "--rotate-touched", "--revoke-previous"];

fn contain(process: &Process) -> (Option<i32>, String) {
    let done = process.run_as("operator", &CONTAIN, b"");
    let said = [done.stdout, done.stderr].concat();
    (done.status.code(), String::from_utf8_lossy(&said).into_owned())
}

fn rotation(process: &Process) -> Value {
    process.json(&["rotation", "show", "billing/key"])
}

/// Makes a value that the broker itself has made the current one, without a grace period of another one.
fn rotate_once(process: &Process) {
    process.good(&["secret", "rotate", "billing/key"], b"");
    process.good(&["rotation", "revoke-previous", "billing/key"], b"");
    process.good(&["rotation", "clear-orphans", "billing/key"], b"");
}

#[test]
fn contain_revokes_what_was_read_without_a_grace_period() {
    // Given an agent that has read a value which the broker can revoke, with a grace period of an hour
    let service = Webhook::start("the-first-key");
    let process = with_rotation(&service);
    rotate_once(&process);
    let read = process.good_as("bill", &["get", "billing/key"], b"");
    let read = String::from_utf8(read).unwrap();
    assert!(service.lets_in(&read));
    // When it is contained
    let answer = process.json(&CONTAIN);
    // Then the value works no more when the command ends, and the answer says so
    assert!(!service.lets_in(&read), "{answer}");
    assert_eq!(answer["revoked"], json!([{ "secret": "billing/key", "version": 2 }]), "{answer}");
    assert_eq!(process.json(&["secret", "show", "billing/key"])["current"], 3);
    assert!(rotation(&process)["run"].is_null());
    // And a repetition has nothing left to do
    assert_eq!(contain(&process).0, Some(0));
}

#[test]
fn an_earlier_grace_period_is_ended_before_the_rotation() {
    // Given an agent that has read both values of a grace period
    let service = Webhook::start("the-first-key");
    let process = with_rotation(&service);
    rotate_once(&process);
    let mut read = vec![process.good_as("bill", &["get", "billing/key"], b"")];
    process.good(&["secret", "rotate", "billing/key"], b"");
    wait_until(|| rotation(&process)["run"]["stage"] == "grace");
    read.push(process.good_as("bill", &["get", "billing/key"], b""));
    assert_ne!(read[0], read[1]);
    // When it is contained, then both are revoked, one after the other
    let (exit, said) = contain(&process);
    assert_eq!(exit, Some(0), "{said}");
    for (version, value) in [(2, &read[0]), (3, &read[1])] {
        assert!(said.contains(&format!("the upstream has revoked version {version}")), "{said}");
        assert!(!service.lets_in(&String::from_utf8_lossy(value)), "{version}");
    }
    assert_eq!(process.json(&["secret", "show", "billing/key"])["current"], 4);
}

#[test]
fn a_grace_period_of_a_value_that_was_not_read_is_left_to_a_person() {
    // Given an agent that has read the new value alone, in the grace period of a value that others may use
    let service = Webhook::start("the-first-key");
    let process = with_rotation(&service);
    rotate_once(&process);
    let others: Vec<String> = service.keys().into_values().collect();
    process.good(&["secret", "rotate", "billing/key"], b"");
    wait_until(|| rotation(&process)["run"]["stage"] == "grace");
    process.good_as("bill", &["get", "billing/key"], b"");
    // When it is contained, then the value of the others works on, and the two commands are named
    let (exit, said) = contain(&process);
    assert_eq!(exit, Some(12), "{said}");
    let commands = "`keyward rotation revoke-previous billing/key`, then `keyward secret rotate billing/key`";
    assert!(said.contains(commands), "{said}");
    assert!(others.iter().any(|value| service.lets_in(value)), "{said}");
    assert_eq!(rotation(&process)["run"]["stage"], "grace");
}

#[test]
fn a_version_that_the_broker_cannot_revoke_is_named() {
    // Given an agent that has read a value which an operator stored: its place at the upstream is unknown
    let service = Webhook::start("the-first-key");
    let process = with_rotation(&service);
    process.good_as("bill", &["get", "billing/key"], b"");
    // When it is contained, then the command names the version, and what to do
    let (exit, said) = contain(&process);
    assert_eq!(exit, Some(12), "{said}");
    for part in ["`billing/key` version 1", "delete it there", "`keyward rotation clear-orphans billing/key`"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(
        said.contains("`keyward contain agent/bill --reason TEXT --rotate-touched --revoke-previous`"),
        "{said}"
    );
    assert!(rotation(&process)["run"].is_null(), "it has no grace period");
}

#[test]
fn a_revocation_that_failed_is_repeated_with_the_command() {
    // Given an upstream that does not delete keys now
    let service = Webhook::start("the-first-key");
    let process = with_rotation(&service);
    rotate_once(&process);
    let read = String::from_utf8(process.good_as("bill", &["get", "billing/key"], b"")).unwrap();
    service.next("DELETE", &[Mood::Says(500)]);
    // When an agent is contained, then the command says which version may still work
    let (exit, said) = contain(&process);
    assert_eq!(exit, Some(12), "{said}");
    assert!(said.contains("`billing/key` version 2") && said.contains("has stopped at `grace`"), "{said}");
    assert!(service.lets_in(&read), "{said}");
    // And a repetition ends it
    let (exit, said) = contain(&process);
    assert_eq!(exit, Some(0), "{said}");
    assert!(!service.lets_in(&read), "{said}");
}

#[test]
fn a_rotation_in_progress_loses_its_grace_period() {
    // Given a rotation whose upstream has made no key yet
    let service = Webhook::start("the-first-key");
    let process = with_rotation(&service);
    rotate_once(&process);
    let read = String::from_utf8(process.good_as("bill", &["get", "billing/key"], b"")).unwrap();
    service.next("POST", &[Mood::Says(503)]);
    process.good(&["secret", "rotate", "billing/key", "--no-wait"], b"");
    wait_until(|| rotation(&process)["run"]["trouble"].is_object());
    let run = rotation(&process)["run"]["id"].clone();
    // When the agent is contained, then this rotation goes on at once, and revokes what was read
    let (exit, said) = contain(&process);
    assert_eq!(exit, Some(0), "{said}");
    let shown = rotation(&process);
    assert_eq!((&shown["last"]["rotation"], &shown["run"]), (&run, &Value::Null), "{shown}");
    assert!(!service.lets_in(&read), "{said}");
    let updated = process.json(&["audit", "list", "--kind", "rotation.updated"]);
    let whats: Vec<&Value> =
        updated["items"].as_array().unwrap().iter().map(|one| &one["event"]["what"]).collect();
    assert!(whats.contains(&&json!("without-grace")), "{updated}");
}

#[test]
fn a_restart_revokes_what_the_containment_has_left() {
    // Given an upstream that makes no key now, so that the rotation of the containment waits
    let service = Webhook::start("the-first-key");
    let mut process = with_rotation(&service);
    rotate_once(&process);
    let read = String::from_utf8(process.good_as("bill", &["get", "billing/key"], b"")).unwrap();
    service.next("POST", &[Mood::Says(503)]);
    let (exit, said) = contain(&process);
    assert_eq!(exit, Some(12), "{said}");
    assert_eq!(rotation(&process)["run"]["revokes_previous"], true);
    // When the broker is killed, and starts again
    process.kill();
    process.serve();
    assert_eq!(rotation(&process)["run"]["revokes_previous"], true);
    // Then the value that was read has no grace period, and a repetition does not wait for the broker's next attempt
    let (exit, said) = contain(&process);
    assert_eq!(exit, Some(0), "{said}");
    assert!(!service.lets_in(&read) && rotation(&process)["run"].is_null(), "{said}");
    let entries = process.json(&["audit", "list", "--kind", "rotation.begun", "--limit", "1"]);
    let begun = &entries["items"][0];
    assert_eq!(begun["event"]["revokes_previous"], true, "{entries}");
    let reason = begun["reason"].as_str().unwrap();
    assert!(reason.starts_with("incident inc_") && reason.ends_with(": leaked"), "{reason}");
}

#[test]
fn the_previous_version_is_revoked_only_together_with_a_rotation() {
    let process = Process::init("warn");
    let done = process.run_as("operator", &["contain", "bill", "--reason", "x", "--revoke-previous"], b"");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(2) && said.contains("--rotate-touched"), "{said}");
}
