//! A client reads what a newer broker answers: fields, kinds and actions that it does not know, and fields that are
//! gone.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::hostile_broker::twice;
use crate::output::operator_of;
use crate::support::impostor::{Impostor, certificate, issued, operator_whoami, requested_key};
use crate::support::process::Process;

const DAY_S: i64 = 86_400;

fn secret(current: u32) -> Value {
    json!({
        "name": "a/b", "owner": null, "sensitivity": "of-tomorrow", "current": current, "upstream": null,
        "versions": [{ "number": current, "stage": "current", "stored_at": "x", "seq": 1, "more": 1 }],
        "consumers": [],
    })
}

#[test]
fn fields_and_kinds_of_a_newer_broker_are_printed() {
    let (inner, by) = twice("keyward.test");
    let impostor = Impostor::start(&by, &[&by], move |path, body| match path {
        "/v1/plan" => json!({
            "changes": [{ "action": "adopt", "kind": "queue", "name": "q", "more": 1 }],
            "applied": false, "seq": null,
        }),
        "/v1/secrets/a/b" => secret(1),
        "/v1/secret-readers/a/b" => {
            json!({ "items": [{ "agent": "a", "version": 1, "at": "x" }], "since_seq": 1 })
        }
        "/v1/renew" => {
            let spiffe = "spiffe://keyward.test/operator/ada";
            let mut answer = issued(&certificate(&inner, spiffe, &requested_key(body), DAY_S), &[&inner]);
            answer["more"] = json!(1);
            answer
        }
        _ => operator_whoami("x"),
    });
    let process = Process::init("warn");
    operator_of(&by, &impostor, &process);
    let file = process.path("a.toml").display().to_string();
    fs::write(&file, "").unwrap();
    let printed = |args: &[&str]| String::from_utf8(process.good_as("ada", args, b"")).unwrap();
    let json_of = |args: &[&str]| -> Value {
        serde_json::from_str(&printed(&[args, &["-o", "json"]].concat())).unwrap()
    };
    assert_eq!(json_of(&["plan", "--check", "-f", &file])["changes"][0]["more"], 1);
    assert!(printed(&["plan", "-f", &file]).contains("adopt queue q"));
    assert_eq!(json_of(&["secret", "versions", "a/b"])["items"][0]["more"], 1);
    let renewed = json_of(&["renew", "--operator"]);
    assert_eq!((&renewed["more"], renewed.get("certificate")), (&json!(1), None));
    let head = |args: &[&str]| printed(args).lines().next().unwrap().to_owned();
    assert_eq!(head(&["secret", "versions", "a/b"]), "VERSION  STAGE    STORED AT  SEQ");
    assert_eq!(head(&["secret", "readers", "a/b"]), "AGENT  VERSION  FIRST AT  LAST AT");
}

#[test]
fn rotate_fails_when_the_rotation_ends_without_a_new_version() {
    let id = |digit: &str| format!("rot_{}{digit}0", "0".repeat(24));
    let run = |digit: &str, stage: &str| {
        json!({
            "id": id(digit), "trigger": "manual", "begun_at": "x", "stage": stage, "version": null,
            "touched": false, "failures": 0, "trouble": null, "grace_until": null,
        })
    };
    // The rotation in progress and the current version at the first look, and the exit code.
    for (run, after, exit) in [
        (Value::Null, 2, 0),
        (Value::Null, 1, 8),
        (run("0", "grace"), 2, 0),
        (run("1", "prepared"), 2, 0),
        (run("1", "prepared"), 1, 8),
    ] {
        let rotation = id("0");
        let (_, by) = twice("keyward.test");
        let current = Arc::new(AtomicU32::new(1));
        let impostor = Impostor::start(&by, &[&by], move |path, body| match path {
            "/v1/secrets/a/b" => secret(current.load(Ordering::Relaxed)),
            "/v1/rotations/a/b" if body["action"] == "rotate" => {
                current.store(after, Ordering::Relaxed);
                json!({ "rotation": rotation, "begun": true })
            }
            "/v1/rotations/a/b" => json!({
                "secret": "a/b", "upstream": "u", "schedule": null, "overlap": false, "grace_s": 0,
                "paused_at": null, "next": null, "overdue": false, "run": run, "last_at": "x",
                "checked_at": null, "orphans": [],
            }),
            _ => operator_whoami("x"),
        });
        let process = Process::init("warn");
        operator_of(&by, &impostor, &process);
        let output = process.run_as("ada", &["secret", "rotate", "a/b"], b"");
        assert_eq!(output.status.code(), Some(exit), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
