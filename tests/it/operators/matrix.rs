//! Role × route: the table that was reviewed, and every route against every role over real TLS.

use keyward::base::Clock;
use keyward::http::{Caller as Who, Route, admin_routes};
use keyward::operators::{OperatorKind, OperatorRole};
use keyward::policy::{Reach, RequiredRight};
use keyward::wire::REVOKE_OWN_CERTIFICATE;
use serde_json::{Value, json};

use super::{Operator, join, post, refused, standing};
use crate::routes::{authority_with, forged, is_refused, knock};
use crate::support::broker::{Reply, TestBroker};

/// Who may call what at the admin listener. A change of this file is a change of who may do what.
const REVIEWED: &str = include_str!("matrix.txt");

fn guarded() -> impl Iterator<Item = (Route, RequiredRight)> {
    admin_routes().into_iter().filter_map(|route| match route.caller {
        Who::Operator(need) => Some((route, need)),
        Who::Public | Who::Agent | Who::ResourceServer | Who::Enrolled | Who::Host => None,
    })
}

fn written() -> String {
    let row = |(route, need): (Route, RequiredRight)| {
        let may = |role: OperatorRole| if need.roles.contains(&role) { role.as_str() } else { "-" };
        let roles: Vec<String> = OperatorRole::ALL.iter().map(|role| format!("{:8}", may(*role))).collect();
        let bound = if need.reach == Reach::Owned { "bound" } else { "-" };
        let row =
            format!("{:4} {:47} {:19} {} {bound}", route.method, route.path, need.right, roles.join(" "));
        format!("{}\n", row.trim_end())
    };
    guarded().map(row).collect()
}

/// What an operator with this role is invited as.
fn of_its_kind(role: OperatorRole, owner: Option<&str>) -> Value {
    let mut body = standing(role.as_str(), owner);
    let kind = OperatorKind::ALL.into_iter().find(|kind| kind.roles().contains(&role)).unwrap();
    body["kind"] = json!(kind.as_str());
    if kind == OperatorKind::Service {
        body["networks"] = json!(["127.0.0.0/8"]);
    }
    body
}

/// The role is allowed; the outcome of the handler does not matter.
fn is_let_in(reply: &Reply) -> bool {
    ![401, 403].contains(&reply.status)
}

#[test]
fn the_matrix_of_roles_and_routes_is_the_reviewed_one() {
    let written = written();
    assert!(written == REVIEWED, "tests/it/operators/matrix.txt does not say:\n{written}");
}

/// Hazard POL-14.
#[tokio::test]
async fn every_route_lets_in_exactly_the_roles_of_the_matrix() {
    let broker = TestBroker::declared().await;
    broker.agent("research-bot", &["repo-reader"]).await;
    for role in OperatorRole::ALL {
        // A deployer is always bound to an owner.
        let unbound = if role == OperatorRole::Deployer {
            None
        } else {
            Some(join(&broker, &format!("the-{role}"), &of_its_kind(role, None)).await)
        };
        let bound = join(&broker, &format!("bound-{role}"), &of_its_kind(role, Some("team"))).await;
        // The caller's own certificate is revoked at the end.
        let mut all: Vec<_> = guarded().collect();
        all.sort_by_key(|(route, _)| route.path == REVOKE_OWN_CERTIFICATE.path);
        for (route, need) in all {
            if let Some(unbound) = &unbound {
                let reply = knock(&unbound.caller, &route).await.unwrap();
                if need.roles.contains(&role) {
                    assert!(is_let_in(&reply), "{role} {route:?}: {}", reply.text());
                } else {
                    refused(&reply, 403, "operator_role_insufficient");
                }
            }
            let reply = knock(&bound.caller, &route).await.unwrap();
            match (need.roles.contains(&role), need.reach) {
                (true, Reach::Owned) => assert!(is_let_in(&reply), "{role} {route:?}: {}", reply.text()),
                (true, Reach::Everything) => refused(&reply, 403, "operator_scope_insufficient"),
                (false, _) => refused(&reply, 403, "operator_role_insufficient"),
            }
        }
    }
}

/// Hazard POL-14.
#[tokio::test]
async fn no_other_method_and_no_header_makes_a_reader_a_writer() {
    let broker = TestBroker::declared().await;
    let auditor = join(&broker, "eve", &standing("auditor", None)).await.caller;
    let before = broker.operator().get("/v1/ledger/entries").await.json()["head"].clone();
    for (route, _) in guarded() {
        let path = crate::routes::path(&route);
        for method in ["PATCH", "DELETE", "OPTIONS"] {
            let reply = auditor.send(method, &path, &[], b"").await;
            assert_eq!((reply.status, reply.code().as_str()), (405, "method_not_allowed"), "{method} {path}");
        }
        let overridden = [("x-http-method-override", "PUT"), ("content-type", "application/octet-stream")];
        let reply = auditor.send("GET", &path, &overridden, b"").await;
        assert!([200, 403, 404, 405].contains(&reply.status), "{path}: {}", reply.text());
    }
    let entries = broker.operator().get(&format!("/v1/ledger/entries?after={before}")).await.json();
    let items = entries["items"].as_array().unwrap();
    let is_expected =
        |item: &Value| ["operator.denied", "ledger.read"].iter().any(|kind| item["kind"] == *kind);
    assert!(items.iter().all(is_expected), "{entries}");
}

#[tokio::test]
async fn guarded_routes_refuse_anonymous_foreign_agent_and_revoked_callers() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("research-bot", &["repo-reader"]).await;
    let agent = broker.caller(broker.admins(), Some(&agent.certificate), Some(&agent.key));
    let revoked = join(&broker, "gone", &standing("admin", None)).await;
    let mut open = revoked.caller.connect().await.unwrap();
    assert_eq!(open.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    assert_eq!(post(&broker.operator(), "/v1/operators/gone/revoke").await.status, 200);
    let foreign = authority_with(&keyward::crypto::EcdsaKey::generate().unwrap(), broker.clock.now());
    let (certificate, key) = forged(&broker, &foreign, "spiffe://keyward.test/operator/admin", 3600);
    let stranger = broker.caller(broker.admins(), Some(&certificate), Some(&key));
    let nobody = broker.nobody(broker.admins());
    for (route, _) in guarded() {
        for caller in [&agent, &revoked.caller, &stranger, &nobody] {
            assert!(is_refused(&knock(caller, &route).await), "{route:?}");
        }
    }
    assert_eq!(broker.operator().get("/v1/whoami").await.status, 200);
}

#[tokio::test]
async fn a_wrong_role_is_told_what_it_takes_and_is_on_the_ledger_within_bounds() {
    let broker = TestBroker::declared().await;
    let Operator { caller: auditor, .. } = join(&broker, "eve", &standing("auditor", None)).await;
    let denied = auditor.put("/v1/secrets/github/app", "application/octet-stream", b"CNRY").await;
    refused(&denied, 403, "operator_role_insufficient");
    assert!(denied.json()["fix"].as_str().unwrap().contains("admin"), "{}", denied.text());
    assert_eq!(broker.operator().get("/v1/secrets").await.json()["items"][0]["version"], 1);
    for _ in 0..39 {
        refused(&post(&auditor, "/v1/agents/a/revoke").await, 403, "operator_role_insufficient");
    }
    let entries = broker.entries("operator.denied").await;
    assert_eq!(entries.len(), 30);
    let event = &entries[0]["event"];
    assert_eq!(
        (&event["operator"], &event["role"], &event["right"], &event["code"]),
        (&"eve".into(), &"auditor".into(), &"store-secrets".into(), &"operator_role_insufficient".into())
    );
    broker.clock.advance_s(2);
    refused(&post(&auditor, "/v1/agents/a/revoke").await, 403, "operator_role_insufficient");
    assert_eq!(broker.entries("operator.denied").await[30]["event"]["unrecorded"], json!(10));
}
