//! The report about a subject: what it reached, from where, what it holds, and what is unusual.

use keyward::base::Timestamp;
use keyward::base::limits::{LEEWAY_S, REPORT_ENTRIES_READ_MAX};
use serde_json::{Value, json};

use super::agent;
use crate::operators::{join, standing, teams};
use crate::refusals::refused;
use crate::support::broker::{Agent, Caller, TestBroker};

async fn report(by: &Caller, subject: Value, since: &str) -> Value {
    let reply = by.post_json("/v1/subject-reports", &json!({ "subject": subject, "since": since })).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

async fn read_from(agent: &Agent, source: [u8; 4]) {
    let mut connection = agent.caller.connect_from(source).await.unwrap();
    let form = b"grant_type=client_credentials&scope=github.repo.read";
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let reply = connection.send("POST", "/oauth/token", &headers, form).await.unwrap().json();
    let bearer = format!("Bearer {}", reply["access_token"].as_str().unwrap());
    let headers = [("authorization", bearer.as_str())];
    assert_eq!(connection.send("GET", "/v1/secrets/github/app", &headers, b"").await.unwrap().status, 200);
}

fn texts<'a>(items: &'a Value, field: &str) -> Vec<&'a str> {
    items.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap_or_default()).collect()
}

#[tokio::test]
async fn a_report_says_what_an_agent_reached_and_what_is_unusual() {
    // Given an agent that reads a secret as usual, and two days later from another address
    let broker = TestBroker::declared().await;
    let (bot, operator) = (broker.agent("bot", &["repo-reader"]).await, broker.operator());
    broker.agent("other", &["repo-reader"]).await;
    read_from(&bot, [127, 0, 0, 1]).await;
    broker.clock.advance_s(8 * 3600);
    read_from(&bot, [127, 0, 0, 9]).await;
    assert_eq!(bot.ask("grant_type=client_credentials&scope=reports.read").await.status, 400);
    // When a responder asks about the last hour
    let entries = broker.entries("ledger.read").await.len();
    let shown = report(&operator, agent("bot"), "1h").await;
    // Then the report has the version that it read, and the agents that may read it
    let secret = &shown["secrets"][0];
    assert_eq!(
        (&secret["secret"], &secret["version"], &secret["count"]),
        (&json!("github/app"), &json!(1), &json!(1))
    );
    assert_eq!(secret["readers"], json!({ "count": 1, "names": ["bot"] }));
    assert_eq!(secret["can_read"], json!({ "count": 2, "names": ["bot", "other"] }));
    assert_eq!((&secret["is_current"], &secret["has_rotation"]), (&json!(true), &json!(false)));
    // And when this version was stored, and read
    let times = ["stored_at", "first", "last"].map(|field| secret[field].as_str().unwrap().to_owned());
    assert!(times[0] < times[1] && times[1] == times[2], "{times:?}");
    // And its sources, with the one that is new
    assert_eq!(texts(&shown["sources"], "source"), ["127.0.0.1", "127.0.0.9"]);
    assert_eq!(
        (texts(&shown["unusual"], "what"), texts(&shown["unusual"], "which")),
        (vec!["new-source"], vec!["127.0.0.9"])
    );
    // And what it may do, and what it holds
    assert_eq!(texts(&shown["capabilities"], "capability"), ["github.repo.read"]);
    let used: Vec<bool> =
        shown["capabilities"].as_array().unwrap().iter().map(|one| one["used"].as_bool().unwrap()).collect();
    assert_eq!(used, [true]);
    assert_eq!(texts(&shown["credentials"], "kind"), ["certificate", "token"]);
    assert!(shown["credentials"].as_array().unwrap().iter().all(|one| one["accepted"] == true), "{shown}");
    assert_eq!((&shown["denied"], &shown["entries"]["complete"]), (&json!(1), &json!(true)));
    assert!(shown["entries"]["read"].as_u64().unwrap() < REPORT_ENTRIES_READ_MAX);
    // And the reading is recorded
    assert_eq!(broker.entries("ledger.read").await.len(), entries + 1);
    // And after a containment nothing is accepted
    super::contained(&operator, agent("bot")).await;
    let shown = report(&operator, agent("bot"), "1h").await;
    assert!(shown["credentials"].as_array().unwrap().iter().all(|one| one["accepted"] == false), "{shown}");
}

#[tokio::test]
async fn a_report_says_what_an_operator_did_and_holds() {
    // Given an operator that invited an agent and an operator, and looked at the ledger
    let broker = TestBroker::declared().await;
    let (eve, operator) = (join(&broker, "eve", &standing("admin", None)).await, broker.operator());
    let made = eve.caller.post_json("/v1/agents/bot/invitations", &json!({ "roles": ["repo-reader"] })).await;
    let invited = eve.caller.post_json("/v1/operators/ann/invitations", &standing("auditor", None)).await;
    assert_eq!((made.status, invited.status), (201, 201), "{}", invited.text());
    assert_eq!(eve.caller.get("/v1/ledger/entries?kind=agent.invited").await.status, 200);
    // When a responder asks about it
    let shown = report(&operator, json!({ "kind": "operator", "name": "eve" }), "1h").await;
    // Then the report counts what it did by kind, and not what others did to it
    let acts = shown["acts"].as_array().unwrap();
    let count = |kind: &str| acts.iter().find(|act| act["kind"] == kind).map(|act| act["count"].clone());
    assert_eq!(count("agent.invited"), Some(json!(1)), "{shown}");
    assert_eq!(
        (count("ledger.read"), count("operator.invited")),
        (Some(json!(1)), Some(json!(1))),
        "{shown}"
    );
    assert!(acts.iter().all(|act| act["last"].is_string() && act["first"].is_string()), "{shown}");
    // And has its certificate, and the codes that it made
    let held = |kind: &str| -> Vec<Value> {
        let all = shown["credentials"].as_array().unwrap().iter();
        all.filter(|one| one["kind"] == kind && one["accepted"] == true).cloned().collect()
    };
    assert_eq!(held("certificate").len(), 1, "{shown}");
    let codes = held("enrolment-code");
    let mut made_for: Vec<&str> = codes.iter().map(|code| code["made_for"].as_str().unwrap()).collect();
    made_for.sort_unstable();
    assert_eq!(made_for, ["agent/bot", "operator/ann"], "{shown}");
    assert!(codes.iter().any(|code| code["id"] == made.json()["code_id"]), "{shown}");
    // And after a containment none of them is accepted
    super::contained(&operator, json!({ "kind": "operator", "name": "eve" })).await;
    let shown = report(&operator, json!({ "kind": "operator", "name": "eve" }), "1h").await;
    assert!(shown["credentials"].as_array().unwrap().iter().all(|one| one["accepted"] == false), "{shown}");
}

#[tokio::test]
async fn a_first_use_is_unusual_and_a_bad_request_is_refused() {
    let broker = TestBroker::declared().await;
    let (bot, operator) = (broker.agent("bot", &["repo-reader"]).await, broker.operator());
    read_from(&bot, [127, 0, 0, 1]).await;
    let shown = report(&operator, agent("bot"), "6h").await;
    assert_eq!(texts(&shown["unusual"], "what"), ["first-use"]);
    let ask = async |subject: Value, since: &str| {
        operator.post_json("/v1/subject-reports", &json!({ "subject": subject, "since": since })).await
    };
    refused(&ask(agent("nobody"), "1h").await, 404, "subject_unknown");
    refused(&ask(agent("bot"), "yesterday").await, 400, "json_invalid");
    let role = ask(json!({ "kind": "role", "name": "repo-reader" }), "1h").await;
    refused(&role, 400, "subject_form_unknown");
    assert!(role.json()["fix"].as_str().unwrap().contains("agent/NAME"), "{}", role.text());
}

#[tokio::test]
async fn tokens_of_a_subject_end_with_the_last_one_of_them() {
    let broker = TestBroker::declared().await;
    let (bot, operator) = (broker.agent("bot", &["repo-reader"]).await, broker.operator());
    bot.token("github.repo.read").await;
    let minted = broker.entries("token.minted").await;
    let ends = Timestamp::parse(minted[0]["event"]["expires_at"].as_str().unwrap()).unwrap();
    let by = ends.plus_s(LEEWAY_S).to_string();
    let preview = |subject: Value| {
        let body = json!({ "subject": subject });
        let operator = broker.operator();
        async move { operator.post_json("/v1/incident-previews", &body).await.json() }
    };
    // The issue names agent, token and capability; a role has the latest possible end
    for (subject, is_known) in [
        (agent("bot"), true),
        (json!({ "kind": "token", "id": minted[0]["event"]["token"] }), true),
        (json!({ "kind": "capability", "name": "github.repo.read" }), true),
        (json!({ "kind": "role", "name": "repo-reader" }), false),
    ] {
        let shown = preview(subject).await;
        assert_eq!(shown["reach"]["tokens_expire_by"] == by.as_str(), is_known, "{shown}");
    }
    let incident = super::contained(&operator, agent("bot")).await;
    let shown = operator.get(&format!("/v1/incidents/{incident}")).await.json();
    assert_eq!(shown["reach"]["tokens_expire_by"], by);
}

#[tokio::test]
async fn an_owner_and_everything_have_reports() {
    let (broker, red, _) = teams().await;
    for team in ["red", "blue"] {
        let bot = broker.agent(&format!("{team}-bot"), &[]).await;
        bot.secret(&format!("{team}/app"), &bot.token(&format!("{team}.read")).await).await;
    }
    let (own, all) = (json!({ "kind": "owner", "name": "red" }), json!({ "kind": "everything" }));
    for (by, subject, secrets) in [
        (&broker.operator(), &own, &["red/app"][..]),
        (&broker.operator(), &all, &["blue/app", "red/app"]),
        (&red, &own, &["red/app"]),
    ] {
        let shown = report(by, subject.clone(), "1h").await;
        let mut read = texts(&shown["secrets"], "secret");
        read.sort_unstable();
        assert_eq!(read, secrets, "{subject}");
    }
    let body = json!({ "subject": all, "since": "1h" });
    refused(&red.post_json("/v1/subject-reports", &body).await, 403, "operator_scope_insufficient");
}

#[tokio::test]
async fn a_team_gets_reports_about_its_own_agents() {
    let (broker, red, _) = teams().await;
    let bot = broker.agent("red-bot", &[]).await;
    bot.secret("red/app", &bot.token("red.read").await).await;
    broker.agent("blue-bot", &[]).await;
    let shown = report(&red, agent("red-bot"), "1h").await;
    assert_eq!(texts(&shown["secrets"], "secret"), ["red/app"]);
    assert_eq!(shown["secrets"][0]["readers"]["names"], json!(["red-bot"]));
    let body = json!({ "subject": agent("blue-bot"), "since": "1h" });
    refused(&red.post_json("/v1/subject-reports", &body).await, 404, "subject_unknown");
}
