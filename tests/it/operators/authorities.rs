//! Operators that would lose access by a change of the certificate authority.

use keyward::base::limits::SERVICE_LIFE_MAX_S;
use serde_json::{Value, json};

use super::{HERE, Operator, activate, join, post, refused, renewed, standing};
use crate::support::broker::{Caller, TestBroker};

const DAY_S: u32 = 86_400;

/// A service that reads the ledger, for as long as a service can.
fn reader() -> Value {
    json!({ "kind": "service", "networks": [HERE], "role": "auditor", "life_s": SERVICE_LIFE_MAX_S })
}

async fn authorities(by: &Caller) -> Vec<Value> {
    by.get("/v1/authorities").await.json()["items"].as_array().unwrap().clone()
}

fn stages(authorities: &[Value]) -> Vec<&str> {
    authorities.iter().map(|one| one["stage"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn operators_are_behind_until_they_renew_for_the_next_authority() {
    // Given a service and an idle admin, whose certificates are of the second of the preparation
    let broker = TestBroker::declared().await;
    let service = join(&broker, "prometheus", &reader()).await;
    let idle = join(&broker, "second", &standing("admin", None)).await;
    let admin = broker.operator();
    assert_eq!(post(&admin, "/v1/authorities").await.status, 200);
    assert_eq!(authorities(&admin).await[1]["behind"], 3);
    // When the authority is activated, then this is refused and names those that have not renewed
    let is_refused = async |by: &Caller, names: &str| {
        let activated = post(by, "/v1/authorities/2/activate").await;
        refused(&activated, 409, "certificates_not_renewed");
        assert!(activated.text().contains(&format!("would lose access: {names}\"")), "{}", activated.text());
    };
    is_refused(&admin, "admin, prometheus, second").await;
    // A renewal counts at once, in the same second.
    renewed(&broker, &service).await;
    is_refused(&admin, "admin, second").await;
    renewed(&broker, &Operator { caller: admin.clone(), ..service }).await;
    is_refused(&admin, "second").await;
    renewed(&broker, &idle).await;
    assert_eq!(authorities(&admin).await[1]["behind"], 0);
    assert_eq!(post(&admin, "/v1/authorities/2/activate").await.status, 200);
}

#[tokio::test]
async fn schedule_activates_an_authority_when_no_service_needs_the_former_one() {
    // Given a service whose certificate outlives the period in which the authority signs
    let broker = TestBroker::start_with("[certificates]\nauthority_life_s = 2592000\n").await;
    let service = join(&broker, "prometheus", &reader()).await;
    // When the schedule is due and the service has not renewed, then the authority is not activated
    for _ in 0..40 {
        broker.clock.advance_s(DAY_S);
        broker.look_after().await;
    }
    assert_eq!(stages(&authorities(&service.caller).await), ["active", "prepared"]);
    // When it has renewed, then it is.
    let known = broker.nobody(broker.agents()).get("/v1/authority").await.text();
    let service = renewed(&broker, &service).await;
    assert_eq!(service.caller.get("/v1/whoami").await.status, 200);
    broker.look_after().await;
    let held = Some((service.certificate.as_str(), service.key.as_str()));
    let service = broker.caller_knowing(&known, broker.admins(), held);
    assert_eq!(stages(&authorities(&service).await), ["old", "active"]);
}

#[tokio::test]
async fn operator_in_its_grace_period_counts_before_a_revocation() {
    // Given an operator in its grace period, whose certificate is of the former authority
    let settings = "[certificates]\noperator_life_s = 3600\noperator_renewal_grace_s = 7200\n";
    let broker = TestBroker::start_with(settings).await;
    let admin = join(&broker, "second", &standing("admin", None)).await;
    join(&broker, "alice", &standing("security", None)).await;
    assert_eq!(post(&broker.operator(), "/v1/authorities").await.status, 200);
    let known = broker.nobody(broker.agents()).get("/v1/authority").await.text();
    assert_eq!(activate(&broker.operator()).await.status, 200);
    broker.look_after().await;
    broker.clock.advance_s(60);
    let knowing = |held: &Operator| {
        let identity = Some((held.certificate.as_str(), held.key.as_str()));
        let caller = broker.caller_knowing(&known, broker.admins(), identity);
        Operator { caller, certificate: held.certificate.clone(), key: held.key.clone() }
    };
    let admin = knowing(&renewed(&broker, &knowing(&admin)).await).caller;
    assert_eq!(admin.get("/v1/whoami").await.status, 200);
    broker.clock.advance_s(3600 - 60);
    // When the former authority is revoked, then this is refused and names the operators
    assert_eq!(authorities(&admin).await[0]["behind"], 2);
    let revoked = post(&admin, "/v1/authorities/1/revoke").await;
    refused(&revoked, 409, "certificates_not_renewed");
    assert!(revoked.text().contains("admin, alice"), "{}", revoked.text());
    // When it is tainted, then they cannot renew any more, and do not count.
    assert_eq!(post(&admin, "/v1/authorities/1/taint").await.status, 200);
    assert_eq!(authorities(&admin).await[0]["behind"], 0);
    assert_eq!(post(&admin, "/v1/authorities/1/revoke").await.status, 200);
}
