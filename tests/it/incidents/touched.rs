//! The secrets that a contained subject has read, and their rotation.

use serde_json::{Value, json};

use super::{agent, contained};
use crate::liveness::claims;
use crate::operators::{join, standing};
use crate::rotation::LOOPBACK;
use crate::support::broker::{Caller, DECLARATIONS, TestBroker};
use crate::support::process::Process;
use crate::support::waiting::wait_until;
use crate::support::webhook::{ADMIN_TOKEN, Webhook};

#[tokio::test]
async fn an_incident_lists_what_its_subject_has_read() {
    // Given two agents, of which one has read a secret
    let broker = TestBroker::declared().await;
    let (reader, other) =
        (broker.agent("reader", &["repo-reader"]).await, broker.agent("other", &["repo-reader"]).await);
    let token = reader.token("github.repo.read").await;
    assert_eq!(reader.secret("github/app", &token).await.status, 200);
    let admin = broker.operator();
    let touched = async |subject: Value| {
        let incident = contained(&admin, subject).await;
        let reply = admin.get(&format!("/v1/incidents/{incident}/secrets")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["items"].clone()
    };
    // When they are contained, then the incident of the reader lists the secret, and the other one none
    let listed = touched(agent("reader")).await;
    let expected = (&json!("github/app"), &json!("reader"), &json!(1), &json!(true), &json!(false));
    let first = &listed[0];
    let found =
        (&first["secret"], &first["agent"], &first["version"], &first["is_current"], &first["has_rotation"]);
    assert_eq!((listed.as_array().unwrap().len(), found), (1, expected), "{listed}");
    assert_eq!(touched(agent("other")).await, json!([]));
    assert_eq!(touched(json!({ "kind": "role", "name": "repo-reader" })).await[0]["secret"], "github/app");
    assert_eq!(touched(json!({ "kind": "role", "name": "publisher" })).await, json!([]));
    assert_eq!(touched(json!({ "kind": "secret", "name": "github/app" })).await[0]["agent"], "reader");
    // And when a new value is stored, the version that was read is not the current one
    assert_eq!(admin.put("/v1/secrets/github/app", "application/octet-stream", b"new").await.status, 201);
    assert_eq!(touched(agent("reader")).await[0]["is_current"], false);
    drop(other);
    // And an operator with an owner sees no secret of others
    let bound = join(&broker, "bound", &standing("auditor", Some("payments"))).await.caller;
    let incident = contained(&admin, agent("reader")).await;
    assert_eq!(bound.get(&format!("/v1/incidents/{incident}/secrets")).await.code(), "incident_unknown");
}

#[tokio::test]
async fn an_operator_with_an_owner_gets_no_similar_name_of_another_owner() {
    // Given agents of two owners, and an operator that is bound to one of them
    let broker = TestBroker::declared().await;
    let agents = "[[agent]]\nname = \"red-robot\"\nroles = []\nowner = \"red\"\n\
                  [[agent]]\nname = \"blue-robot\"\nroles = []\nowner = \"blue\"\n";
    assert_eq!(broker.apply(agents).await.status, 200);
    let bound = join(&broker, "bound", &standing("security", Some("blue"))).await.caller;
    // When it misspells an agent, then it is asked about its own ones alone
    let asked = async |by: &Caller, name: &str| {
        let told = by.get(&format!("/v1/agents/{name}")).await;
        let preview = json!({ "subject": agent(name) });
        let previewed = by.post_json("/v1/incident-previews", &preview).await;
        [told.text(), previewed.text()].concat()
    };
    let own = asked(&bound, "blue-robt").await;
    assert_eq!(own.matches("did you mean `blue-robot`?").count(), 2, "{own}");
    let foreign = asked(&bound, "red-robt").await;
    assert!(!foreign.contains("did you mean") && !foreign.contains("red-robot"), "{foreign}");
    let admin = asked(&broker.operator(), "red-robt").await;
    assert_eq!(admin.matches("did you mean `red-robot`?").count(), 2, "{admin}");
}

#[tokio::test]
async fn every_kind_of_subject_lists_what_was_read_under_it() {
    let broker = TestBroker::start_with("[certificates]\nagent_life_s = 3600\n").await;
    broker.declare().await;
    let admin = broker.operator();
    let owned = "[[agent]]\nname = \"reader\"\nroles = [\"repo-reader\"]\nowner = \"blue\"\n";
    assert_eq!(broker.apply(owned).await.status, 200);
    let reader = broker.agent("reader", &[]).await;
    let token = reader.token("github.repo.read").await;
    assert_eq!(reader.secret("github/app", &token).await.status, 200);
    let shown = admin.get("/v1/agents/reader").await.json();
    let instance = &shown["instances"][0];
    let subjects = [
        json!({ "kind": "token", "id": claims(&token).jti.to_string() }),
        json!({ "kind": "capability", "name": "github.repo.read" }),
        json!({ "kind": "role", "name": "repo-reader" }),
        json!({ "kind": "owner", "name": "blue" }),
        json!({ "kind": "instance", "id": instance["id"] }),
        json!({ "kind": "certificate", "id": instance["serial"] }),
        json!({ "kind": "network", "name": "127.0.0.0/8" }),
        json!({ "kind": "everything" }),
        agent("reader"),
    ];
    let mut incidents = Vec::new();
    for subject in &subjects {
        incidents.push((contained(&admin, subject.clone()).await, subject));
    }
    let others = [
        json!({ "kind": "token", "id": format!("tok_{}", "0".repeat(26)) }),
        json!({ "kind": "capability", "name": "reports.read" }),
        json!({ "kind": "network", "name": "10.0.0.0/8" }),
    ];
    for other in others {
        let incident = contained(&admin, other.clone()).await;
        let reply = admin.get(&format!("/v1/incidents/{incident}/secrets")).await.json();
        assert_eq!((&reply["items"], reply.get("unknown_readings")), (&json!([]), None), "{other}");
    }
    // When the agent lost its role, and its certificate has expired, then each still lists the reading
    let without = owned.replace("\"repo-reader\"", "");
    assert_eq!(broker.apply(&without).await.status, 200);
    broker.clock.advance_s(2 * 3600);
    for (incident, subject) in incidents {
        let reply = admin.get(&format!("/v1/incidents/{incident}/secrets")).await.json();
        assert_eq!(reply["items"][0]["secret"], "github/app", "{subject}: {reply}");
    }
}

#[tokio::test]
async fn readings_of_a_removed_agent_are_counted_as_unknown() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    let reader = broker.agent("reader", &["repo-reader"]).await;
    let token = reader.token("github.repo.read").await;
    assert_eq!(reader.secret("github/app", &token).await.status, 200);
    // Given an agent that was deleted after its reading
    let body = json!({ "files": [{ "name": "a.toml", "text": DECLARATIONS }], "prune": true });
    assert_eq!(admin.post_json("/v1/apply", &body).await.status, 200);
    // Then a role may have been its role, and the agent itself is known by its name
    let incident = contained(&admin, json!({ "kind": "role", "name": "publisher" })).await;
    let reply = admin.get(&format!("/v1/incidents/{incident}/secrets")).await.json();
    assert_eq!((&reply["items"], &reply["unknown_readings"]), (&json!([]), &1.into()), "{reply}");
    let incident = contained(&admin, json!({ "kind": "token", "id": claims(&token).jti.to_string() })).await;
    let reply = admin.get(&format!("/v1/incidents/{incident}/secrets")).await.json();
    assert_eq!(reply["items"][0]["agent"], "reader", "{reply}");
}

/// A broker with the agent `bill`, which may read a secret with a rotation and one without.
pub(super) fn with_rotation(service: &Webhook) -> Process {
    let mut process = Process::init("warn");
    process.configure(LOOPBACK);
    process.serve();
    process.set_up(b"value");
    process.good(&["secret", "put", "billing/admin"], ADMIN_TOKEN.as_bytes());
    process.good(&["secret", "put", "billing/key"], b"the-first-key");
    let declared = format!(
        "[[rotation]]\nsecret = \"billing/key\"\nevery = \"30d\"\ngrace = \"1h\"\n[rotation.upstream]\n{}\n\
         [[capability]]\nname = \"billing.read\"\naccess = \"read\"\ndelivery = \"reveal\"\nsecret = \"billing/key\"\nmax_life_s = 600\n\
         [[role]]\nname = \"biller\"\ncapabilities = [\"billing.read\", \"github.repo.read\"]\n\
         [[agent]]\nname = \"bill\"\nroles = [\"biller\"]\n",
        service.creating()
    );
    let file = process.path("bill.toml");
    std::fs::write(&file, declared).unwrap();
    process.good(&["apply", "-f", &file.display().to_string()], b"");
    let code = process.good(&["agent", "invite", "bill"], b"");
    process.good_as("bill", &["join"], &code);
    process
}

#[test]
fn contain_rotates_what_was_read_and_names_the_rest() {
    // Given an agent that has read a secret with a rotation, and one without
    let service = Webhook::start("the-first-key");
    let process = with_rotation(&service);
    for secret in ["billing/key", "github/app"] {
        process.good_as("bill", &["get", secret], b"");
    }
    // When it is contained
    let args = ["contain", "bill", "--reason", "leaked", "--rotate-touched"];
    let done = process.run_as("operator", &args, b"");
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    // Then the one is rotated, and the other one is named
    assert_eq!(done.status.code(), Some(12), "{said}");
    assert!(said.contains("`billing/key` (sensitivity ordinary): the rotation has begun"), "{said}");
    assert!(
        said.contains("secrets_not_rotated") && said.contains("`github/app` (no rotation is declared)"),
        "{said}"
    );
    wait_until(|| process.json(&["secret", "show", "billing/key"])["current"] == 2);
    let again =
        process.run_as("operator", &["contain", "bill", "--reason", "leaked", "--rotate-touched"], b"");
    assert!(
        String::from_utf8_lossy(&again.stdout).contains("version 1 was read, and is not the current one")
    );
    assert!(String::from_utf8_lossy(&again.stdout).contains("the whole ledger was searched"));
}

#[test]
fn a_version_that_was_read_is_named_until_it_works_no_more() {
    // Given an agent that has read a secret whose rotations have a grace period
    let service = Webhook::start("the-first-key");
    let process = with_rotation(&service);
    process.good_as("bill", &["get", "billing/key"], b"");
    let contain = || {
        let args = ["contain", "bill", "--reason", "leaked", "--rotate-touched"];
        let done = process.run_as("operator", &args, b"");
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    // When it is contained, then the command says how long the version works on, and what ends it
    let (exit, said) = contain();
    assert_eq!(exit, Some(12), "{said}");
    assert!(said.contains("`billing/key` version 1 for 1h after the rotation"), "{said}");
    assert!(said.contains("`keyward rotation revoke-previous billing/key`"), "{said}");
    wait_until(|| process.json(&["rotation", "show", "billing/key"])["run"]["stage"] == "grace");
    let (exit, said) = contain();
    assert_eq!(exit, Some(12), "{said}");
    let until = process.json(&["rotation", "show", "billing/key"])["run"]["grace_until"].clone();
    let until = format!("`billing/key` version 1 until {}", until.as_str().unwrap());
    assert!(said.contains(&until), "{said}");
    // And no more when it works no more
    process.good(&["rotation", "revoke-previous", "billing/key"], b"");
    wait_until(|| process.json(&["rotation", "show", "billing/key"])["run"].is_null());
    let (exit, said) = contain();
    assert!(exit == Some(0) && !said.contains("revoke-previous"), "{said}");
}

#[test]
fn a_rotation_in_its_grace_period_is_ended_before_the_next_one() {
    // Given an agent that has read the present value, during the grace period of the previous one
    let service = Webhook::start("the-first-key");
    let process = with_rotation(&service);
    process.good(&["secret", "rotate", "billing/key"], b"");
    wait_until(|| process.json(&["secret", "show", "billing/key"])["current"] == 2);
    process.good_as("bill", &["get", "billing/key"], b"");
    let known = process.good(&["incident", "value", "-", "-o", "json"], b"the-first-key");
    let known: Value = serde_json::from_slice(&known).unwrap();
    let (found, expected) = (&known["found"][0], (&json!(1), &json!(true)));
    assert_eq!((&found["version"], &found["accepted"]), expected, "the previous one works, too: {known}");
    // When it is contained, and what it has read is to be rotated
    let args = ["contain", "bill", "--reason", "leaked", "--rotate-touched"];
    let done = process.run_as("operator", &args, b"");
    // Then the commands are named in the order in which they are accepted
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(12), "{said}");
    let commands = "`keyward rotation revoke-previous billing/key`, then `keyward secret rotate billing/key`";
    assert!(said.contains(commands), "{said}");
    process.good(&["rotation", "revoke-previous", "billing/key"], b"");
    let rotate = || process.run_as("operator", &["secret", "rotate", "billing/key"], b"").status.success();
    wait_until(rotate);
}
