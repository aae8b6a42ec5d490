//! Containment over the socket on the broker's host.

use keyward::base::encoding::base64url;
use keyward::pki::{EnrolmentCode, new_key_and_request};
use serde_json::{Value, json};

use super::{agent, contain, contained, lift, operator};
use crate::operators::{Operator, holder, invite, redeem, refused, standing};
use crate::routes::is_refused;
use crate::support::broker::{Reply, TestBroker};
use crate::support::host::ask;

/// A request at the host socket.
async fn on_host(broker: &TestBroker, path: &'static str, body: Value) -> Reply {
    let socket = broker.socket();
    tokio::task::spawn_blocking(move || ask(&socket, "POST", path, &body)).await.unwrap()
}

pub(crate) async fn break_glass(broker: &TestBroker) -> Operator {
    let (key, request) = new_key_and_request().unwrap();
    let reply = on_host(broker, "/v1/break-glass", json!({ "csr": base64url(&request) })).await;
    holder(broker, &reply, key.expose())
}

#[tokio::test]
async fn the_host_contains_and_never_lifts() {
    let broker = TestBroker::declared().await;
    let bot = broker.agent("orders-bot", &["publisher"]).await;
    // When the host contains an agent
    let body = json!({ "subject": agent("orders-bot"), "reason": "a drill" });
    let ordered = on_host(&broker, "/v1/incidents", body).await.json();
    assert_eq!((&ordered["durable"], &ordered["queued"]), (&true.into(), &false.into()), "{ordered}");
    assert!(bot.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    // Then the host has no way to lift this, and neither has break-glass access
    let incident = ordered["incident"].as_str().unwrap();
    let path = Box::leak(format!("/v1/incidents/{incident}/lift").into_boxed_str());
    let reply = on_host(&broker, path, json!({ "reason": "over" })).await;
    refused(&reply, 404, "route_unknown");
    let glass = break_glass(&broker).await;
    refused(&lift(&glass.caller, incident).await, 403, "not_by_break_glass");
    assert_eq!(lift(&broker.operator(), incident).await.status, 200);
    let told = &broker.entries("incident.contained").await[0];
    assert!(told["event"]["by"].as_str().unwrap().starts_with("host uid"), "{told}");
}

#[tokio::test]
async fn a_later_break_glass_certificate_is_spared() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    let network = json!({ "kind": "network", "name": "127.0.0.0/8" });
    for subject in [network.clone(), operator("break-glass")] {
        // Given a certificate of break-glass access
        let before = break_glass(&broker).await;
        assert_eq!(before.caller.get("/v1/whoami").await.status, 200);
        // When its network, or its operator is contained
        let incident = contained(&admin, subject.clone()).await;
        // Then it is refused, and a later one is not
        assert!(is_refused(&before.caller.attempt("GET", "/v1/whoami", &[], b"").await), "{subject}");
        let later = break_glass(&broker).await;
        assert_eq!(later.caller.get("/v1/whoami").await.status, 200, "{subject}");
        assert_eq!(contain(&later.caller, json!({ "kind": "everything" })).await.status, 200);
        let open = admin.get("/v1/incidents").await.json()["items"][0]["incident"].clone();
        assert_eq!(lift(&admin, open.as_str().unwrap()).await.status, 200);
        assert_eq!(lift(&admin, &incident).await.status, 200);
    }
}

#[tokio::test]
async fn a_certificate_of_the_host_ends_a_lockout_of_its_operator() {
    // Given an admin that the host has contained, although it is the last one, or whose network the host has contained
    let mut broker = TestBroker::declared().await;
    let network = json!({ "kind": "network", "name": "127.0.0.0/8" });
    for subject in [operator("admin"), network] {
        let body = json!({ "subject": subject, "reason": "a drill" });
        let ordered = on_host(&broker, "/v1/incidents", body).await.json();
        assert!(is_refused(&broker.operator().attempt("GET", "/v1/whoami", &[], b"").await), "{subject}");
        // When the host gives it a certificate while the broker is stopped
        broker.reissue_admin().await;
        // Then this certificate is accepted, and the incident is open until the operator lifts it
        let admin = broker.operator();
        assert_eq!(admin.get("/v1/whoami").await.json()["role"], "admin", "{subject}");
        let incident = ordered["incident"].as_str().unwrap();
        let open = admin.get(&format!("/v1/incidents/{incident}")).await.json();
        assert_eq!(open["state"], "contained", "{open}");
        assert_eq!(lift(&admin, incident).await.status, 200);
    }
}

#[tokio::test]
async fn a_renewal_keeps_that_the_host_issued_the_certificate() {
    // Given an admin with a certificate of the host, made after the containment of its network
    let mut broker = TestBroker::declared().await;
    let network = json!({ "kind": "network", "name": "127.0.0.0/8" });
    let body = json!({ "subject": network, "reason": "a drill" });
    assert_eq!(on_host(&broker, "/v1/incidents", body).await.status, 200);
    broker.reissue_admin().await;
    // When the certificate is renewed
    let (key, request) = new_key_and_request().unwrap();
    let body = json!({ "csr": base64url(&request) });
    let reply = broker.operator().post_json("/v1/renew", &body).await;
    let renewed = holder(&broker, &reply, key.expose());
    // Then the next certificate is accepted, too; and one of a later containment is not
    assert_eq!(renewed.caller.get("/v1/whoami").await.status, 200);
    let body = json!({ "subject": operator("admin"), "reason": "a drill" });
    assert_eq!(on_host(&broker, "/v1/incidents", body).await.status, 200);
    assert!(is_refused(&renewed.caller.attempt("GET", "/v1/whoami", &[], b"").await));
}

#[tokio::test]
async fn no_code_is_redeemed_from_a_contained_network() {
    // Given the containment of a network, and a valid code for an admin that break-glass access invited
    let broker = TestBroker::declared().await;
    let network = json!({ "kind": "network", "name": "127.0.0.0/8" });
    let body = json!({ "subject": network, "reason": "a drill" });
    assert_eq!(on_host(&broker, "/v1/incidents", body).await.status, 200);
    let glass = break_glass(&broker).await;
    let invited = invite(&glass.caller, "rescue", &standing("admin", None)).await;
    let code = EnrolmentCode::parse(invited.json()["code"].as_str().unwrap()).unwrap();
    let (_, request) = new_key_and_request().unwrap();
    // When it is redeemed from there, then the answer names the network
    refused(&redeem(&broker, &code, &request).await, 401, "network_contained");
    // And a wrong code gets the same answer.
    let wrong =
        json!({ "code_id": code.id.to_string(), "secret": base64url(&[7; 32]), "csr": base64url(&request) });
    let reply = broker.nobody(broker.admins()).post_json("/v1/enrol", &wrong).await;
    refused(&reply, 401, "network_contained");
}
