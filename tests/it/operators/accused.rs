//! What an operator is not shown of an incident about itself.

use keyward::base::limits::VALUE_CHECKS_PER_MINUTE;
use serde_json::{Value, json};

use super::audit::{entries, kinds};
use super::owners::teams;
use super::{join, refused, standing};
use crate::support::broker::Caller;

#[tokio::test]
async fn an_accused_operator_does_not_read_the_incident_about_itself() {
    // Given an incident about two operators and an agent of a team, with a note
    let (broker, ..) = teams().await;
    let admin = broker.operator();
    let mut callers = Vec::new();
    for (name, role, owner) in
        [("rita", "auditor", Some("red")), ("ron", "auditor", Some("red")), ("ann", "auditor", None)]
    {
        callers.push(join(&broker, name, &standing(role, owner)).await.caller);
    }
    let sam = join(&broker, "sam", &standing("security", None)).await.caller;
    let subject = |kind: &str, name: &str| json!({ "kind": kind, "name": name });
    let subjects = ["rita", "ann", "sam"].map(|name| subject("operator", name));
    let subjects = [&subjects[..], &[subject("agent", "red-bot")]].concat();
    let opened = json!({ "subjects": subjects, "reason": "strange queries" });
    let opened = admin.post_json("/v1/incident-records", &opened).await;
    assert_eq!(opened.status, 200, "{}", opened.text());
    let incident = opened.json()["incident"].as_str().unwrap().to_owned();
    let path = format!("/v1/incidents/{incident}");
    let note = json!({ "text": "her laptop at night" });
    let noted = admin.post_json(&format!("{path}/notes"), &note).await.json()["seq"].clone();
    // When they read the ledger, then the accused find no step of it, and their colleague does
    let steps = async |by: &Caller| {
        let seen = entries(by, 500).await;
        kinds(&seen).iter().filter(|kind| kind.starts_with("incident.")).count()
    };
    assert_eq!((steps(&callers[0]).await, steps(&callers[1]).await), (0, 2));
    let page = async |by: &Caller| by.get(&format!("/v1/ledger/entries?incident={incident}")).await.json();
    for accused in [&callers[0], &callers[2]] {
        assert_eq!(page(accused).await["items"], json!([]));
        refused(&accused.get(&format!("/v1/ledger/entries/{noted}")).await, 404, "entry_unknown");
        refused(&accused.get(&path).await, 404, "incident_unknown");
    }
    // And no bundle has it: a bundle cannot leave an entry out
    let bundle = async |by: &Caller| {
        by.post_json("/v1/evidence", &json!({ "kind": "agent", "name": "red-bot" })).await
    };
    refused(&bundle(&callers[2]).await, 403, "evidence_about_oneself");
    assert_eq!(bundle(&sam).await.status, 200);
    // And one who may handle every incident sees it all, with the refused request of the accused operator with an owner
    let seen = page(&sam).await["items"].clone();
    let refused = |entry: &&Value| entry["kind"] == "operator.denied";
    let attempts = seen.as_array().unwrap().iter().filter(refused).count();
    assert_eq!((seen.as_array().unwrap().len(), attempts), (3, 1), "{seen}");
    assert_eq!(sam.get(&path).await.json()["notes"][0]["reason"], "her laptop at night");
}

#[tokio::test]
async fn an_operator_that_is_accused_later_reads_none_of_the_steps_before() {
    // Given an incident about an agent, with a note, to which an auditor was added afterwards
    let (broker, ..) = teams().await;
    let admin = broker.operator();
    let ann = join(&broker, "ann", &standing("auditor", None)).await.caller;
    let sam = join(&broker, "sam", &standing("security", None)).await.caller;
    let subject = |kind: &str, name: &str| json!({ "kind": kind, "name": name });
    let body = json!({ "subjects": [subject("agent", "red-bot")], "reason": "strange queries" });
    let opened = admin.post_json("/v1/incident-records", &body).await.json();
    let incident = opened["incident"].as_str().unwrap().to_owned();
    let path = format!("/v1/incidents/{incident}");
    let done = async |path: &str, body: Value| {
        let reply = sam.post_json(path, &body).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    };
    done(&format!("{path}/notes"), json!({ "text": "ann has the key" })).await;
    let agent = json!({ "subject": subject("agent", "red-bot"), "reason": "sure", "incident": incident });
    done("/v1/incidents", agent).await;
    done(&format!("{path}/details"), json!({ "subjects": [subject("operator", "ann")] })).await;
    done(&format!("{path}/lift"), json!({ "reason": "over" })).await;
    done("/v1/evidence", json!({ "kind": "incident", "name": incident })).await;
    for filter in [format!("incident={incident}"), "operator=ann".to_owned()] {
        assert_eq!(sam.get(&format!("/v1/ledger/entries?{filter}")).await.status, 200);
    }
    // When the auditor reads the ledger, then no entry is about the incident, or about a search for it
    let page = ann.get("/v1/ledger/entries?limit=500").await.text();
    assert!(!page.contains(&incident) && !page.contains("operator=ann") && !page.contains("has the key"));
    assert!(sam.get("/v1/ledger/entries?limit=500").await.text().contains("operator=ann"));
    // And no other way leads to it
    for path in [path.clone(), format!("{path}/effects"), format!("{path}/secrets")] {
        refused(&ann.get(&path).await, 404, "incident_unknown");
    }
    for (kind, name, status, code) in [
        ("incident", incident.as_str(), 404, "incident_unknown"),
        ("operator", "ann", 403, "evidence_about_oneself"),
        ("agent", "red-bot", 403, "evidence_about_oneself"),
    ] {
        let reply = ann.post_json("/v1/evidence", &json!({ "kind": kind, "name": name })).await;
        refused(&reply, status, code);
    }
}

#[tokio::test]
async fn a_team_cannot_guess_the_values_of_others_with_texts() {
    // Given the values of two teams
    let (broker, red, blue) = teams().await;
    for (by, name, value) in [(&red, "red/app", "RED-CANARY-1"), (&blue, "blue/app", "BLUE-CANARY-1")] {
        let put = by.put(&format!("/v1/secrets/{name}"), "application/octet-stream", value.as_bytes()).await;
        assert_eq!(put.status, 201, "{}", put.text());
    }
    let body = json!({ "subjects": [{ "kind": "agent", "name": "red-bot" }], "reason": "a test" });
    let opened = red.post_json("/v1/incident-records", &body).await.json();
    let notes = format!("/v1/incidents/{}/notes", opened["incident"].as_str().unwrap());
    // When a team writes the value of another one, then the text is a text like any other
    assert_eq!(red.post_json(&notes, &json!({ "text": "is it BLUE-CANARY-1" })).await.status, 200);
    // And its own value is refused, with an entry that does not have it
    let own = json!({ "text": "is it RED-CANARY-1" });
    refused(&red.post_json(&notes, &own).await, 400, "text_contains_secret");
    let told = broker.entries("text.refused").await;
    assert_eq!(
        (told.len(), &told[0]["event"]["by"], &told[0]["event"]["found"]),
        (1, &json!("rhea"), &json!("value"))
    );
    assert!(!told[0].to_string().contains("CANARY"));
    // And nothing is compared for an incident of others
    refused(
        &blue.post_json(&notes, &json!({ "text": "is it BLUE-CANARY-1" })).await,
        404,
        "incident_unknown",
    );
    assert_eq!(broker.entries("text.refused").await.len(), 1);
    // And the guesses have a limit
    let mut last = red.post_json(&notes, &own).await;
    for _ in 0..VALUE_CHECKS_PER_MINUTE {
        last = red.post_json(&notes, &own).await;
    }
    refused(&last, 429, "rate_limited");
}
