//! The effects of a containment, as they happen: ends of leases, closed connections.

use keyward::base::limits::CLOSED_CONNECTIONS_MAX;
use keyward::base::{Clock, ManualClock, Timestamp};
use keyward::broker::OpenConnections;
use keyward::pki::PeerCertificate;
use serde_json::{Value, json};

use super::{agent, contained};
use crate::leases::Scene;
use crate::operators::{join, standing};
use crate::support::broker::{Caller, TestBroker};
use crate::support::waiting::until;

async fn effects(by: &Caller, incident: &str, after: u64) -> Value {
    let reply = by.get(&format!("/v1/incidents/{incident}/effects?after={after}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[tokio::test]
async fn open_connections_of_the_subject_are_closed_and_counted() {
    // Given two connections of an agent, one of another agent, and one of an operator
    let broker = TestBroker::declared().await;
    let bot = broker.agent("orders-bot", &["publisher"]).await;
    let other = broker.agent("other-bot", &["publisher"]).await;
    let (mut first, mut second) = (bot.caller.connect().await.unwrap(), bot.caller.connect().await.unwrap());
    let mut others = other.caller.connect().await.unwrap();
    for open in [&mut first, &mut second, &mut others] {
        assert_eq!(open.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    }
    // When the agent is contained
    let admin = broker.operator();
    let incident = contained(&admin, agent("orders-bot")).await;
    // Then its connections are closed and counted, and those of others are not
    until(async || effects(&admin, &incident, 0).await["connections"]["closed"] == 2).await;
    let shown = effects(&admin, &incident, 0).await;
    assert_eq!((&shown["pending"], &shown["connections"]["open"]), (&false.into(), &0.into()), "{shown}");
    assert!(shown["connections"]["last_closed_ms"].is_u64(), "{shown}");
    for open in [&mut first, &mut second] {
        assert!(open.send("GET", "/v1/whoami", &[], b"").await.is_err());
    }
    assert_eq!(others.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    // And a connection that was closed before does not count for a later containment
    let later = contained(&admin, json!({ "kind": "role", "name": "publisher" })).await;
    assert_eq!(effects(&admin, &later, 0).await["connections"]["closed"], 0);
}

#[tokio::test]
async fn a_spared_operator_keeps_its_connection_and_nothing_is_pending() {
    let broker = TestBroker::declared().await;
    let (admin, alice) = (broker.operator(), join(&broker, "alice", &standing("admin", None)).await);
    let mut open = alice.caller.connect().await.unwrap();
    assert_eq!(open.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    let mut own = admin.connect().await.unwrap();
    assert_eq!(own.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    let incident = contained(&admin, json!({ "kind": "network", "name": "127.0.0.0/8" })).await;
    until(async || effects(&admin, &incident, 0).await["connections"]["closed"] == 1).await;
    assert!(open.send("GET", "/v1/whoami", &[], b"").await.is_err());
    assert_eq!(own.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    assert_eq!(effects(&admin, &incident, 0).await["pending"], false);
}

#[tokio::test]
async fn ends_of_leases_are_effects_of_the_containment_with_their_time() {
    // Given a lease of an agent, and a session of its login
    let scene = Scene::start().await;
    let login = scene.lease(&json!({})).await;
    let mut session = scene.session(&login);
    let admin = scene.broker.operator();
    // When the agent is contained, then the lease is pending until its login has ended
    let incident = contained(&admin, agent("orders-bot")).await;
    let before = effects(&admin, &incident, 0).await;
    assert_eq!((&before["leases"]["pending"], &before["pending"]), (&1.into(), &true.into()), "{before}");
    scene.broker.end_due_leases().await;
    assert!(!session.wait().unwrap().success());
    let after = effects(&admin, &incident, 0).await;
    assert_eq!((&after["leases"]["pending"], &after["pending"]), (&0.into(), &false.into()), "{after}");
    let items = after["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{after}");
    assert_eq!((&items[0]["what"], &items[0]["lease"]), (&"lease.ended".into(), &json!(login.id())));
    assert!(items[0]["ms"].is_u64());
    // And a reader that continues at its cursor gets nothing twice
    let next = after["next_after"].as_u64().unwrap();
    assert_eq!(effects(&admin, &incident, next).await["items"], json!([]));
}

#[tokio::test]
async fn a_login_that_cannot_be_ended_is_listed_with_its_cause() {
    let mut scene = Scene::start().await;
    scene.lease(&json!({})).await;
    scene.postgres.stop();
    let admin = scene.broker.operator();
    let incident = contained(&admin, agent("orders-bot")).await;
    scene.broker.end_due_leases().await;
    let shown = effects(&admin, &incident, 0).await;
    let failed = &shown["leases"]["failed"][0];
    assert_eq!((&shown["pending"], &failed["agent"]), (&true.into(), &"orders-bot".into()), "{shown}");
    assert!(failed["code"].is_string() && failed["failures"] == 1, "{shown}");
    assert_eq!(shown["items"][0]["what"], "lease.revocation-failed");
}

#[tokio::test]
async fn so_many_closed_connections_are_remembered() {
    let broker = TestBroker::declared().await;
    let bot = broker.agent("orders-bot", &["publisher"]).await;
    let der = pem::parse(bot.certificate.as_bytes()).unwrap().into_contents();
    let peer = PeerCertificate::parse(&der).unwrap();
    let (connections, clock) =
        (OpenConnections::default(), ManualClock::new(Timestamp::from_s(1_800_000_000)));
    for _ in 0..=CLOSED_CONNECTIONS_MAX {
        connections.opened(&peer);
        connections.ended(&peer, clock.now(), true);
    }
    assert_eq!(connections.closed_since(clock.now()).len(), CLOSED_CONNECTIONS_MAX);
    assert!(connections.open().is_empty());
    assert!(connections.closed_since(clock.now().plus_s(1)).is_empty());
}
