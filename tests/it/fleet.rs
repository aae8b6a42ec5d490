//! Codes for more than one machine: so many uses, for so long, from so far, and nothing more.

use std::collections::BTreeSet;
use std::sync::Arc;

use keyward::base::limits::{CODE_LIFE_MAX_S, CODE_LIFE_S, CODE_USES_MAX};
use keyward::base::{Clock, Sensitive};
use keyward::pki::EnrolmentCode;
use keyward::pki::new_key_and_request;
use serde_json::{Value, json};

use crate::support::broker::{Reply, TestBroker};
use crate::support::process::Process;
use crate::support::waiting::Patience;

fn refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.code().as_str()), (status, code), "{}", reply.text());
}

async fn invite(broker: &TestBroker, bounds: Value) -> Reply {
    let mut body = json!({ "roles": ["repo-reader"] });
    body.as_object_mut().unwrap().extend(bounds.as_object().unwrap().clone());
    broker.operator().post_json("/v1/agents/fleet/invitations", &body).await
}

async fn code(broker: &TestBroker, bounds: Value) -> EnrolmentCode {
    let reply = invite(broker, bounds).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    EnrolmentCode::parse(reply.json()["code"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_code_of_three_uses_enrols_three_keys_and_alarms_at_the_fourth() {
    let broker = TestBroker::declared().await;
    let code = code(&broker, json!({ "uses": 3 })).await;
    let mut instances = BTreeSet::new();
    let mut first = Vec::new();
    for _ in 0..3 {
        let (_, request) = new_key_and_request().unwrap();
        let reply = broker.redeem(&code, &request).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
        assert_eq!(
            broker.redeem(&code, &request).await.json(),
            reply.json(),
            "each key as often as it likes"
        );
        instances.insert(reply.json()["instance"].to_string());
        first = request;
    }
    assert_eq!(instances.len(), 3);
    let (_, fourth) = new_key_and_request().unwrap();
    refused(&broker.redeem(&code, &fourth).await, 409, "enrolment_code_used");
    assert_eq!(broker.entries("alarm.enrolment-code-reused").await.len(), 1);
    assert_eq!(broker.redeem(&code, &first).await.status, 201);
    let shown = broker.operator().get("/v1/agents/fleet").await.json();
    assert_eq!(shown["max_instances"], 3, "created with room for as many as were invited");
}

#[tokio::test]
async fn of_many_redemptions_at_once_no_more_succeed_than_there_are_uses() {
    let broker = Arc::new(TestBroker::declared().await);
    let text = Arc::new(code(&broker, json!({ "uses": 4 })).await.to_text());
    let tries: Vec<_> = (0..40)
        .map(|_| {
            let (broker, text) = (Arc::clone(&broker), Arc::clone(&text));
            tokio::spawn(async move {
                let code = EnrolmentCode::parse(text.expose()).unwrap();
                let (_, request) = new_key_and_request().unwrap();
                let patience = Patience::new();
                loop {
                    let reply = broker.redeem(&code, &request).await;
                    if reply.status != 503 {
                        return reply.status;
                    }
                    assert_eq!(reply.code(), "modified_concurrently");
                    patience.try_again();
                }
            })
        })
        .collect();
    let mut won = 0;
    for one in tries {
        match one.await.unwrap() {
            201 => won += 1,
            status => assert_eq!(status, 409),
        }
    }
    assert_eq!(won, 4);
    assert_eq!(broker.entries("instance.enrolled").await.len(), 4);
}

#[tokio::test]
async fn a_code_is_good_for_its_own_life_and_is_forgotten_after_it() {
    let broker = TestBroker::declared().await;
    let (short, long) =
        (code(&broker, json!({ "life_s": 60 })).await, code(&broker, json!({ "life_s": 3600 })).await);
    broker.clock.advance_s(60);
    let (_, request) = new_key_and_request().unwrap();
    refused(&broker.redeem(&short, &request).await, 401, "enrolment_code_invalid");
    assert_eq!(broker.redeem(&long, &request).await.status, 201);
}

#[tokio::test]
async fn a_code_for_a_network_is_nothing_anywhere_else() {
    let broker = TestBroker::declared().await;
    let (_, request) = new_key_and_request().unwrap();
    let elsewhere = code(&broker, json!({ "network": "10.0.0.0/8" })).await;
    refused(&broker.redeem(&elsewhere, &request).await, 401, "enrolment_code_invalid");
    let entries = broker.entries("enrolment.refused").await;
    let event = &entries[0]["event"];
    assert_eq!((&event["agent"], &event["networks"]), (&json!("fleet"), &json!(["10.0.0.0/8"])));
    assert_eq!((entries.len(), &event["peer"]), (1, &json!("127.0.0.1")));
    let here = code(&broker, json!({ "network": "127.0.0.0/8" })).await;
    assert_eq!(broker.redeem(&here, &request).await.status, 201);
}

#[tokio::test]
async fn bounds_are_taken_at_their_limits_and_not_beyond() {
    let broker = TestBroker::declared().await;
    for good in [
        json!({ "uses": 1 }),
        json!({ "uses": CODE_USES_MAX }),
        json!({ "life_s": 1 }),
        json!({ "life_s": CODE_LIFE_MAX_S }),
    ] {
        let reply = invite(&broker, good).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
    }
    for bad in [
        json!({ "uses": 0 }),
        json!({ "uses": CODE_USES_MAX + 1 }),
        json!({ "life_s": 0 }),
        json!({ "life_s": CODE_LIFE_MAX_S + 1 }),
    ] {
        refused(&invite(&broker, bad).await, 400, "invitation_out_of_range");
    }
    let usual = invite(&broker, json!({})).await.json();
    let until = broker.clock.now().plus_s(CODE_LIFE_S);
    assert_eq!(usual["expires_at"], until.to_string(), "when nothing is said");
    refused(&invite(&broker, json!({ "network": "10.0.0.1/8" })).await, 400, "name_not_canonical");
    refused(&invite(&broker, json!({ "uses": "many" })).await, 400, "json_invalid");
}

#[tokio::test]
async fn a_certificate_is_revoked_by_its_serial_and_its_holder_with_it() {
    let broker = TestBroker::declared().await;
    let (bad, good) = (broker.agent("a", &["repo-reader"]).await, broker.agent("b", &["repo-reader"]).await);
    let serial =
        bad.caller.get("/v1/whoami").await.json()["certificate"]["serial"].as_str().unwrap().to_owned();
    let revoke = |serial: String| {
        let operator = broker.operator();
        async move { operator.post_json(&format!("/v1/certificates/{serial}/revoke"), &json!({})).await }
    };
    assert_eq!(revoke(serial).await.status, 200);
    assert!(bad.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    assert_eq!(good.caller.get("/v1/whoami").await.status, 200);
    refused(&revoke("0".repeat(32)).await, 404, "subject_unknown");
    refused(&revoke("xyz".to_owned()).await, 400, "id_not_canonical");
}

#[tokio::test]
async fn revocation_of_an_instance_says_that_its_code_ended_with_it() {
    // Given an agent with two instances at most, and a code with three uses, one of which is left for a third machine
    let broker = TestBroker::declared().await;
    let code = code(&broker, json!({ "uses": 3 })).await;
    broker.apply("[[agent]]\nname = \"fleet\"\nroles = [\"repo-reader\"]\nmax_instances = 2\n").await;
    let request = || new_key_and_request().unwrap().1;
    let first = broker.redeem(&code, &request()).await.json();
    assert_eq!(broker.redeem(&code, &request()).await.status, 201);
    refused(&broker.redeem(&code, &request()).await, 409, "too_many_instances");
    // When one of the instances is revoked, then the response says how many uses ended
    let revoke = format!("/v1/instances/{}/revoke", first["instance"].as_str().unwrap());
    let revoked = broker.operator().post_json(&revoke, &json!({})).await;
    assert_eq!((revoked.status, &revoked.json()["unused_uses"]), (200, &json!(1)), "{}", revoked.text());
    // Then the holder of the code learns the cause, and a caller without its secret does not
    broker.clock.advance_s(61);
    let third = broker.redeem(&code, &request()).await;
    refused(&third, 401, "enrolment_code_revoked");
    let guess = EnrolmentCode { secret: Sensitive::new([0; 32]), ..code };
    refused(&broker.redeem(&guess, &request()).await, 401, "enrolment_code_invalid");
    // And the ledger has both refusals
    let entries = broker.entries("enrolment.refused").await;
    let refusals: Vec<&Value> = entries.iter().map(|entry| &entry["event"]["refusal"]).collect();
    assert_eq!(refusals, ["too_many_instances", "enrolment_code_revoked"]);
    let last = &entries[1]["event"];
    assert_eq!((&last["agent"], &last["instance"]), (&json!("fleet"), &first["instance"]), "{last}");
}

#[test]
fn a_fleet_joins_at_once_by_one_code_on_the_command_line() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let code = process.good(&["agent", "invite", "fleet", "--role", "repo-reader", "--uses", "12"], b"");
    std::fs::write(process.path("code"), &code).unwrap();
    let file = process.path("code").display().to_string();
    let joining: Vec<_> = (0..12)
        .map(|machine| {
            process.command(&format!("m{machine}"), &["join", "--code-file", &file]).spawn().unwrap()
        })
        .collect();
    for mut one in joining {
        assert!(one.wait().unwrap().success());
    }
    assert_eq!(process.json(&["agent", "show", "fleet"])["instances"].as_array().unwrap().len(), 12);
    process.good_as("m11", &["get", "github/app"], b"");
    let me = process.run_as("m3", &["whoami", "-o", "json"], b"");
    let me: Value = serde_json::from_slice(&me.stdout).unwrap();
    process.good(&["cert", "revoke", me["certificate"]["serial"].as_str().unwrap()], b"");
    let refused = process.run_as("m3", &["whoami"], b"");
    assert_eq!(refused.status.code(), Some(4), "{}", String::from_utf8_lossy(&refused.stderr));
    process.good_as("m4", &["whoami"], b"");
    // And the revocation of an instance says that a code with unused uses ended
    let code = process.good(&["agent", "invite", "pair", "--role", "repo-reader", "--uses", "2"], b"");
    process.good_as("p1", &["join"], &code);
    let id = process.json(&["agent", "show", "pair"])["instances"][0]["id"].as_str().unwrap().to_owned();
    let revoked = process.run_as("operator", &["agent", "revoke", "--instance", &id], b"");
    let said = String::from_utf8_lossy(&revoked.stderr).into_owned();
    assert!(said.contains("with 1 unused use:") && said.contains("keyward agent invite"), "{said}");
    let late = process.run_as("p2", &["join"], &code);
    let said = String::from_utf8_lossy(&late.stderr).into_owned();
    assert!(late.status.code() == Some(4) && said.contains("enrolment_code_revoked"), "{said}");
}
