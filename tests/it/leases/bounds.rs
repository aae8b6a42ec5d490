//! What is refused, at its limit and beyond.

use keyward::base::limits::{
    LEASE_LIFE_MAX_S, LEASE_LIFE_MIN_S, LEASE_LIFE_S, LEASE_USES_MAX, SEALS_MAX, SEALS_RESERVED,
};
use keyward::base::{Clock, SystemClock, SystemEntropy};
use keyward::keyring::{Family, Keyring, SlotKey};
use serde_json::json;

use super::{BY_ADMIN, Login, Scene, declared};
use crate::support::broker::TestBroker;
use crate::support::postgres::Postgres;

#[tokio::test]
async fn no_login_is_made_whose_password_could_not_be_sealed() {
    let scene = Scene::start().await;
    scene.broker.running.as_ref().unwrap().count_seals(SEALS_MAX - SEALS_RESERVED);
    let refused = scene.ask(&json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "key_exhausted"), "{}", refused.text());
    assert_eq!(scene.logins(), "", "upstream was not asked");
    assert_eq!(scene.broker.operator().post("/v1/value-key/rotate", "", b"").await.status, 200);
    assert_eq!(scene.ask(&json!({})).await.status, 200);
}

#[tokio::test]
async fn an_agent_has_as_many_leases_as_it_may_and_not_one_more_however_it_asks() {
    let scene = Scene::start_with(3, BY_ADMIN).await;
    let fresh = json!({ "fresh": true });
    let asked = [(); 5].map(|()| scene.ask(&fresh));
    let [a, b, c, d, e] = asked;
    let (a, b, c, d, e) = tokio::join!(a, b, c, d, e);
    let replies = [a, b, c, d, e];
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 3);
    for refused in replies.iter().filter(|reply| reply.status != 200) {
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (429, "lease_limit_reached"),
            "{}",
            refused.text()
        );
    }
    assert_eq!(scene.logins().split(' ').count(), 3);
    assert_eq!(scene.lease(&json!({})).await.0["reused"], true, "one that there is counts once");
    // One that is ending still counts: it may be there.
    let first = replies.iter().find(|reply| reply.status == 200).unwrap();
    let login = Login(first.json());
    assert_eq!(scene.act(&login, "give-up", &json!({})).await.status, 200);
    scene.broker.end_due_leases().await;
    assert_eq!(scene.ask(&fresh).await.status, 200);
    assert_eq!(scene.ask(&fresh).await.code(), "lease_limit_reached");
    let other = scene.broker.agent("other-bot", &["orders"]).await;
    let body = json!({ "capability": "orders.query" });
    assert_eq!(other.caller.post_json("/v1/leases", &body).await.status, 200, "the limit of another agent");
}

#[tokio::test]
async fn what_is_asked_for_in_another_way_is_refused_and_recorded() {
    let scene = Scene::start().await;
    for (body, status, code) in [
        (json!({ "life_s": LEASE_LIFE_MIN_S - 1 }), 400, "lease_life_too_short"),
        (json!({ "capability": "no.such" }), 403, "lease_not_granted"),
        (json!({ "capability": "NO" }), 400, "name_not_canonical"),
        (json!({ "more": 1 }), 400, "json_invalid"),
    ] {
        let refused = scene.ask(&body).await;
        assert_eq!((refused.status, refused.code().as_str()), (status, code), "{body}: {}", refused.text());
    }
    assert_eq!(scene.broker.entries("request.denied").await.len(), 1);
    assert_eq!(scene.lease(&json!({ "life_s": LEASE_LIFE_MIN_S })).await.0["constrained"], json!(null));
    let usual = scene.lease(&json!({ "fresh": true })).await;
    let until = scene.broker.clock.now().plus_s(i64::from(LEASE_LIFE_S));
    assert_eq!(usual.field("expires_at"), until.to_string(), "when nothing is said");
    let long = scene.lease(&json!({ "life_s": 14401, "fresh": true })).await;
    assert_eq!(long.0["constrained"].as_array().unwrap().len(), 1, "the capability's longest life");
    assert_eq!(long.field("expires_at"), long.field("renewable_until"));
    let token = scene.agent.ask("grant_type=client_credentials&scope=orders.query").await;
    assert_eq!(
        (token.status, &token.json()["code"]),
        (400, &json!("capability_delivered_as_lease")),
        "{}",
        token.text()
    );
}

/// Invariant I12.
#[tokio::test]
async fn a_fresh_login_is_made_once_for_one_request() {
    const FRESH: &str = "{\"capability\":\"orders.query\",\"fresh\":true}";
    let mut scene = Scene::start().await;
    let keyed = async |scene: &Scene, key: &str, body: &str| {
        let named = [("content-type", "application/json"), ("idempotency-key", key)];
        scene.agent.caller.send("POST", "/v1/leases", &named, body.as_bytes()).await
    };
    let (one, two) = tokio::join!(keyed(&scene, "k", FRESH), keyed(&scene, "k", FRESH));
    let login = Login(one.json());
    assert_eq!((one.status, two.status), (200, 200), "{} {}", one.text(), two.text());
    scene.broker.restart().await;
    scene.agent.caller =
        scene.broker.caller(scene.broker.agents(), Some(&scene.agent.certificate), Some(&scene.agent.key));
    let again = Login(keyed(&scene, "k", FRESH).await.json());
    for other in [&Login(two.json()), &again] {
        for field in ["lease", "username", "password", "expires_at"] {
            assert_eq!(other.field(field), login.field(field), "{field}");
        }
    }
    assert_eq!(again.0["reused"], true);
    assert_eq!((scene.logins().as_str(), scene.lets_in(&again)), (login.name(), true));
    assert_eq!(scene.broker.entries("lease.intended").await.len(), 1);
    let other = keyed(&scene, "k", &FRESH.replace("true", "false")).await;
    assert_eq!((other.status, other.code().as_str()), (422, "idempotency_key_reused"));
    assert_ne!(Login(keyed(&scene, "k2", FRESH).await.json()).id(), login.id());

    // What is over is forgotten: a login of no use would help nobody.
    assert_eq!(scene.act(&login, "give-up", &json!({})).await.status, 200);
    let next = Login(keyed(&scene, "k", FRESH).await.json());
    assert_ne!(next.id(), login.id());
    // A password that an earlier value key sealed is not told again.
    scene.broker.clock.advance_s(1);
    assert_eq!(scene.broker.operator().post("/v1/value-key/rotate", "", b"").await.status, 200);
    let kept = keyed(&scene, "k", FRESH).await;
    assert_eq!((kept.status, kept.code().as_str()), (409, "replay_secret_not_stored"), "{}", kept.text());
    assert!(kept.text().contains(next.id()) && !kept.text().contains(next.password()));
}

/// Hazard ROT-11.
#[tokio::test]
async fn unusable_lease_declarations_are_refused_and_change_nothing() {
    let scene = Scene::start().await;
    let whole = |more: &str| declared(&scene.postgres, 10, &format!("{BY_ADMIN}\n{more}"));
    for (text, says) in [
        (whole("member_of = ['CNRY\"; DROP ROLE postgres; --']"), "`member_of`"),
        (whole("heir = \"CNRY'\""), "`heir`"),
        (whole("statements = [\"GRANT a TO {CNRY}\"]"), "can have only the field"),
        (whole("statements = [\"GRANT a TO {login}; DROP TABLE CNRY\"]"), "without `;`"),
        (whole("").replace("orders-db/admin", "no/such"), "`admin_secret`"),
        (whole("").replace("capability = \"orders.query\"", "capability = \"no.such\""), "delivery `lease`"),
        (whole("").replace("14400", &(LEASE_LIFE_MAX_S + 1).to_string()), "`max_life_s`"),
        (whole("").replace("14400", &(LEASE_LIFE_MIN_S - 1).to_string()), "`max_life_s`"),
        (whole("").replace("\"lease\"", "\"lease\"\nsecret = \"orders-db/admin\""), "has neither"),
        (
            "[[capability]]\nname = \"a.b\"\naccess = \"read\"\ndelivery = \"lease\"\nmax_life_s = 60\n"
                .to_owned(),
            "`[[lease]]`",
        ),
    ] {
        let refused = scene.broker.apply(&text).await;
        crate::refusals::refused(&refused, 422, "declarations_invalid");
        assert!(refused.text().contains(says), "{says}: {}", refused.text());
    }
    assert_eq!(
        scene.broker.apply(&whole("").replace("14400", &LEASE_LIFE_MAX_S.to_string())).await.status,
        200
    );
    assert!(scene.lets_in(&scene.lease(&json!({})).await));
}

#[tokio::test]
async fn logins_of_a_removed_capability_are_revoked_where_they_were_made() {
    let scene = Scene::start().await;
    let login = scene.lease(&json!({})).await;
    let body = json!({ "files": [{ "name": "a.toml", "text": "[[agent]]\nname = \"orders-bot\"\nroles = []\n" }], "prune": true });
    let applied = scene.broker.operator().post_json("/v1/apply", &body).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    let removed: Vec<_> =
        applied.json()["changes"].as_array().unwrap().iter().map(|line| line["kind"].clone()).collect();
    assert!(removed.contains(&json!("lease")), "{removed:?}");
    scene.broker.end_due_leases().await;
    assert!(!scene.lets_in(&login));
    assert_eq!(scene.logins(), "");
}

#[tokio::test]
async fn a_login_is_handed_out_so_often_and_then_there_is_another() {
    let scene = Scene::start().await;
    let first = scene.lease(&json!({})).await;
    for _ in 1..LEASE_USES_MAX {
        assert_eq!(scene.lease(&json!({})).await.id(), first.id());
    }
    assert_ne!(scene.lease(&json!({})).await.id(), first.id(), "one beyond");
}

/// Hazard KEY-11.
#[tokio::test]
async fn a_login_under_an_earlier_value_key_is_not_handed_out_again() {
    let mut scene = Scene::start().await;
    let first = scene.lease(&json!({})).await;
    // A stop came when the next generation was durable in the keyring, and before its entry.
    scene.broker.stop().await;
    let slot = SlotKey::from_file(&scene.broker.path().join("root.key")).unwrap();
    let path = scene.broker.data().join("keyring");
    Keyring::open(&path, &slot).unwrap().extend(&path, (Family::Value, 2), &SystemEntropy).unwrap();
    scene.broker.serve().await;
    let (agent, address) = (&scene.agent, scene.broker.agents());
    scene.agent.caller = scene.broker.caller(address, Some(&agent.certificate), Some(&agent.key));
    scene.broker.look_after().await;
    scene.broker.clock.advance_s(1);
    let second = scene.lease(&json!({})).await;
    assert_ne!(second.id(), first.id());
    assert!(scene.lets_in(&second));
    assert_eq!(scene.broker.entries("value-key.rotated").await.len(), 1);
}

/// A private key in PEM, as far as its label goes.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nCNRY\n-----END PRIVATE KEY-----\n";

#[tokio::test]
async fn a_ca_takes_certificates_alone_and_nothing_else_is_handed_out() {
    let scene = Scene::start().await;
    let text = declared(&scene.postgres, 10, BY_ADMIN);
    let beginning = |more: &str| text.replace("ca = \"\"\"\n", &format!("ca = \"\"\"\n{more}"));
    assert_ne!(beginning(KEY), text);
    let rotation = format!(
        "\n[[rotation]]\nsecret = \"orders-db/admin\"\n[rotation.upstream]\n{}role = \"app\"\n",
        scene.postgres.declared().replace("ca = \"\"\"\n", &format!("ca = \"\"\"\n{KEY}"))
    );
    for declarations in [beginning(KEY), format!("{text}{rotation}")] {
        let reply = scene.broker.apply(&declarations).await;
        assert_eq!(reply.status, 422, "{}", reply.text());
        assert!(
            reply.text().contains("`ca` holds a PEM section that is not a CERTIFICATE"),
            "{}",
            reply.text()
        );
        assert!(!reply.text().contains("CNRY"), "{}", reply.text());
    }
    let reply = scene.broker.apply(&beginning("Bag Attributes\n    friendlyName: CNRY\n")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let login = scene.lease(&json!({ "fresh": true })).await;
    let ca = login.connection("ca");
    assert!(ca.starts_with("-----BEGIN CERTIFICATE-----") && !ca.contains("CNRY"), "{ca}");
}

#[tokio::test]
async fn no_login_is_created_that_has_ended_by_the_servers_clock() {
    // Given a broker whose clock is a day behind that of the server
    let behind = SystemClock::new().now().plus_s(-86_400);
    let broker = TestBroker::start_at(behind, "").await;
    let scene = Scene::with(broker, Postgres::start(), 3, BY_ADMIN).await;
    // When an agent asks for a login, then it gets none, and none is there
    let refused = scene.ask(&json!({})).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "upstream_clock_ahead"),
        "{}",
        refused.text()
    );
    assert_eq!((scene.logins().as_str(), scene.listed().await.len()), ("", 0));
}

#[tokio::test]
async fn a_copy_of_a_declaration_with_other_line_ends_is_no_change() {
    let scene = Scene::start_with(3, BY_ADMIN).await;
    let text = declared(&scene.postgres, 3, BY_ADMIN).replace('\n', "\r\n");
    let body = json!({ "files": [{ "name": "a.toml", "text": text }] });
    let planned = scene.broker.operator().post_json("/v1/plan", &body).await;
    assert_eq!((planned.status, &planned.json()["changes"]), (200, &json!([])), "{}", planned.text());
}

#[tokio::test]
async fn a_failed_lease_advises_no_retry_of_a_rotation() {
    let scene = Scene::start_with(3, &BY_ADMIN.replace("keyward_admin", "nobody_there")).await;
    let refused = scene.ask(&json!({})).await;
    assert_eq!(refused.code(), "upstream_login_refused");
    assert!(!refused.text().contains("rotation retry"), "{}", refused.text());
}
