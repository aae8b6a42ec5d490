//! Operators that are programs: services that read, bound to networks, and automations that declare for one owner.

use keyward::base::encoding::base64url;
use keyward::base::limits::{
    OPERATOR_LIFE_MAX_S, OPERATOR_LIFE_MIN_S, OPERATOR_NETWORKS_MAX, OPERATOR_USE_ENTRY_S, PERSON_CHARS_MAX,
    SERVICE_LIFE_MAX_S, SERVICE_LIFE_S,
};
use keyward::base::{Clock, Sensitive};
use keyward::pki::{EnrolmentCode, new_key_and_request};
use serde_json::{Value, json};

use super::owners::apply;
use super::{
    ELSEWHERE, HERE, change, code_for, invite, join, life_s, post, profile, redeem, refused, renewed,
    standing,
};
use crate::support::broker::{Caller, Reply, TestBroker};
use crate::support::waiting::until;

/// What a scraper is invited as.
fn scraper() -> Value {
    json!({ "kind": "service", "networks": [HERE], "person": "Ann Li <ann@corp.example>" })
}

/// What a CI job is invited as.
fn job(owner: &str) -> Value {
    json!({ "kind": "automation", "owner": owner })
}

#[tokio::test]
async fn a_service_reads_metrics_for_as_long_as_it_was_invited() {
    let broker = TestBroker::declared().await;
    let invited = json!({ "kind": "service", "networks": [HERE], "life_s": SERVICE_LIFE_MAX_S });
    let reader = join(&broker, "prometheus", &invited).await;
    assert_eq!(reader.caller.get("/metrics").await.status, 200);
    refused(&reader.caller.get("/v1/ledger/entries").await, 403, "operator_role_insufficient");
    assert_eq!(life_s(&reader), SERVICE_LIFE_MAX_S);
    let shown = broker.operator().get("/v1/operators/prometheus").await.json();
    assert_eq!((&shown["kind"], &shown["role"]), (&json!("service"), &json!("metrics")));
    assert_eq!((&shown["networks"], &shown["life_s"]), (&json!([HERE]), &json!(SERVICE_LIFE_MAX_S)));
    assert_eq!(shown["last_use"]["address"], "127.0.0.1");
    assert_eq!(broker.operator().get("/v1/operators/admin").await.json()["kind"], "human");
    // Without a life in the invitation it is 30 days, and a day of an automation.
    let usual = join(&broker, "scraper", &scraper()).await;
    assert_eq!(life_s(&usual), SERVICE_LIFE_S);
    assert_eq!(life_s(&join(&broker, "ci", &job("team")).await), OPERATOR_LIFE_MAX_S);
}

#[tokio::test]
async fn a_renewal_keeps_kind_networks_life_and_person() {
    let mut broker = TestBroker::declared().await;
    let first = join(&broker, "prometheus", &scraper()).await;
    let second = renewed(&broker, &first).await;
    assert_eq!(second.caller.get("/metrics").await.status, 200);
    let shown = async |broker: &TestBroker| {
        let mut shown = broker.operator().get("/v1/operators/prometheus").await.json();
        shown["last_use"]["at"] = json!(null);
        shown
    };
    let before = shown(&broker).await;
    until(async || broker.entries("operator.used").await.len() == 1).await;
    broker.restart().await;
    assert_eq!(shown(&broker).await, before);
    assert_eq!(before["person"], "Ann Li <ann@corp.example>");
    assert_eq!(life_s(&second), SERVICE_LIFE_S);
    let invited = broker.entries("operator.invited").await;
    let event = &invited[0]["event"];
    assert_eq!((&event["operator_kind"], &event["networks"]), (&json!("service"), &json!([HERE])));
    assert_eq!(event["person"], "Ann Li <ann@corp.example>");
}

#[tokio::test]
async fn a_service_is_refused_from_elsewhere_with_one_alarm_a_minute() {
    let broker = TestBroker::declared().await;
    let scraper = join(&broker, "prometheus", &scraper()).await;
    let mut open = scraper.caller.connect().await.unwrap();
    assert_eq!(open.send("GET", "/metrics", &[], b"").await.unwrap().status, 200);
    let admin = broker.operator();
    assert_eq!(change(&admin, "prometheus", &profile(&[ELSEWHERE])).await.status, 200);
    // When the certificate is used from a network that it is not bound to
    refused(&open.send("GET", "/metrics", &[], b"").await.unwrap(), 403, "operator_outside_network");
    for _ in 0..4 {
        let reply = scraper.caller.get("/metrics").await;
        refused(&reply, 403, "operator_outside_network");
        assert!(reply.text().contains("127.0.0.1") && !reply.text().contains(ELSEWHERE), "{}", reply.text());
    }
    let (_, request) = new_key_and_request().unwrap();
    let renewal = scraper.caller.post_json("/v1/renew", &json!({ "csr": base64url(&request) })).await;
    refused(&renewal, 403, "operator_outside_network");
    // Then it is an alarm
    let entries = broker.entries("alarm.operator-elsewhere").await;
    let event = &entries[0]["event"];
    assert_eq!((entries.len(), &event["operator"]), (1, &json!("prometheus")));
    assert_eq!((&event["peer"], &event["networks"]), (&json!("127.0.0.1"), &json!([ELSEWHERE])));
    broker.clock.advance_s(60);
    refused(&scraper.caller.get("/metrics").await, 403, "operator_outside_network");
    let entries = broker.entries("alarm.operator-elsewhere").await;
    assert_eq!(entries.len(), 2);
    assert!(entries[1]["event"]["unrecorded"].as_u64().unwrap() >= 4, "{entries:?}");
    let metrics = admin.get("/metrics").await.text();
    assert!(metrics.contains("keyward_alarms_total{alarm=\"operator_elsewhere\"} 2\n"), "{metrics}");
    // And at home it works again.
    assert_eq!(change(&admin, "prometheus", &profile(&[ELSEWHERE, HERE])).await.status, 200);
    assert_eq!(scraper.caller.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn a_service_code_is_refused_from_elsewhere() {
    let broker = TestBroker::declared().await;
    let invited = json!({ "kind": "service", "networks": [ELSEWHERE] });
    let code = code_for(&broker, "prometheus", &invited).await;
    let (_, request) = new_key_and_request().unwrap();
    for _ in 0..2 {
        refused(&redeem(&broker, &code, &request).await, 401, "enrolment_code_invalid");
    }
    // Then the ledger says so to admins, once a minute, and the answer does not
    let entries = broker.entries("enrolment.refused").await;
    let event = &entries[0]["event"];
    assert_eq!((entries.len(), &event["operator"]), (1, &json!("prometheus")));
    assert_eq!((&event["peer"], &event["networks"]), (&json!("127.0.0.1"), &json!([ELSEWHERE])));
    // And a code with a wrong secret leaves no entry
    let (id, address) = (code.id, code.address.clone());
    let wrong = EnrolmentCode {
        spiffe: code.spiffe.clone(),
        address,
        pin: code.pin,
        id,
        secret: Sensitive::new([7; 32]),
    };
    refused(&redeem(&broker, &wrong, &request).await, 401, "enrolment_code_invalid");
    assert_eq!(broker.entries("enrolment.refused").await.len(), 1);
    assert_eq!(change(&broker.operator(), "prometheus", &profile(&[HERE])).await.status, 200);
    assert_eq!(redeem(&broker, &code, &request).await.status, 201);
}

#[tokio::test]
async fn an_invitation_whose_parts_do_not_fit_is_refused() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    let networks: Vec<String> = (0..=OPERATOR_NETWORKS_MAX).map(|n| format!("10.{n}.0.0/16")).collect();
    for wrong in [
        json!({ "kind": "robot", "networks": [HERE] }),
        json!({ "kind": "service" }),
        json!({ "kind": "service", "networks": [HERE], "role": "admin" }),
        json!({ "kind": "service", "networks": [HERE], "role": "approver" }),
        json!({ "kind": "service", "networks": [HERE], "role": "deployer" }),
        json!({ "kind": "service", "networks": [HERE], "life_s": OPERATOR_LIFE_MIN_S - 1 }),
        json!({ "kind": "service", "networks": [HERE], "life_s": SERVICE_LIFE_MAX_S + 1 }),
        json!({ "kind": "service", "networks": networks }),
        json!({ "kind": "automation" }),
        json!({ "kind": "automation", "owner": "team", "role": "admin" }),
        json!({ "kind": "automation", "owner": "team", "life_s": OPERATOR_LIFE_MAX_S + 1 }),
        json!({ "role": "metrics" }),
        json!({ "role": "deployer", "owner": "team" }),
        json!({ "role": "auditor", "networks": [HERE] }),
        json!({ "role": "auditor", "life_s": 3600 }),
    ] {
        let reply = invite(&admin, "x", &wrong).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "operator_profile_invalid"), "{wrong}");
    }
    for (wrong, code) in [
        (json!({ "kind": "service", "networks": ["10.0.0.1/8"] }), "name_not_canonical"),
        (json!({ "role": "auditor", "person": "" }), "person_invalid"),
        (json!({ "role": "auditor", "person": "x".repeat(PERSON_CHARS_MAX + 1) }), "person_invalid"),
        (json!({ "role": "auditor", "person": "ann\u{202e}" }), "person_invalid"),
    ] {
        refused(&invite(&admin, "x", &wrong).await, 400, code);
    }
    refused(&admin.get("/v1/operators/x").await, 404, "operator_unknown");
    let most = json!({ "kind": "service", "networks": networks[1..], "life_s": OPERATOR_LIFE_MIN_S });
    assert_eq!(invite(&admin, "x", &most).await.status, 201);
    // An operator that exists is as the invitation says, or the invitation is refused.
    for differs in [
        json!({ "kind": "automation" }),
        json!({ "networks": [HERE] }),
        json!({ "life_s": 3600 }),
        json!({ "person": "Ann" }),
    ] {
        refused(&invite(&admin, "x", &differs).await, 409, "operator_profile_mismatch");
    }
    assert_eq!(invite(&admin, "x", &json!({ "kind": "service" })).await.status, 201);
}

#[tokio::test]
async fn a_role_that_is_not_for_the_kind_is_refused() {
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    join(&broker, "prometheus", &scraper()).await;
    join(&broker, "ci", &job("team")).await;
    join(&broker, "alice", &standing("auditor", None)).await;
    let place = async |name: &str, body: Value| {
        let (path, body) = (format!("/v1/operators/{name}/role"), body.to_string());
        admin.put(&path, "application/json", body.as_bytes()).await
    };
    for (name, body) in [
        ("prometheus", json!({ "role": "admin", "owner": null })),
        ("ci", json!({ "role": "admin", "owner": "team" })),
        ("ci", json!({ "role": "deployer", "owner": null })),
        ("alice", json!({ "role": "deployer", "owner": "team" })),
    ] {
        refused(&place(name, body).await, 400, "operator_profile_invalid");
    }
    assert_eq!(place("prometheus", json!({ "role": "auditor", "owner": null })).await.status, 200);
    assert_eq!(place("ci", json!({ "role": "deployer", "owner": "other" })).await.status, 200);
    refused(&change(&admin, "prometheus", &profile(&[])).await, 400, "operator_profile_invalid");
    refused(&change(&admin, "alice", &profile(&[HERE])).await, 400, "operator_profile_invalid");
    refused(&change(&admin, "nobody", &profile(&[])).await, 404, "operator_unknown");
}

#[tokio::test]
async fn an_automation_plans_and_applies_for_its_owner_alone() {
    let broker = TestBroker::declared().await;
    let ci = join(&broker, "ci", &job("team")).await.caller;
    let role = |name: &str| format!("[[role]]\nname = \"{name}\"\ncapabilities = []\n");
    // What it declares belongs to its owner
    let applied = apply(&ci, &role("team-reader")).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    let files = json!({ "files": [{ "name": "a.toml", "text": role("team-writer") }] });
    let planned = ci.post_json("/v1/plan", &files).await;
    assert_eq!((planned.status, &planned.json()["applied"]), (200, &json!(false)));
    let roles = broker.operator().get("/v1/roles").await.json();
    let declared =
        roles["items"].as_array().unwrap().iter().find(|one| one["name"] == "team-reader").unwrap();
    assert_eq!(declared["owner"], "team");
    // and it reaches nothing of others, no secret, no code and no revocation.
    let foreign = "[[role]]\nname = \"repo-reader\"\ncapabilities = []\n";
    refused(&apply(&ci, foreign).await, 422, "declarations_invalid");
    let owned = format!("{}owner = \"other\"\n", role("x"));
    refused(&apply(&ci, &owned).await, 422, "declarations_invalid");
    for path in ["/v1/agents/a/invitations", "/v1/agents/a/revoke", "/v1/operators/x/invitations"] {
        refused(&ci.post_json(path, &json!({ "roles": [] })).await, 403, "operator_role_insufficient");
    }
    refused(&ci.post_json("/v1/plan-checks/team/app", &files).await, 403, "operator_role_insufficient");
    refused(&ci.get("/v1/secrets").await, 403, "operator_role_insufficient");
    // A refusal names a role that an automation can have.
    let fix = |reply: &Reply| reply.json()["fix"].as_str().unwrap().to_owned();
    let export = ci.post_json("/v1/export", &json!({})).await;
    refused(&export, 403, "operator_role_insufficient");
    assert!(fix(&export).contains("--automation --role auditor"), "{}", fix(&export));
    let suspend = ci.post_json("/v1/agents/a/suspend", &json!({})).await;
    let said = fix(&suspend);
    assert!(
        said.contains("a person with the role admin or security") && !said.contains("operator role"),
        "{said}"
    );
    refused(&ci.get("/v1/agents").await, 403, "operator_role_insufficient");
}

#[tokio::test]
async fn an_auditor_plans_for_its_owner_and_applies_nothing() {
    let broker = TestBroker::declared().await;
    let body = json!({ "kind": "automation", "owner": "team", "role": "auditor" });
    let ci = join(&broker, "ci-plan", &body).await.caller;
    let text = "[[role]]\nname = \"team-reader\"\ncapabilities = []\n";
    let files = json!({ "files": [{ "name": "a.toml", "text": text }] });
    let planned = ci.post_json("/v1/plan", &files).await;
    assert_eq!((planned.status, &planned.json()["changes"][0]["action"]), (200, &json!("create")));
    refused(&apply(&ci, text).await, 403, "operator_role_insufficient");
    // A name of another owner looks like a new one
    let foreign = text.replace("team-reader", "repo-reader");
    let foreign = json!({ "files": [{ "name": "a.toml", "text": foreign }] });
    let planned = ci.post_json("/v1/plan", &foreign).await;
    assert_eq!((planned.status, &planned.json()["changes"][0]["action"]), (200, &json!("create")));
}

#[tokio::test]
async fn a_program_has_one_entry_a_day_for_its_uses() {
    let mut broker = TestBroker::declared().await;
    let scraper = join(&broker, "prometheus", &scraper()).await.caller;
    for _ in 0..3 {
        assert_eq!(scraper.get("/metrics").await.status, 200);
    }
    until(async || broker.entries("operator.used").await.len() == 1).await;
    let used = |broker: &TestBroker| {
        let admin = broker.operator();
        async move { admin.get("/v1/operators/prometheus").await.json()["last_use"].clone() }
    };
    let first = broker.clock.now();
    assert_eq!(used(&broker).await, json!({ "at": first.to_string(), "address": "127.0.0.1" }));
    // After a restart the ledger has the day's first use
    broker.clock.advance_s(60);
    assert_eq!(scraper.get("/metrics").await.status, 200);
    broker.restart().await;
    let recorded = used(&broker).await["at"].as_str().unwrap().to_owned();
    assert!(recorded < broker.clock.now().plus_s(-30).to_string(), "{recorded}");
    let held = Caller { address: broker.admins(), config: scraper.config.clone() };
    assert_eq!(held.get("/metrics").await.status, 200);
    assert_eq!(used(&broker).await["at"], broker.clock.now().to_string());
    assert_eq!(broker.entries("operator.used").await.len(), 1, "one is enough for the day");
    broker.clock.advance_s(u32::try_from(OPERATOR_USE_ENTRY_S / 3).unwrap());
    assert_eq!(held.get("/metrics").await.status, 200);
    // A human's use has no entry.
    assert_eq!(broker.entries("operator.used").await.len(), 1);
}

#[tokio::test]
async fn a_service_is_asked_to_renew_when_the_next_authority_is_published() {
    let broker = TestBroker::declared().await;
    let long = json!({ "kind": "service", "networks": [HERE] });
    let scraper = join(&broker, "prometheus", &long).await;
    let wanted = async |by: &Caller| by.get("/v1/whoami").await.json()["renew_now"].clone();
    broker.clock.advance_s(120);
    assert_eq!(wanted(&scraper.caller).await, json!(false));
    assert_eq!(post(&broker.operator(), "/v1/authorities").await.status, 200);
    assert_eq!(wanted(&scraper.caller).await, json!(true));
    assert_eq!(wanted(&broker.operator()).await, json!(true), "each operator");
    broker.clock.advance_s(120);
    let next = renewed(&broker, &scraper).await;
    assert_eq!(wanted(&next.caller).await, json!(false));
}
