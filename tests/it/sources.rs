//! Sources: the address and the connection of a request, in its entries and log lines.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::broker::{Caller, Connection, TestBroker};
use crate::support::waiting::until;

const FORM: &str = "application/x-www-form-urlencoded";

async fn ask(connection: &mut Connection, scope: &str) -> Value {
    let form = format!("grant_type=client_credentials&scope={scope}");
    let headers = [("content-type", FORM)];
    connection.send("POST", "/oauth/token", &headers, form.as_bytes()).await.unwrap().json()
}

async fn read(connection: &mut Connection, token: &str) {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let reply = connection.send("GET", "/v1/secrets/github/app", &headers, b"").await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// The kind and the connection of each entry that `query` finds with an index that has all entries.
async fn found(operator: &Caller, query: &str) -> Vec<(String, String)> {
    let mut page = Value::Null;
    until(async || {
        page = operator.get(&format!("/v1/ledger/entries?{query}")).await.json();
        page["indexed_through"] == page["head"]
    })
    .await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| (text(&item["kind"]), text(&item["event"]["connection"]))).collect()
}

#[tokio::test]
async fn entries_of_a_request_have_its_source_and_connection() {
    // Given an agent with one connection from one address, and another connection from another one
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let mut first = agent.caller.connect_from([127, 0, 0, 7]).await.unwrap();
    let mut second = agent.caller.connect_from([127, 0, 0, 8]).await.unwrap();
    // When it gets a token, reads a secret, and is refused on the first; and gets a token on the second
    let token = ask(&mut first, "github.repo.read").await["access_token"].as_str().unwrap().to_owned();
    read(&mut first, &token).await;
    assert!(ask(&mut first, "reports.read").await["access_token"].is_null());
    ask(&mut second, "github.repo.read").await;
    // Then the address finds the entries of the first connection, which name it
    let operator = broker.operator();
    let of_first = found(&operator, "source=127.0.0.7").await;
    let kinds: Vec<&str> = of_first.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["token.minted", "secret.revealed", "request.denied"]);
    let ids: BTreeSet<&str> = of_first.iter().map(|(_, connection)| connection.as_str()).collect();
    assert!(ids.len() == 1 && ids.iter().all(|id| id.starts_with("conn_")), "{ids:?}");
    // And those of the second have another connection
    let of_second = found(&operator, "source=127.0.0.8").await;
    assert_eq!(of_second.len(), 1);
    assert!(!ids.contains(of_second[0].1.as_str()), "{of_second:?}");
    // And a network finds both
    assert_eq!(found(&operator, "source=127.0.0.0%2F28&kind=token.minted").await.len(), 2);
}

#[tokio::test]
async fn no_request_of_a_listener_leaves_an_entry_without_source() {
    let broker = TestBroker::declared().await;
    let (agent, operator) = (broker.agent("a", &["repo-reader"]).await, broker.operator());
    agent.secret("github/app", &agent.token("github.repo.read").await).await;
    agent.secret("github/app", "no token").await;
    for (path, body) in [
        ("/v1/agents/a/suspend", json!({ "reason": "a test" })),
        ("/v1/agents/a/resume", json!({})),
        ("/v1/operators/o/invitations", json!({ "role": "auditor" })),
        ("/v1/incidents", json!({ "subject": { "kind": "agent", "name": "a" }, "reason": "a test" })),
        ("/v1/freeze", json!({ "reason": "a test" })),
        ("/v1/thaw", json!({ "reason": "a test" })),
        ("/v1/agents/a/delete", json!({})),
    ] {
        let reply = operator.post_json(path, &body).await;
        assert!(reply.status < 300, "{path}: {}", reply.text());
    }
    // What the broker records by itself, or what follows from a recorded request
    let own = ["broker.started", "certificate.recorded"];
    let page = operator.get("/v1/ledger/entries?limit=500").await.json();
    let items = page["items"].as_array().unwrap();
    assert!(items.len() > 15, "{}", items.len());
    // The first entries are those of `init` and of the start.
    let begin = items.iter().position(|item| item["event"]["source"].is_string()).unwrap();
    for item in &items[begin..] {
        let is_own = own.contains(&item["kind"].as_str().unwrap());
        let has_source = item["event"]["source"] == "127.0.0.1" && item["event"]["connection"].is_string();
        assert!(has_source || is_own, "{item}");
    }
}
