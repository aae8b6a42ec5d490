//! What the lists of agents and operators say about a containment of something that these belong to.

use serde_json::{Value, json};

use super::{agent, contain, contained, lift};
use crate::operators::{HERE, join, standing, teams};
use crate::support::broker::{Caller, TestBroker};

async fn shown(by: &Caller, path: &str) -> Value {
    let reply = by.get(path).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn network(name: &str) -> Value {
    json!({ "kind": "network", "name": name })
}

#[tokio::test]
async fn an_agent_is_contained_with_its_owner_network_and_everything() {
    // Given an agent of a team, with a certificate
    let (broker, red, _) = teams().await;
    let admin = broker.operator();
    broker.agent("red-bot", &["red-reader"]).await;
    assert_eq!(shown(&admin, "/v1/agents/red-bot").await["state"], "active");
    for (subject, form) in [
        (json!({ "kind": "owner", "name": "red" }), "owner/red"),
        (network(HERE), "network/127.0.0.0/8"),
        (json!({ "kind": "everything" }), "everything"),
    ] {
        // When what it belongs to is contained
        let incident = contained(&admin, subject).await;
        // Then the list and the agent itself say so, with the incident and its reason
        let listed = shown(&admin, "/v1/agents").await;
        let listed = listed["items"].as_array().unwrap().iter().find(|one| one["name"] == "red-bot").unwrap();
        let one = shown(&admin, "/v1/agents/red-bot").await;
        for view in [listed, &one] {
            assert_eq!((&view["state"], &view["live_instances"]), (&"contained".into(), &0.into()), "{view}");
            assert_eq!(
                (&view["incident"], &view["reason"]),
                (&json!(incident), &"token in a public log".into())
            );
            assert_eq!(view["containments"][0]["subject"], form, "{view}");
        }
        // And the team sees the state, also where it does not see the incident
        if form == "everything" {
            let own = shown(&red, "/v1/agents/red-bot").await;
            assert_eq!((&own["state"], own.get("incident")), (&"contained".into(), None), "{own}");
            assert_eq!((own.get("reason"), own.get("containments")), (None, None), "{own}");
        }
        assert_eq!(lift(&admin, &incident).await.status, 200);
        let after = shown(&admin, "/v1/agents/red-bot").await;
        assert_eq!((&after["state"], after.get("containments")), (&"active".into(), None), "{after}");
    }
}

#[tokio::test]
async fn an_agent_says_which_of_its_roles_and_capabilities_are_contained() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    broker.agent("orders-bot", &["publisher"]).await;
    let role = json!({ "kind": "role", "name": "publisher" });
    // When a role of the agent is contained
    let incident = contained(&admin, role).await;
    // Then the agent is active, and names the containment as one of a part
    let one = shown(&admin, "/v1/agents/orders-bot").await;
    assert_eq!((&one["state"], &one["live_instances"]), (&"active".into(), &1.into()), "{one}");
    let of_role = json!({
        "subject": "role/publisher", "incident": incident, "reason": "token in a public log", "partial": true,
    });
    assert_eq!((&one["containments"], one.get("incident")), (&json!([of_role]), None), "{one}");
    // And the agent itself is suspended if it is contained, too
    let own = contained(&admin, agent("orders-bot")).await;
    let one = shown(&admin, "/v1/agents/orders-bot").await;
    assert_eq!((&one["state"], &one["incident"]), (&"suspended".into(), &json!(own)), "{one}");
    assert_eq!(one["containments"].as_array().unwrap().len(), 2, "{one}");
}

#[tokio::test]
async fn an_operator_is_contained_with_the_network_of_its_last_use() {
    // Given an auditor that enrolled here, and connected from another address last
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    let alice = join(&broker, "alice", &standing("auditor", None)).await.caller;
    let mut connection = alice.connect_from([127, 0, 0, 7]).await.unwrap();
    assert_eq!(connection.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    drop(connection);
    for address in ["127.0.0.7/32", "127.0.0.1/32"] {
        // When one of the two networks is contained
        let incident = contained(&admin, network(address)).await;
        // Then the operator is contained, with the incident, and the admin that ordered it is active
        let one = shown(&admin, "/v1/operators/alice").await;
        assert_eq!((&one["state"], &one["incident"]), (&"contained".into(), &json!(incident)), "{one}");
        assert_eq!(one["containments"][0]["subject"], format!("network/{address}"), "{one}");
        assert_eq!(shown(&admin, "/v1/operators/admin").await["state"], "active");
        assert_eq!(lift(&admin, &incident).await.status, 200);
        let after = shown(&admin, "/v1/operators/alice").await;
        assert_eq!((&after["state"], after.get("incident")), (&"active".into(), None), "{after}");
    }
}

#[tokio::test]
async fn a_containment_says_when_no_admin_could_act() {
    // Given an admin and a security operator in one network
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    assert_eq!(admin.get("/v1/whoami").await.status, 200);
    let sam = join(&broker, "sam", &standing("security", None)).await.caller;
    let preview = async |by: &Caller| {
        let body = json!({ "subject": network(HERE) });
        by.post_json("/v1/incident-previews", &body).await.json()
    };
    // When the admin would contain the network, then the admin could act
    assert_eq!(preview(&admin).await.get("leaves_no_admin"), None);
    // When the security operator contains it, then the preview and the answer say that no admin can act
    let before = preview(&sam).await;
    assert_eq!(
        (&before["leaves_no_admin"], &before["spares_caller"]),
        (&json!(true), &json!(true)),
        "{before}"
    );
    let answer = contain(&sam, network(HERE)).await.json();
    assert_eq!(answer["leaves_no_admin"], true, "{answer}");
    assert_eq!(admin.get("/v1/whoami").await.code(), "network_contained");
    assert_eq!(shown(&sam, "/v1/operators/admin").await["state"], "contained");
    // And a containment of another network does not
    assert_eq!(lift(&sam, answer["incident"].as_str().unwrap()).await.status, 200);
    assert_eq!(contain(&sam, network("203.0.113.0/24")).await.json().get("leaves_no_admin"), None);
}
