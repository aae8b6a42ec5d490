//! Quotas of operators, and heavy requests: how many are under way, and who is answered meanwhile.

use keyward::base::limits::{HEAVY_PER_OPERATOR_MAX, HEAVY_REQUESTS_MAX};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::refusals::refused;
use crate::support::broker::{Caller, TestBroker};

/// More than any wait for a request to arrive takes.
const LOOKS_MAX: usize = 1000;

/// A plan that is under way: its body has not come yet.
async fn begun(operator: &Caller) -> TlsStream<TcpStream> {
    let before = under_way(operator).await;
    let mut stream = operator.open().await.unwrap();
    let head = "POST /v1/plan HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 12\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    for _ in 0..LOOKS_MAX {
        if under_way(operator).await > before {
            return stream;
        }
    }
    panic!("the request was never taken on");
}

async fn under_way(operator: &Caller) -> usize {
    let text = operator.get("/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix("keyward_heavy_requests "));
    line.unwrap().parse().unwrap()
}

async fn ended(mut stream: TlsStream<TcpStream>) -> String {
    stream.write_all(b"{\"files\":[]}").await.unwrap();
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer).await);
    answer
}

#[tokio::test]
async fn an_operator_has_two_heavy_requests_under_way_and_revokes_all_the_same() {
    let broker = TestBroker::declared().await;
    broker.agent("a", &["publisher"]).await;
    let operator = broker.operator();
    let mut under_way = Vec::new();
    for _ in 0..HEAVY_PER_OPERATOR_MAX {
        under_way.push(begun(&operator).await);
    }
    let plan = json!({ "files": [{ "name": "a.toml", "text": "" }] });
    let beyond = operator.post_json("/v1/plan", &plan).await;
    refused(&beyond, 429, "heavy_requests_of_operator");
    assert_eq!(beyond.header("retry-after"), "1");
    refused(&operator.get("/v1/rotation-calendar").await, 429, "heavy_requests_of_operator");
    refused(&operator.get("/v1/ledger/entries").await, 429, "heavy_requests_of_operator");

    let revoked = operator.post_json("/v1/agents/a/revoke", &json!({})).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    assert_eq!(operator.get("/livez").await.status, 200);

    for stream in under_way {
        assert!(ended(stream).await.contains("files_count"), "the body came, and was judged");
    }
    assert_eq!(operator.post_json("/v1/plan", &plan).await.status, 200);
    const { assert!(HEAVY_PER_OPERATOR_MAX < HEAVY_REQUESTS_MAX) };
}

#[tokio::test]
async fn an_operator_beyond_its_quota_waits_and_revokes_all_the_same() {
    let broker = TestBroker::start_with("[quota]\noperations_per_s = 1\noperations_burst = 2\n").await;
    let operator = broker.operator();
    assert_eq!(operator.get("/v1/whoami").await.status, 200);
    assert_eq!(operator.get("/v1/agents").await.status, 200);
    let beyond = operator.get("/v1/agents").await;
    refused(&beyond, 429, "rate_limited");
    assert_eq!(beyond.header("retry-after"), "2");
    // There is no such agent: it was looked for.
    refused(&operator.post_json("/v1/agents/a/revoke", &json!({})).await, 404, "agent_unknown");
    refused(&operator.post_json("/v1/operators/b/suspend", &json!({})).await, 404, "operator_unknown");
    broker.clock.advance_s(1);
    assert_eq!(operator.get("/v1/agents").await.status, 200);
}
