//! The runbook for an agent that is compromised, and the page about containment.

use std::fs;

use super::{blocks, run_as};
use crate::support::process::Process;

#[test]
fn a_compromised_agent_is_contained_by_the_runbook_and_comes_back_by_it() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.enrol("research-bot", "repo-reader");
    process.good_as("research-bot", &["get", "github/app"], b"");
    let blocks = blocks("runbooks/agent-compromised.md");
    assert_eq!(blocks.len(), 12);
    let run = |at: usize| run_as(&process, "operator", &blocks[at], &[("NEW_VALUE", "replaced")]);
    let gets = || process.run_as("research-bot", &["get", "github/app"], b"").status.success();
    // A suspension, and a false alarm
    run(0);
    assert!(!gets());
    run(10);
    assert!(gets());
    // A containment, and what is found out after it
    run(1);
    assert!(!gets());
    let shown: String = [2, 3, 5, 6, 7].map(run).concat();
    for part in [
        "inst_",
        "no leases",
        "github.repo.read",
        "secret.revealed",
        "laptop stolen",
        "subject.suspended",
        "incident.contained",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(blocks[4], "keyward lease retry --agent research-bot\n");
    let refused = process.run_as("operator", &["lease", "retry", "--agent", "research-bot"], b"");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("lease_invalid_state"), "as the page says");
    run(8);
    run(9);
    let bundle = fs::read(process.path("evidence.zip")).unwrap();
    assert!(bundle.windows(15).any(|window| window == b"strange queries"), "files are stored as they are");
    assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"replaced");
    // The containment is lifted, and the agent joins again
    let incident = process.json(&["incident", "list", "--open"])["items"][0]["incident"].clone();
    process.good(&["lift", incident.as_str().unwrap(), "--reason", "new machine"], b"");
    run(11);
    let code = process.path("code").display().to_string();
    process.good_as("research-bot", &["join", "--replace", "--code-file", &code], b"");
    assert!(gets());
}

#[test]
fn an_incident_is_contained_and_the_broker_frozen_by_the_page() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.enrol("research-bot", "repo-reader");
    let blocks = blocks("how-to/contain.md");
    assert_eq!(blocks.len(), 8);
    let run = |at: usize| run_as(&process, "operator", &blocks[at], &[]);
    let gets = |who: &str| process.run_as(who, &["get", "github/app"], b"").status.success();
    // A dry run, and a containment
    assert!(run(2).contains("nothing was changed"));
    process.good_as("research-bot", &["whoami"], b"");
    assert!(run(0).contains("accepted now: 0") && !gets("research-bot"));
    assert!(run(1).contains("No secret was read"));
    assert!(run(3).contains("agent/research-bot"));
    // A record, with the commands of the page that need its id
    assert!(run(4).contains("it contains nothing"));
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
    run(5);
    assert!(!gets("a"));
    run(6);
    assert!(gets("a"));
    // The same without an operator
    let incidents = || process.json(&["incident", "list", "--open"])["items"].as_array().unwrap().len();
    run(7);
    assert_eq!(incidents(), 1, "the same incident");
}
