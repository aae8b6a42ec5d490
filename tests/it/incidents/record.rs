//! The record of an incident: its beginning, its subjects, its times and its end.

use keyward::base::limits::{
    INCIDENT_FOLLOW_UPS_MAX, INCIDENT_NOTES_MAX, INCIDENT_PEOPLE_MAX, INCIDENT_SUBJECTS_MAX,
    INCIDENTS_OPEN_MAX,
};
use serde_json::{Value, json};

use super::{agent, contain, contained, lift};
use crate::operators::{join, refused, standing};
use crate::support::broker::{Caller, Reply, TestBroker};

async fn open(by: &Caller, subjects: Value, more: Value) -> Reply {
    let mut body = json!({ "subjects": subjects, "reason": "strange queries" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    by.post_json("/v1/incident-records", &body).await
}

async fn opened(by: &Caller, subjects: Value) -> String {
    let reply = open(by, subjects, json!({})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["incident"].as_str().unwrap().to_owned()
}

async fn contain_in(by: &Caller, incident: &str, subject: Value) -> Reply {
    let body = json!({ "subject": subject, "reason": "of the same thief", "incident": incident });
    by.post_json("/v1/incidents", &body).await
}

async fn post(by: &Caller, incident: &str, what: &str, body: Value) -> Reply {
    by.post_json(&format!("/v1/incidents/{incident}/{what}"), &body).await
}

async fn shown(by: &Caller, incident: &str) -> Value {
    by.get(&format!("/v1/incidents/{incident}")).await.json()
}

/// A broker with two agents of the same role.
async fn two_agents() -> TestBroker {
    let broker = TestBroker::declared().await;
    broker.agent("orders-bot", &["publisher"]).await;
    broker.agent("other-bot", &["publisher"]).await;
    broker
}

#[tokio::test]
async fn a_record_goes_from_the_first_sign_to_its_closing() {
    let mut broker = two_agents().await;
    let admin = broker.operator();
    // Given a record with a first sign that was long ago
    let times = json!({ "first_sign": "2026-01-01T00:00:00Z" });
    let more = json!({ "people": ["ann@corp.example"], "times": times });
    let reply = open(&admin, json!([agent("orders-bot")]), more).await;
    let incident = reply.json()["incident"].as_str().unwrap().to_owned();
    let record = shown(&admin, &incident).await;
    assert_eq!((&record["state"], record.get("contained")), (&"open".into(), None), "{record}");
    assert_eq!(record["reach"]["accepted"], 1, "nothing is refused: {record}");
    // When a subject of it and another one are contained, and notes and people are added
    let joined = contain_in(&admin, &incident, agent("orders-bot")).await.json();
    assert_eq!((&joined["incident"], &joined["new"]), (&json!(incident), &json!(false)), "{joined}");
    assert_eq!(contain_in(&admin, &incident, agent("other-bot")).await.status, 200);
    assert_eq!(post(&admin, &incident, "notes", json!({ "text": "key in a log" })).await.status, 200);
    let details = json!({ "people": ["bob@corp.example"], "subjects": [{ "kind": "everything" }] });
    assert_eq!(post(&admin, &incident, "details", details).await.status, 200);
    // Then the record has all of it, and survives a restart
    broker.take_snapshot().await;
    broker.restart().await;
    let admin = broker.operator();
    let record = shown(&admin, &incident).await;
    assert_eq!(
        (&record["state"], &record["reach"]["accepted"]),
        (&"contained".into(), &0.into()),
        "{record}"
    );
    assert_eq!(record["people"], json!(["ann@corp.example", "bob@corp.example"]));
    assert_eq!(record["notes"][0]["reason"], "key in a log");
    let kinds: Vec<&Value> =
        record["subjects"].as_array().unwrap().iter().map(|one| &one["subject"]).collect();
    assert_eq!(kinds.len(), 3, "{record}");
    assert!(!record["subjects"][1]["contained"].is_null() && record["subjects"][2]["contained"].is_null());
    assert!(record["times"]["to_detect_s"].as_u64().unwrap() > 0, "{record}");
    // And it is closed once one lift has ended all containments
    let cause = json!({ "cause": "key in a log", "follow_ups": ["scan build logs"] });
    refused(&post(&admin, &incident, "close", cause.clone()).await, 409, "incident_still_contains");
    let lifted = lift(&admin, &incident).await.json();
    assert_eq!(
        (&lifted["subject"]["name"], &lifted["subjects"][0]["name"]),
        (&"orders-bot".into(), &"other-bot".into())
    );
    let closed = post(&admin, &incident, "close", cause.clone()).await.json();
    assert_eq!(closed["times"]["recovered"], shown(&admin, &incident).await["lifted"]["at"], "{closed}");
    let record = shown(&admin, &incident).await;
    assert_eq!((&record["state"], &record["closed"]["cause"]), (&"closed".into(), &"key in a log".into()));
    assert_eq!(record["closed"]["follow_ups"], json!(["scan build logs"]));
    // And the metrics have its durations, without its name
    let metrics = admin.get("/metrics").await.text();
    for phase in ["detect", "contain", "recover"] {
        let line = format!("keyward_incident_duration_seconds_count{{phase=\"{phase}\"}} 1");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    assert!(metrics.contains("keyward_incidents_open 0") && !metrics.contains(&incident));
}

#[tokio::test]
async fn a_closed_incident_takes_notes_and_nothing_else() {
    let broker = two_agents().await;
    let admin = broker.operator();
    let incident = opened(&admin, json!([agent("orders-bot")])).await;
    refused(&lift(&admin, &incident).await, 409, "incident_contains_nothing");
    assert_eq!(post(&admin, &incident, "close", json!({ "cause": "a drill" })).await.status, 200);
    refused(&post(&admin, &incident, "close", json!({ "cause": "a drill" })).await, 409, "incident_closed");
    refused(&contain_in(&admin, &incident, agent("orders-bot")).await, 409, "incident_closed");
    let details = json!({ "people": ["bob@corp.example"] });
    refused(&post(&admin, &incident, "details", details).await, 409, "incident_closed");
    assert_eq!(post(&admin, &incident, "notes", json!({ "text": "reported" })).await.status, 200);
    let unknown = format!("inc_{}", "0".repeat(26));
    refused(&post(&admin, &unknown, "notes", json!({ "text": "x" })).await, 404, "incident_unknown");
    refused(&contain_in(&admin, &unknown, agent("orders-bot")).await, 404, "incident_unknown");
}

#[tokio::test]
async fn times_of_an_incident_follow_each_other() {
    let broker = two_agents().await;
    let admin = broker.operator();
    let incident = opened(&admin, json!([agent("orders-bot")])).await;
    let state = async |times: Value| post(&admin, &incident, "details", json!({ "times": times })).await;
    // Given a detection, then an earlier first sign is accepted, and a later one or one in the future is not
    assert_eq!(state(json!({ "detected": "2026-02-01T00:00:00Z" })).await.status, 200);
    assert_eq!(state(json!({ "first_sign": "2026-01-01T00:00:00Z" })).await.status, 200);
    for times in [
        json!({ "first_sign": "2026-02-01T00:00:01Z" }),
        json!({ "contained": "2026-01-31T23:59:59Z" }),
        json!({ "recovered": "9999-01-01T00:00:00Z" }),
        json!({ "detected": "yesterday" }),
    ] {
        let reply = state(times.clone()).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "incident_times_invalid"), "{times}");
    }
    refused(&state(json!({})).await, 400, "incident_incomplete");
    // And a containment elsewhere counts, until the broker itself contains a subject
    assert_eq!(state(json!({ "contained": "2026-02-01T00:01:00Z" })).await.status, 200);
    assert_eq!(shown(&admin, &incident).await["times"]["to_contain_s"], 60);
    assert_eq!(contain_in(&admin, &incident, agent("orders-bot")).await.status, 200);
    refused(&state(json!({ "contained": "2026-02-01T00:01:00Z" })).await, 400, "incident_times_invalid");
    assert!(shown(&admin, &incident).await["times"]["to_contain_s"].as_u64().unwrap() > 60);
    // And the closing checks them too
    assert_eq!(lift(&admin, &incident).await.status, 200);
    let early = json!({ "cause": "a drill", "recovered": "2026-02-01T00:00:30Z" });
    refused(&post(&admin, &incident, "close", early).await, 400, "incident_times_invalid");
}

#[tokio::test]
async fn a_repeated_request_opens_one_incident() {
    let broker = two_agents().await;
    let admin = broker.operator();
    let body = json!({ "subjects": [agent("orders-bot")], "reason": "a drill" }).to_string();
    let headers = [("idempotency-key", "0123456789abcdef0"), ("content-type", "application/json")];
    let first = admin.send("POST", "/v1/incident-records", &headers, body.as_bytes()).await;
    let again = admin.send("POST", "/v1/incident-records", &headers, body.as_bytes()).await;
    assert_eq!((first.status, first.json()), (200, again.json()));
    assert_eq!(admin.get("/v1/incidents").await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_incident_with_a_subject_of_another_owner_is_hidden() {
    let broker = TestBroker::declared().await;
    let teams = "[[agent]]\nname = \"pay-bot\"\nroles = [\"publisher\"]\nowner = \"payments\"\n\n\
                 [[agent]]\nname = \"mail-bot\"\nroles = [\"publisher\"]\nowner = \"mail\"\n";
    assert_eq!(broker.apply(teams).await.status, 200);
    let admin = broker.operator();
    let bound = join(&broker, "bound", &standing("security", Some("payments"))).await.caller;
    // Given a record of an operator with an owner
    refused(&open(&bound, json!([agent("mail-bot")]), json!({})).await, 404, "subject_unknown");
    let own = opened(&bound, json!([agent("pay-bot")])).await;
    assert_eq!(contain_in(&bound, &own, agent("pay-bot")).await.status, 200);
    refused(&contain_in(&bound, &own, agent("mail-bot")).await, 404, "subject_unknown");
    assert_eq!(post(&bound, &own, "notes", json!({ "text": "x" })).await.status, 200);
    // When an admin adds a subject of another owner, then the record is no longer within the scope
    assert_eq!(contain_in(&admin, &own, agent("mail-bot")).await.status, 200);
    refused(&bound.get(&format!("/v1/incidents/{own}")).await, 404, "incident_unknown");
    for (what, body) in [
        ("notes", json!({ "text": "x" })),
        ("details", json!({ "people": ["x"] })),
        ("lift", json!({ "reason": "x" })),
        ("close", json!({ "cause": "x" })),
    ] {
        refused(&post(&bound, &own, what, body).await, 404, "incident_unknown");
    }
    // And it cannot add to an incident of others
    let foreign = contained(&admin, agent("mail-bot")).await;
    refused(&contain_in(&bound, &foreign, agent("pay-bot")).await, 404, "incident_unknown");
}

#[tokio::test]
async fn the_entries_of_a_record_name_all_of_its_subjects() {
    let broker = two_agents().await;
    let admin = broker.operator();
    let incident = opened(&admin, json!([agent("orders-bot"), agent("other-bot")])).await;
    assert_eq!(contain_in(&admin, &incident, agent("orders-bot")).await.status, 200);
    assert_eq!(contain_in(&admin, &incident, agent("other-bot")).await.status, 200);
    assert_eq!(post(&admin, &incident, "notes", json!({ "text": "x" })).await.status, 200);
    assert_eq!(lift(&admin, &incident).await.status, 200);
    assert_eq!(post(&admin, &incident, "close", json!({ "cause": "x" })).await.status, 200);
    // Then each agent is found with every step that concerns it
    for (name, contained) in [("orders-bot", 1), ("other-bot", 1)] {
        let found = admin.get(&format!("/v1/ledger/entries?agent={name}&limit=50")).await.json();
        let of = |kind: &str| {
            let items = found["items"].as_array().unwrap();
            items
                .iter()
                .filter(|entry| entry["kind"] == kind && entry["event"]["incident"] == incident.as_str())
                .count()
        };
        for kind in ["incident.opened", "incident.noted", "incident.lifted", "incident.closed"] {
            assert_eq!(of(kind), 1, "{name}, {kind}: {found}");
        }
        assert_eq!(of("incident.contained"), contained);
    }
}

#[tokio::test]
async fn the_size_of_a_record_is_limited() {
    let broker = two_agents().await;
    let admin = broker.operator();
    let network = |number: usize| json!({ "kind": "network", "name": format!("203.0.113.{number}/32") });
    let networks = |count: usize| (0..count).map(network).collect::<Value>();
    refused(&open(&admin, json!([]), json!({})).await, 400, "incident_incomplete");
    let many = networks(INCIDENT_SUBJECTS_MAX + 1);
    refused(&open(&admin, many, json!({})).await, 409, "incident_full");
    let incident = opened(&admin, networks(INCIDENT_SUBJECTS_MAX)).await;
    // A subject that the record names can be contained, and a further one cannot
    assert_eq!(contain_in(&admin, &incident, network(0)).await.status, 200);
    refused(&contain_in(&admin, &incident, agent("orders-bot")).await, 409, "incident_full");
    assert_eq!(contain(&admin, agent("orders-bot")).await.status, 200, "an incident of its own");
    let people = |count: usize| (0..count).map(|number| json!(format!("p{number}"))).collect::<Value>();
    let details = json!({ "people": people(INCIDENT_PEOPLE_MAX) });
    assert_eq!(post(&admin, &incident, "details", details).await.status, 200);
    refused(
        &post(&admin, &incident, "details", json!({ "people": ["one more"] })).await,
        409,
        "incident_full",
    );
    for _ in 0..INCIDENT_NOTES_MAX {
        assert_eq!(post(&admin, &incident, "notes", json!({ "text": "x" })).await.status, 200);
    }
    refused(&post(&admin, &incident, "notes", json!({ "text": "x" })).await, 409, "incident_full");
    assert_eq!(lift(&admin, &incident).await.status, 200);
    let close = |count: usize| json!({ "cause": "x", "follow_ups": vec!["x"; count] });
    let over = post(&admin, &incident, "close", close(INCIDENT_FOLLOW_UPS_MAX + 1)).await;
    refused(&over, 409, "incident_full");
    assert_eq!(post(&admin, &incident, "close", close(INCIDENT_FOLLOW_UPS_MAX)).await.status, 200);
}

#[tokio::test]
async fn so_many_records_without_a_containment_are_open() {
    let broker = two_agents().await;
    let admin = broker.operator();
    let mut last = String::new();
    for _ in 0..INCIDENTS_OPEN_MAX {
        last = opened(&admin, json!([agent("orders-bot")])).await;
    }
    refused(&open(&admin, json!([agent("orders-bot")]), json!({})).await, 409, "too_many_incidents");
    assert_eq!(contain(&admin, agent("orders-bot")).await.status, 200, "a containment is never refused");
    assert_eq!(post(&admin, &last, "close", json!({ "cause": "x" })).await.status, 200);
    opened(&admin, json!([agent("orders-bot")])).await;
}
