//! The runbook for an agent that is compromised, and the page about containment.

use std::fs;
use std::process::Command;

use super::{blocks, run_as};
use crate::readme::root;
use crate::support::process::Process;

/// A secret with a rotation that leaves the previous version a grace period, and the role that reads it.
const SESSION_KEY: &str = "[[rotation]]\nsecret = \"web/session-key\"\nevery = \"30d\"\ngrace = \"1h\"\n\
                           upstream = { driver = \"generate\" }\n\
                           [[capability]]\nname = \"web.sign\"\naccess = \"read\"\ndelivery = \"reveal\"\n\
                           secret = \"web/session-key\"\nmax_life_s = 300\n\
                           [[role]]\nname = \"web\"\ncapabilities = [\"web.sign\"]\n";

/// A broker with the agent `research-bot`, which has read a secret without a rotation and one with a grace period; gives the
/// checkpoint key of before, too.
fn with_research_bot() -> (Process, String) {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.good(&["secret", "put", "web/session-key"], b"the first key");
    let declared = process.path("web.toml");
    fs::write(&declared, SESSION_KEY).unwrap();
    process.good(&["apply", "-f", &declared.display().to_string()], b"");
    let roles = ["agent", "invite", "research-bot", "--role", "repo-reader", "--role", "web"];
    let code = process.good(&roles, b"");
    process.good_as("research-bot", &["join"], &code);
    for secret in ["github/app", "web/session-key"] {
        process.good_as("research-bot", &["get", secret], b"");
    }
    let address = fs::read_to_string(process.path("home-a/agent/address")).unwrap();
    let authority = process.path("home-a/agent/authority.pem").display().to_string();
    let url = format!("https://{}/v1/checkpoint/key", address.trim());
    let key = Command::new("curl").args(["-sS", "--cacert", &authority, &url]).output().unwrap();
    (process, String::from_utf8(key.stdout).unwrap().trim().to_owned())
}

#[test]
fn a_compromised_agent_takes_seven_commands_from_look_to_lift() {
    // Given an agent that has read a secret without a rotation, and one whose previous version has a grace period
    let (process, key) = with_research_bot();
    let blocks = blocks("runbooks/agent-compromised.md");
    assert_eq!(blocks.len(), 16);
    // The steps that are numbered, up to the lift, are the typical case
    let page = fs::read_to_string(root().join("docs/runbooks/agent-compromised.md")).unwrap();
    let typical = page.split("Then invite the agent again").next().unwrap();
    assert_eq!(typical.matches("\n```sh\n").count(), 7);
    assert!(blocks[..7].iter().all(|block| block.lines().count() == 1), "a command each");
    let gets = || process.run_as("research-bot", &["get", "github/app"], b"").status.success();
    let run = |at: usize, known: &[(&str, &str)]| run_as(&process, "operator", &blocks[at], known);
    // When a responder looks, then the report names both
    let seen = run(0, &[]);
    assert!(seen.contains("github/app") && seen.contains("web/session-key"), "{seen}");
    // When the agent is contained, then the one is rotated without a grace period, and the other one is named
    let said = run(1, &[]);
    assert!(!gets());
    assert!(said.contains("`github/app` (no rotation is declared)"), "{said}");
    assert!(said.contains("secret `web/session-key`: version 1 is replaced"), "{said}");
    let rotation = process.json(&["rotation", "show", "web/session-key"]);
    assert!(rotation["run"].is_null(), "no grace period: {rotation}");
    let incident = process.json(&["incident", "list", "--open"])["items"][0]["incident"].clone();
    let known = [("NEW_VALUE", "replaced"), ("INCIDENT", incident.as_str().unwrap()), ("KEY", &key)];
    // When the other value is replaced, then the containment is complete, and its evidence verifies
    run(2, &known);
    let contain = ["contain", "research-bot", "--reason", "x", "--rotate-touched", "--revoke-previous"];
    process.good(&contain, b"");
    assert!(run(3, &known).contains("accepted"));
    run(4, &known);
    assert!(run(5, &known).contains("entries about incident"));
    assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"replaced");
    // And the lift lets the agent join again
    assert!(run(6, &known).contains("lifted"));
    run(7, &known);
    let code = process.path("code").display().to_string();
    process.good_as("research-bot", &["join", "--replace", "--code-file", &code], b"");
    assert!(gets());
}

#[test]
fn an_agent_under_suspicion_is_suspended_and_looked_at_by_the_runbook() {
    let (process, _) = with_research_bot();
    let blocks = blocks("runbooks/agent-compromised.md");
    let gets = || process.run_as("research-bot", &["get", "github/app"], b"").status.success();
    let run = |at: usize| run_as(&process, "operator", &blocks[at], &[]);
    // When it is suspended, and resumed after a false alarm
    run(8);
    assert!(!gets());
    run(9);
    assert!(gets());
    // Then what it could reach and what it did is there
    let shown: String = [10, 11, 13, 14, 15].map(run).concat();
    for part in ["inst_", "no leases", "github.repo.read", "secret.revealed", "subject.suspended"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(blocks[12], "keyward lease retry --agent research-bot\n");
    let refused = process.run_as("operator", &["lease", "retry", "--agent", "research-bot"], b"");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("lease_invalid_state"), "as the page says");
}

#[test]
fn an_incident_is_contained_and_the_broker_frozen_by_the_page() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.enrol("research-bot", "repo-reader");
    let blocks = blocks("how-to/contain.md");
    assert_eq!(blocks.len(), 9);
    let run = |at: usize| run_as(&process, "operator", &blocks[at], &[]);
    let gets = |who: &str| process.run_as(who, &["get", "github/app"], b"").status.success();
    // A dry run, and a containment
    assert!(run(3).contains("nothing was changed"));
    process.good_as("research-bot", &["whoami"], b"");
    assert!(run(0).contains("accepted now: 0") && !gets("research-bot"));
    assert!(run(1).contains("No secret was read"));
    assert!(run(2).contains("No secret was read"));
    assert!(run(4).contains("agent/research-bot"));
    // A record, with the commands of the page that need its id
    assert!(run(5).contains("it contains nothing"));
    let incident = process.json(&["incident", "list"])["items"][0]["incident"].as_str().unwrap().to_owned();
    process.good(&["incident", "note", &incident, "the key was in a build log"], b"");
    process
        .good(&["incident", "update", &incident, "--detected", "90m", "--person", "bob@corp.example"], b"");
    let close =
        ["incident", "close", &incident, "--cause", "a key in a build log", "--follow-up", "scan build logs"];
    let closed = String::from_utf8(process.good(&close, b"")).unwrap();
    assert!(closed.contains("from the first sign to the detection: 30"), "{closed}");
    assert!(closed.contains("from the detection to the containment: unknown"), "{closed}");
    // A freeze, and its end
    run(6);
    assert!(!gets("a"));
    run(7);
    assert!(gets("a"));
    // The same without an operator
    let incidents = || process.json(&["incident", "list", "--open"])["items"].as_array().unwrap().len();
    run(8);
    assert_eq!(incidents(), 1, "the same incident");
}
