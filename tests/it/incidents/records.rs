//! What the ledger and the incident's record say.

use keyward::base::encoding::base64url;
use keyward::pki::new_key_and_request;
use serde_json::{Value, json};

use super::{agent, contain, contained, lift, operator};
use crate::operators::{join, post, refused, standing};
use crate::support::broker::TestBroker;

/// Every entry of incidents, oldest first.
async fn told(broker: &TestBroker) -> Vec<Value> {
    let mut told = broker.entries("incident.contained").await;
    told.extend(broker.entries("incident.lifted").await);
    told.sort_by_key(|entry| entry["seq"].as_u64());
    told
}

#[tokio::test]
async fn a_containment_is_one_entry_of_its_incident() {
    // Given an agent that has enrolled
    let broker = TestBroker::declared().await;
    let bot = broker.agent("orders-bot", &["publisher"]).await;
    let head = broker.operator().get("/v1/ledger/entries").await.json()["head"].clone();
    // When it is contained
    let reply = contain(&broker.operator(), agent("orders-bot")).await;
    // Then one entry says so, with the incident, the subject, the operator and the reason
    let answer = reply.json();
    assert_eq!(
        (reply.status, &answer["new"], &answer["durable"]),
        (200, &true.into(), &true.into()),
        "{answer}"
    );
    assert_eq!(answer["subject"]["name"], "orders-bot");
    let after = broker.operator().get(&format!("/v1/ledger/entries?after={head}")).await.json();
    let entries = after["items"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{after}");
    let event = &entries[0]["event"];
    assert_eq!((&entries[0]["seq"], &entries[0]["kind"]), (&answer["seq"], &"incident.contained".into()));
    assert_eq!(entries[0]["reason"], "token in a public log");
    assert_eq!((&event["incident"], &event["by"]), (&answer["incident"], &"admin".into()));
    assert_eq!(
        (&event["subject"]["kind"], &event["subject"]["name"]),
        (&"agent".into(), &"orders-bot".into())
    );
    assert!(bot.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err(), "the handshake refuses it");
    // And the agent shows the reason
    let shown = broker.operator().get("/v1/agents/orders-bot").await.json();
    assert_eq!((&shown["state"], &shown["reason"]), (&"suspended".into(), &"token in a public log".into()));
}

#[tokio::test]
async fn a_repeated_containment_joins_the_incident_and_revokes_newer_codes() {
    let broker = TestBroker::declared().await;
    let bot = "[[agent]]\nname = \"orders-bot\"\nroles = [\"publisher\"]\nowner = \"payments\"\n";
    assert_eq!(broker.apply(bot).await.status, 200);
    let admin = broker.operator();
    let owner = || json!({ "kind": "owner", "name": "payments" });
    let first = contained(&admin, owner()).await;
    // Given a code that an operator made for an agent of the contained owner
    let code = broker.invite("orders-bot", &[]).await;
    // When the owner is contained again, and the containment is lifted
    let again = contain(&admin, owner()).await.json();
    assert_eq!((&again["incident"], &again["new"]), (&json!(first), &false.into()));
    let lifted = lift(&admin, &first).await.json();
    assert_eq!((&lifted["revoked_before"], &lifted["revoked_certificates"]), (&again["seq"], &false.into()));
    // Then the code is revoked, and a later one is not
    let (_, request) = new_key_and_request().unwrap();
    assert_eq!(broker.redeem(&code, &request).await.code(), "enrolment_code_invalid");
    let later = broker.invite("orders-bot", &[]).await;
    assert_eq!(broker.redeem(&later, &request).await.status, 201);
    let told = told(&broker).await;
    let kinds: Vec<&str> = told.iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["incident.contained", "incident.contained", "incident.lifted"]);
    assert!(told.iter().all(|entry| entry["event"]["incident"] == first.as_str()), "{told:?}");
    // And a new containment is a new incident
    assert_ne!(contained(&admin, owner()).await, first);
}

#[tokio::test]
async fn only_a_lift_ends_a_containment() {
    let broker = TestBroker::declared().await;
    let bot = broker.agent("orders-bot", &["publisher"]).await;
    let admin = broker.operator();
    // Given an agent that was suspended before it was contained
    assert_eq!(post(&admin, "/v1/agents/orders-bot/suspend").await.status, 200);
    let incident = contained(&admin, agent("orders-bot")).await;
    // When it is resumed, then this is refused
    let resumed = post(&admin, "/v1/agents/orders-bot/resume").await;
    refused(&resumed, 409, "subject_contained");
    let invited = admin.post_json("/v1/agents/orders-bot/invitations", &json!({ "roles": [] })).await;
    refused(&invited, 409, "subject_contained");
    assert!(resumed.json()["fix"].as_str().unwrap().contains(&incident), "{}", resumed.text());
    // And the lift leaves the suspension
    assert_eq!(lift(&admin, &incident).await.status, 200);
    assert_eq!(admin.get("/v1/agents/orders-bot").await.json()["state"], "suspended");
    assert_eq!(post(&admin, "/v1/agents/orders-bot/resume").await.status, 200);
    assert!(bot.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err(), "its certificate is revoked");
    // And a repeated lift says the same
    let (first, again) = (lift(&admin, &incident).await.json(), lift(&admin, &incident).await.json());
    assert_eq!(first, again);
    refused(&lift(&admin, &format!("inc_{}", "0".repeat(26))).await, 404, "incident_unknown");
}

#[tokio::test]
async fn a_contained_certificate_takes_its_unused_renewal_along() {
    let broker = TestBroker::declared().await;
    let bot = broker.agent("orders-bot", &["publisher"]).await;
    // Given a certificate that was renewed, and the renewed one was not used
    let (key, request) = new_key_and_request().unwrap();
    let renewed = bot.caller.post_json("/v1/renew", &json!({ "csr": base64url(&request) })).await;
    assert_eq!(renewed.status, 201, "{}", renewed.text());
    let next = renewed.json()["certificate"].as_str().unwrap().to_owned();
    let next = broker.caller(broker.agents(), Some(&next), Some(key.expose()));
    // When the first one is contained
    let shown = broker.operator().get("/v1/agents/orders-bot").await.json();
    let serial = shown["instances"][0]["serial"].clone();
    let reply = contain(&broker.operator(), json!({ "kind": "certificate", "id": serial })).await;
    assert_eq!(reply.json()["subject"]["agent"], "orders-bot", "{}", reply.text());
    // Then both are refused
    for caller in [&bot.caller, &next] {
        assert!(caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    }
}

#[tokio::test]
async fn a_contained_operator_is_refused_and_the_last_admin_stays() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    let alice = join(&broker, "alice", &standing("admin", None)).await;
    let shown = admin.get("/v1/operators/alice").await.json();
    let serial = shown["certificates"][0]["serial"].clone();
    // When one certificate of an operator is contained, then it is refused, and an invitation anew is not
    let incident = contained(&admin, json!({ "kind": "certificate", "id": serial })).await;
    assert!(alice.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    let again = join(&broker, "alice", &json!({})).await;
    assert_eq!(again.caller.get("/v1/whoami").await.status, 200);
    assert_eq!(lift(&admin, &incident).await.status, 200);
    assert!(alice.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err(), "revoked for good");
    // When the operator is contained, then nothing of it is accepted until the lift
    let incident = contained(&admin, operator("alice")).await;
    assert!(again.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    refused(&contain(&admin, operator("admin")).await, 409, "last_admin");
    assert_eq!(lift(&admin, &incident).await.status, 200);
    let third = join(&broker, "alice", &json!({})).await;
    assert_eq!(third.caller.get("/v1/whoami").await.status, 200);
}

#[tokio::test]
async fn the_containment_of_a_network_spares_the_operator_that_orders_it() {
    let broker = TestBroker::declared().await;
    let (admin, alice) = (broker.operator(), join(&broker, "alice", &standing("admin", None)).await);
    // When the network of all callers is contained
    let reply = contain(&admin, json!({ "kind": "network", "name": "127.0.0.0/8" })).await.json();
    // Then the operator that ordered this is accepted, and another one is not
    assert_eq!(reply["spares_caller"], true, "{reply}");
    assert!(alice.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    assert_eq!(admin.get("/v1/whoami").await.status, 200);
    assert_eq!(told(&broker).await[0]["event"]["spares_operator"], true);
    // And so is its renewed certificate
    let (key, request) = new_key_and_request().unwrap();
    let renewed = admin.post_json("/v1/renew", &json!({ "csr": base64url(&request) })).await;
    assert_eq!(renewed.status, 201, "{}", renewed.text());
    let certificate = renewed.json()["certificate"].as_str().unwrap().to_owned();
    let renewed = broker.caller(broker.admins(), Some(&certificate), Some(key.expose()));
    assert_eq!(renewed.get("/v1/whoami").await.status, 200);
    let incident = reply["incident"].as_str().unwrap();
    assert_eq!(lift(&renewed, incident).await.status, 200);
    assert_eq!(alice.caller.get("/v1/whoami").await.status, 200, "it was only refused");
    // And a network of others needs nobody spared
    let reply = contain(&renewed, json!({ "kind": "network", "name": "203.0.113.0/24" })).await.json();
    assert_eq!(reply.get("spares_caller"), None);
}

#[tokio::test]
async fn an_incident_survives_a_restart_and_a_snapshot() {
    let mut broker = TestBroker::declared().await;
    let bot = broker.agent("orders-bot", &["publisher"]).await;
    let incident = contained(&broker.operator(), agent("orders-bot")).await;
    broker.take_snapshot().await;
    broker.restart().await;
    let bot = broker.caller(broker.agents(), Some(&bot.certificate), Some(&bot.key));
    assert!(bot.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    let shown = broker.operator().get(&format!("/v1/incidents/{incident}")).await.json();
    assert_eq!((&shown["state"], &shown["contained"]["by"]), (&"contained".into(), &"admin".into()));
    assert_eq!(lift(&broker.operator(), &incident).await.status, 200);
    broker.restart().await;
    let shown = broker.operator().get(&format!("/v1/incidents/{incident}")).await.json();
    assert_eq!((&shown["state"], &shown["lifted"]["reason"]), (&"lifted".into(), &"a false alarm".into()));
    assert_eq!(
        broker.operator().get("/v1/incidents").await.json()["items"][0]["incident"],
        incident.as_str()
    );
}

#[tokio::test]
async fn a_preview_and_the_incident_count_the_same_credentials() {
    let broker = TestBroker::declared().await;
    broker.agent("orders-bot", &["publisher"]).await;
    broker.agent("other-bot", &["repo-reader"]).await;
    broker.invite("orders-bot", &[]).await;
    let admin = broker.operator();
    // Given previews, which change nothing
    let head = || async { admin.get("/v1/ledger/entries?limit=1").await.json()["head"].clone() };
    let before = head().await;
    let preview = async |subject: Value| {
        let reply = admin.post_json("/v1/incident-previews", &json!({ "subject": subject })).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["reach"].clone()
    };
    let one = preview(agent("orders-bot")).await;
    assert_eq!((&one["agents"]["names"], &one["certificates"]), (&json!(["orders-bot"]), &1.into()), "{one}");
    assert_eq!((&one["enrolment_codes"], &one["accepted"]), (&1.into(), &2.into()), "{one}");
    let role = preview(json!({ "kind": "role", "name": "repo-reader" })).await;
    assert_eq!(
        (&role["agents"]["names"], &role["certificates"]),
        (&json!(["other-bot"]), &0.into()),
        "{role}"
    );
    let all = preview(json!({ "kind": "everything" })).await;
    assert_eq!((&all["agents"]["count"], &all["operators"]["count"]), (&2.into(), &0.into()), "{all}");
    assert_eq!(head().await, before);
    // When the agent is contained, then the broker accepts none of them
    let incident = contained(&admin, agent("orders-bot")).await;
    let shown = admin.get(&format!("/v1/incidents/{incident}")).await.json();
    let reach = &shown["reach"];
    assert_eq!((&reach["certificates"], &reach["enrolment_codes"]), (&1.into(), &1.into()), "{shown}");
    assert_eq!(reach["accepted"], 0, "{shown}");
    assert_eq!(lift(&admin, &incident).await.status, 200);
    let shown = admin.get(&format!("/v1/incidents/{incident}")).await.json();
    assert_eq!(shown.get("reach"), None);
}

#[tokio::test]
async fn a_subject_that_does_not_exist_or_has_no_form_is_refused() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    for (subject, status, code) in [
        (agent("nobody"), 404, "subject_unknown"),
        (json!({ "kind": "role", "name": "none" }), 404, "subject_unknown"),
        (json!({ "kind": "capability", "name": "none.read" }), 404, "subject_unknown"),
        (json!({ "kind": "owner", "name": "none" }), 404, "subject_unknown"),
        (json!({ "kind": "secret", "name": "none/key" }), 404, "subject_unknown"),
        (json!({ "kind": "instance", "id": format!("inst_{}", "0".repeat(26)) }), 404, "subject_unknown"),
        (json!({ "kind": "certificate", "id": "0".repeat(32) }), 404, "subject_unknown"),
        (operator("nobody"), 404, "operator_unknown"),
        (json!({ "kind": "lineage", "id": "x" }), 400, "subject_form_unknown"),
        (json!({ "kind": "agent" }), 400, "subject_form_unknown"),
        (json!({ "kind": "agent", "id": "orders-bot" }), 400, "subject_form_unknown"),
        (json!({ "kind": "everything", "name": "x" }), 400, "subject_form_unknown"),
        (json!({ "kind": "agent", "name": "A" }), 400, "name_not_canonical"),
        (json!({ "kind": "network", "name": "10.0.0.1/8" }), 400, "name_not_canonical"),
        (json!({ "kind": "token", "id": "x" }), 400, "id_not_canonical"),
    ] {
        refused(&contain(&admin, subject.clone()).await, status, code);
        let preview = admin.post_json("/v1/incident-previews", &json!({ "subject": subject })).await;
        refused(&preview, status, code);
    }
    let reply = admin.post_json("/v1/incidents", &json!({ "subject": agent("a"), "reason": " " })).await;
    refused(&reply, 400, "reason_invalid");
    assert!(told(&broker).await.is_empty());
}

#[tokio::test]
async fn the_incident_of_a_removed_agent_is_not_that_of_its_successor() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    let bot = "[[agent]]\nname = \"orders-bot\"\nroles = [\"repo-reader\"]\n";
    assert_eq!(broker.apply(bot).await.status, 200);
    let reader = broker.agent("orders-bot", &[]).await;
    let token = reader.token("github.repo.read").await;
    assert_eq!(reader.secret("github/app", &token).await.status, 200);
    let incident = contained(&admin, agent("orders-bot")).await;
    // Given an agent that was removed, and declared again
    let rest = crate::support::broker::DECLARATIONS;
    let body = json!({ "files": [{ "name": "a.toml", "text": rest }], "prune": true });
    let pruned = admin.post_json("/v1/apply", &body).await;
    assert_eq!(pruned.status, 200, "{}", pruned.text());
    assert_eq!(broker.apply(bot).await.status, 200);
    let successor = broker.agent("orders-bot", &[]).await;
    let token = successor.token("github.repo.read").await;
    // Then the incident counts and lists the credentials and readings of the first one only
    let shown = admin.get(&format!("/v1/incidents/{incident}")).await.json();
    assert_eq!((&shown["state"], &shown["reach"]["accepted"]), (&"contained".into(), &0.into()), "{shown}");
    let read = async || admin.get(&format!("/v1/incidents/{incident}/secrets")).await.json()["items"].clone();
    let first = read().await;
    assert_eq!(first[0]["secret"], "github/app", "{first}");
    broker.clock.advance_s(5);
    assert_eq!(successor.secret("github/app", &token).await.status, 200);
    assert_eq!(read().await, first);
    // And its containment is another incident
    assert_ne!(contained(&admin, agent("orders-bot")).await, incident);
}

#[tokio::test]
async fn a_revoked_instance_takes_its_code_along() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    for kind in ["instances", "certificates"] {
        // Given a code of three uses, redeemed once
        let body = json!({ "roles": ["repo-reader"], "uses": 3 });
        let reply = admin.post_json(&format!("/v1/agents/of-{kind}/invitations"), &body).await;
        let code = keyward::pki::EnrolmentCode::parse(reply.json()["code"].as_str().unwrap()).unwrap();
        assert_eq!(broker.redeem(&code, &new_key_and_request().unwrap().1).await.status, 201);
        let shown = admin.get(&format!("/v1/agents/of-{kind}")).await.json();
        let id = &shown["instances"][0][if kind == "instances" { "id" } else { "serial" }];
        // When the instance is revoked, then no other key redeems the code
        let path = format!("/v1/{kind}/{}/revoke", id.as_str().unwrap());
        assert_eq!(admin.post_json(&path, &json!({})).await.status, 200);
        let another = broker.redeem(&code, &new_key_and_request().unwrap().1).await;
        refused(&another, 401, "enrolment_code_revoked");
    }
}

#[tokio::test]
async fn a_contained_instance_takes_its_code_along() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    for kind in ["instance", "certificate", "network"] {
        // Given a code of three uses, and another one, each redeemed once
        let code = async || {
            let body = json!({ "roles": ["repo-reader"], "uses": 3 });
            let path = format!("/v1/agents/of-{kind}/invitations");
            let reply = admin.post_json(&path, &body).await;
            assert_eq!(reply.status, 201, "{}", reply.text());
            keyward::pki::EnrolmentCode::parse(reply.json()["code"].as_str().unwrap()).unwrap()
        };
        let (used, unused) = (code().await, code().await);
        let enrolled = broker.redeem(&used, &new_key_and_request().unwrap().1).await;
        assert_eq!(enrolled.status, 201, "{}", enrolled.text());
        let shown = admin.get(&format!("/v1/agents/of-{kind}")).await.json();
        let instance = &shown["instances"][0];
        let subject = match kind {
            "instance" => json!({ "kind": kind, "id": instance["id"] }),
            "certificate" => json!({ "kind": kind, "id": instance["serial"] }),
            _ => json!({ "kind": kind, "name": "127.0.0.0/8" }),
        };
        // When the instance is contained, then no other key redeems its code, also after the lift
        let incident = contained(&admin, subject).await;
        let another = broker.redeem(&used, &new_key_and_request().unwrap().1).await;
        // The containment of a network revokes no certificate.
        let (during, after) = if kind == "network" {
            ("network_contained", "enrolment_code_invalid")
        } else {
            ("enrolment_code_revoked", "enrolment_code_revoked")
        };
        refused(&another, 401, during);
        assert_eq!(lift(&admin, &incident).await.status, 200);
        let another = broker.redeem(&used, &new_key_and_request().unwrap().1).await;
        refused(&another, 401, after);
        // The other code was made from the contained network, too
        let other = broker.redeem(&unused, &new_key_and_request().unwrap().1).await;
        assert_eq!(other.status == 201, kind != "network", "{kind}: {}", other.text());
    }
}

#[tokio::test]
async fn a_lift_says_what_later_revocations_took() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    broker.agent("orders-bot", &["publisher"]).await;
    let incident = contained(&admin, agent("orders-bot")).await;
    let revoked = post(&admin, "/v1/agents/orders-bot/revoke").await.json();
    let lifted = lift(&admin, &incident).await.json();
    assert_eq!(lifted["revoked_before"], revoked["seq"], "{lifted}");
    // And a second lift says the same, and that nothing has changed
    let mut again = lift(&admin, &incident).await.json();
    assert_eq!(again.as_object_mut().unwrap().remove("unchanged"), Some(json!(true)));
    assert_eq!(again, lifted);
}
