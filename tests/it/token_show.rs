//! `keyward token show`: a token explains itself, and is never printed.

use std::process::Output;

use keyward::wire::TokenOutput;

use crate::support::process::Process;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

/// What `token show -` prints as JSON, with its exit code.
fn shown(process: &Process, who: &str, token: &str) -> (Option<i32>, TokenOutput) {
    let output = process.run_as(who, &["token", "show", "-", "-o", "json"], token.as_bytes());
    assert!(!said(&output).contains(token), "the token is printed");
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

fn served() -> (Process, String) {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let token = process.good_as("a", &["token", "github.repo.read"], b"");
    (process, String::from_utf8(token).unwrap().trim().to_owned())
}

#[test]
fn token_show_verifies_a_token_at_the_machines_of_its_broker() {
    let (process, token) = served();
    let (exit, seen) = shown(&process, "a", &token);
    assert!(exit == Some(0) && seen.verified && seen.problem.is_none(), "{seen:?}");
    assert_eq!(seen.agent, "spiffe://keyward.test/agent/a");
    assert_eq!(seen.capabilities[0].capability.to_string(), "github.repo.read");
    assert_eq!(seen.bound_to_this_machine, Some(true));
    // An operator's machine knows the host, and not the agents' port.
    let (exit, seen) = shown(&process, "operator", &token);
    assert_eq!((exit, seen.verified, seen.bound_to_this_machine), (Some(0), true, None));
    process.enrol("b", "repo-reader");
    assert_eq!(shown(&process, "b", &token).1.bound_to_this_machine, Some(false));
    std::fs::write(process.path("token"), format!("{token}\n")).unwrap();
    let file = process.path("token").display().to_string();
    let text = said(&process.run_as("a", &["token", "show", "--file", &file], b""));
    for part in ["github.repo.read (read)", "this machine's certificate", "verified     yes"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(&token));
}

#[test]
fn token_show_fails_for_a_token_that_is_not_verified() {
    let (process, token) = served();
    let (exit, seen) = shown(&process, "nobody", &token);
    assert!(exit == Some(11) && !seen.verified, "{seen:?}");
    assert!(seen.problem.unwrap().detail.contains("was not checked"));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let changed = format!("{signed}.{first}{}", &signature[1..]);
    let (exit, seen) = shown(&process, "a", &changed);
    assert!(exit == Some(11) && !seen.verified, "{seen:?}");
    assert!(seen.problem.unwrap().detail.contains("the signature does not match"));
    let other = process.run_as("a", &["token", "show", "-"], b"no-token");
    assert!(other.status.code() == Some(11) && said(&other).contains("token_unverified"), "{}", said(&other));
    let argument = process.run_as("a", &["token", "show", &token], b"");
    assert!(argument.status.code() == Some(2) && !said(&argument).contains(&token), "{}", said(&argument));
}
