//! Certificates that are refused are counted, summarised in the ledger, and an alarm if their holder is contained.

use keyward::base::limits::REFUSED_SUMMARY_S;
use serde_json::{Value, json};

use super::{agent, contained};
use crate::support::broker::{Agent, Caller, TestBroker};
use crate::support::process::Process;
use crate::support::waiting::until;

/// Tries to connect from `source`, and is refused.
async fn refused_from(agent: &Agent, source: [u8; 4]) {
    // In TLS 1.3 the client learns of the refusal at its first request.
    if let Ok(mut connection) = agent.caller.connect_from(source).await {
        assert!(connection.send("GET", "/v1/whoami", &[], b"").await.is_err());
    }
}

async fn metric(operator: &Caller, sample: &str) -> bool {
    let text = operator.get("/metrics").await.text();
    text.lines().any(|line| line == sample)
}

async fn later(broker: &TestBroker) {
    broker.clock.advance_s(u32::try_from(REFUSED_SUMMARY_S).unwrap());
    broker.look_after().await;
}

#[tokio::test]
async fn a_contained_agent_that_keeps_trying_is_an_alarm() {
    // Given an agent with an open connection, and its containment
    let broker = TestBroker::declared().await;
    let (bot, operator) = (broker.agent("bot", &["repo-reader"]).await, broker.operator());
    let incident = contained(&operator, agent("bot")).await;
    // When its program connects again, then the ledger has it at once, before the upkeep of the next minute
    refused_from(&bot, [127, 0, 0, 7]).await;
    until(async || broker.entries("certificate.refused").await.len() == 1).await;
    // When it goes on, from two addresses
    for source in [[127, 0, 0, 7], [127, 0, 0, 8]] {
        refused_from(&bot, source).await;
    }
    // Then there is one alarm for each address, and a metric
    assert!(metric(&operator, "keyward_alarms_total{alarm=\"contained_subject_refused\"} 2").await);
    let sample =
        "keyward_refused_certificates_total{identity=\"agent\",reason=\"contained\",stage=\"handshake\"} 3";
    assert!(metric(&operator, sample).await);
    // And one entry with the counts, which the agent and the address find
    later(&broker).await;
    let entries = broker.entries("certificate.refused").await;
    assert_eq!(entries.len(), 2);
    let refused = &entries[1]["event"]["callers"];
    let times =
        |presented: u64, source: &str| json!({ "source": source, "presented": presented, "requests": 0 });
    assert_eq!(
        *refused,
        json!([{
            "kind": "agent", "name": "bot", "reason": "contained", "incidents": [incident],
            "sources": [times(1, "127.0.0.7"), times(1, "127.0.0.8")],
        }])
    );
    // And the incident and the report about the agent say that it goes on
    let shown = operator.get(&format!("/v1/incidents/{incident}")).await.json()["refused"].clone();
    assert_eq!((&shown["count"], &shown["last_source"]), (&json!(3), &json!("127.0.0.8")), "{shown}");
    let body = json!({ "subject": agent("bot"), "since": "1h" });
    let shown = operator.post_json("/v1/subject-reports", &body).await.json()["refused"].clone();
    assert_eq!(shown["count"], 3, "{shown}");
    for filter in ["agent=bot", "source=127.0.0.8"] {
        let page =
            operator.get(&format!("/v1/ledger/entries?kind=certificate.refused&{filter}")).await.json();
        let expected = if filter == "agent=bot" { 2 } else { 1 };
        assert_eq!(page["items"].as_array().unwrap().len(), expected, "{filter}");
    }
    assert_eq!(entries[0]["event"]["others"], Value::Null);
}

#[tokio::test]
async fn there_is_at_most_one_summary_a_minute_of_refusals() {
    let broker = TestBroker::declared().await;
    let (bot, operator) = (broker.agent("bot", &["repo-reader"]).await, broker.operator());
    let reply = operator.post_json("/v1/agents/bot/suspend", &json!({})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let mut count = 0;
    for (expected, wait) in [(1, false), (1, false), (2, true)] {
        refused_from(&bot, [127, 0, 0, 1]).await;
        if wait {
            later(&broker).await;
        } else {
            broker.look_after().await;
        }
        assert_eq!(broker.entries("certificate.refused").await.len(), expected);
        // The report counts those too that no entry has yet.
        count += 1;
        let body = json!({ "subject": agent("bot"), "since": "1h" });
        let shown = operator.post_json("/v1/subject-reports", &body).await.json()["refused"].clone();
        assert_eq!(shown["count"], count, "{shown}");
    }
    let entries = broker.entries("certificate.refused").await;
    let presented = |entry: &Value| entry["event"]["callers"][0]["sources"][0]["presented"].clone();
    assert_eq!((presented(&entries[0]), presented(&entries[1])), (json!(1), json!(2)));
    assert_eq!(entries[0]["event"]["callers"][0]["reason"], "suspended");
    // A suspended agent is no alarm, and a minute without refusals no entry.
    assert!(metric(&operator, "keyward_alarms_total{alarm=\"contained_subject_refused\"} 0").await);
    later(&broker).await;
    assert_eq!(broker.entries("certificate.refused").await.len(), 2);
}

#[tokio::test]
async fn a_certificate_of_another_authority_names_no_agent() {
    // Given the certificate of an agent of the same name at another broker
    let broker = TestBroker::declared().await;
    let other = TestBroker::declared().await;
    let stranger = other.agent("bot", &["repo-reader"]).await;
    let key = stranger.key.clone();
    let caller = broker.caller(broker.agents(), Some(&stranger.certificate), Some(&key));
    let stranger = Agent { caller, certificate: stranger.certificate.clone(), key };
    // When it is presented
    refused_from(&stranger, [127, 0, 0, 9]).await;
    later(&broker).await;
    // Then the entry has the source, and not the name that the certificate claims
    let entries = broker.entries("certificate.refused").await;
    let refused = &entries[0]["event"]["callers"][0];
    let expected = json!({
        "kind": "unknown", "reason": "authority_unknown",
        "sources": [{ "source": "127.0.0.9", "presented": 1, "requests": 0 }],
    });
    assert_eq!(*refused, expected);
    let sample = "keyward_refused_certificates_total{identity=\"unknown\",reason=\"authority_unknown\",stage=\"handshake\"} 1";
    assert!(metric(&broker.operator(), sample).await);
}

#[test]
fn an_operator_in_a_contained_network_is_told_so() {
    // Given two admins
    let mut process = Process::init("warn");
    process.serve();
    let code = process.good(&["operator", "invite", "eve", "--role", "admin"], b"");
    process.good_as("eve", &["join"], &code);
    // When one of them contains the network of both, which spares only itself
    process.good_as("eve", &["contain", "network/127.0.0.0/8", "--reason", "test"], b"");
    process.good_as("eve", &["whoami", "--operator"], b"");
    // Then the command of the other one, whose certificate is not from that network, names the cause and the way out
    let output = process.run_as("operator", &["whoami", "--operator"], b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("error: network_contained"), "{said}");
    assert!(said.contains("another network") && said.contains("`keyward init --reissue-operator`"), "{said}");
}

#[tokio::test]
async fn a_refused_request_of_a_contained_network_is_counted() {
    // Given an agent with an open connection from a network
    let broker = TestBroker::declared().await;
    let (bot, operator) = (broker.agent("bot", &["repo-reader"]).await, broker.operator());
    let network = json!({ "kind": "network", "name": "127.0.0.7/32" });
    contained(&operator, network).await;
    // When it connects from there: the handshake is not refused, because it judges the certificate alone
    let mut connection = bot.caller.connect_from([127, 0, 0, 7]).await.unwrap();
    let reply = connection.send("GET", "/v1/whoami", &[], b"").await.unwrap();
    // Then its request is refused with the reason, the connection ends, and it is counted
    assert_eq!((reply.status, reply.code().as_str()), (401, "network_contained"));
    assert_eq!(reply.headers["connection"], "close");
    assert!(connection.send("GET", "/v1/whoami", &[], b"").await.is_err());
    let sample =
        "keyward_refused_certificates_total{identity=\"agent\",reason=\"contained\",stage=\"request\"}";
    until(async || operator.get("/metrics").await.text().contains(sample)).await;
}
