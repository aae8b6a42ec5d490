//! Passwords of `MariaDB`'s accounts: the values that are handed out log in.

use serde_json::{Value, json};

use super::FIRST;
use crate::rotation::BYTES;
use crate::support::broker::{Reply, TestBroker};
use crate::support::mariadb::{ADMIN_PASSWORD, MariaDb};

pub(crate) const BY_ADMIN: &str =
    "user = \"app\"\nadmin_user = \"keyward_admin\"\nadmin_secret = \"orders-db/admin\"";
const BY_ITSELF: &str = "user = \"app\"";
pub(crate) const IN_TURN: &str =
    "users = [\"app\", \"app_b\"]\nadmin_user = \"keyward_admin\"\nadmin_secret = \"orders-db/admin\"";

pub(crate) fn declared(server: &MariaDb, upstream: &str) -> String {
    let fields = server.declared("mariadb");
    format!(
        r#"
[[capability]]
name = "orders.read"
access = "read"
delivery = "reveal"
secret = "orders-db/app"
max_life_s = 300

[[role]]
name = "orders"
capabilities = ["orders.read"]

[[rotation]]
secret = "orders-db/app"
grace = "2h"
[rotation.upstream]
{fields}{upstream}
"#
    )
}

struct Scene {
    broker: TestBroker,
    server: MariaDb,
}

impl Scene {
    async fn start(upstream: &str, first: &str) -> Self {
        let (broker, server) = (TestBroker::start().await, MariaDb::start(FIRST));
        for (name, value) in [("orders-db/app", first), ("orders-db/admin", ADMIN_PASSWORD)] {
            let stored = broker.operator().put(&format!("/v1/secrets/{name}"), BYTES, value.as_bytes()).await;
            assert_eq!(stored.status, 201, "{}", stored.text());
        }
        let applied = broker.apply(&declared(&server, upstream)).await;
        assert_eq!(applied.status, 200, "{}", applied.text());
        Self { broker, server }
    }

    async fn act(&self, action: &str) -> Reply {
        let body = json!({ "action": action });
        self.broker.operator().post_json("/v1/rotations/orders-db/app", &body).await
    }

    async fn rotate(&self) {
        let begun = self.act("rotate").await;
        assert_eq!(begun.status, 200, "{}", begun.text());
        self.broker.rotate_due().await;
    }

    async fn run(&self) -> Value {
        self.broker.operator().get("/v1/rotations/orders-db/app").await.json()["run"].clone()
    }

    async fn value(&self) -> String {
        let agent = self.broker.agent("orders-bot", &["orders"]).await;
        agent.secret("orders-db/app", &agent.token("orders.read").await).await.text()
    }
}

#[tokio::test]
async fn a_mariadb_password_is_rotated_and_the_handed_out_one_logs_in() {
    for upstream in [BY_ADMIN, BY_ITSELF] {
        // Given the password of a user, which an administrator or the user itself sets
        let scene = Scene::start(upstream, FIRST).await;
        // When it is rotated
        scene.rotate().await;
        // Then the new one logs in, the old one does not, and none is in the server's log
        assert!(scene.run().await.is_null(), "{}", scene.run().await);
        let value = scene.value().await;
        assert!(scene.server.lets_in("app", &value) && !scene.server.lets_in("app", FIRST));
        let log = scene.server.log();
        assert!(log.contains("PASSWORD") || log.contains("IDENTIFIED VIA"), "statements are logged");
        assert!(!log.contains(&value), "the password is in the server's log");
    }
}

#[tokio::test]
async fn two_mariadb_users_take_turns_and_the_old_one_ends_after_its_grace() {
    // Given two users in turn, and a session of the one in use
    let first = json!({ "username": "app", "password": FIRST }).to_string();
    let scene = Scene::start(IN_TURN, &first).await;
    let mut session = scene.server.session("app", FIRST);
    // When the secret is rotated
    scene.rotate().await;
    // Then the other user's password is handed out, and the first one works in its grace period
    let value: Value = serde_json::from_str(&scene.value().await).unwrap();
    assert_eq!(value["username"], "app_b");
    let password = value["password"].as_str().unwrap();
    assert!(scene.server.lets_in("app_b", password) && scene.server.lets_in("app", FIRST));
    // And after it the first one and its session end
    scene.broker.clock.advance_s(2 * 3600);
    scene.broker.rotate_due().await;
    assert!(scene.run().await.is_null(), "{}", scene.run().await);
    assert!(!scene.server.lets_in("app", FIRST) && scene.server.lets_in("app_b", password));
    assert!(!session.wait().unwrap().success());
}

#[tokio::test]
async fn a_check_of_mariadb_says_which_privilege_is_missing() {
    let scene = Scene::start(BY_ADMIN, FIRST).await;
    scene.server.sql("REVOKE CREATE USER ON *.* FROM keyward_admin@'%'");
    let operator = scene.broker.operator();
    let checked = operator.post_json("/v1/rotation-checks/orders-db/app", &json!({})).await;
    let findings = checked.json()["findings"].as_array().cloned().unwrap_or_default();
    let of = |what: &str| {
        let found = findings.iter().find(|one| one["what"] == what);
        found.unwrap_or_else(|| panic!("{}", checked.text())).clone()
    };
    assert_eq!((&of("connection")["ok"], &of("value")["ok"]), (&json!(true), &json!(true)));
    let privilege = of("privilege");
    assert_eq!(privilege["ok"], false);
    assert!(privilege["fix"].as_str().unwrap().starts_with("GRANT CREATE USER"), "{privilege}");
}

#[tokio::test]
async fn a_check_of_two_mariadb_users_says_whether_sessions_can_be_ended() {
    let first = json!({ "username": "app", "password": FIRST }).to_string();
    let scene = Scene::start(IN_TURN, &first).await;
    let sessions = async || {
        let checked =
            scene.broker.operator().post_json("/v1/rotation-checks/orders-db/app", &json!({})).await.json();
        let findings = checked["findings"].as_array().unwrap().clone();
        findings.into_iter().find(|one| one["what"] == "sessions").unwrap()
    };
    assert_eq!(sessions().await["ok"], true);
    scene.server.sql("REVOKE PROCESS ON *.* FROM keyward_admin@'%'");
    let found = sessions().await;
    assert_eq!(
        (&found["ok"], &found["fix"]),
        (&json!(false), &json!("GRANT PROCESS ON *.* TO keyward_admin"))
    );
}

#[tokio::test]
async fn a_mariadb_with_a_wrong_certificate_is_refused_with_the_reason() {
    let mut scene = Scene::start(BY_ADMIN, FIRST).await;
    for (name, reason) in [("db.other.example", "wrong_name"), ("127.0.0.1", "bad_signature")] {
        // Given a server that shows another name, or a certificate of another authority
        scene.server.show(name);
        if name != "127.0.0.1" {
            assert_eq!(
                scene.broker.apply(&super::rotation::declared(&scene.server, BY_ADMIN)).await.status,
                200
            );
        }
        // When a rotation is tried
        scene.act(if name == "127.0.0.1" { "retry" } else { "rotate" }).await;
        scene.broker.clock.advance_s(1800);
        scene.broker.rotate_due().await;
        // Then nothing is changed, and the reason is named
        let run = scene.run().await;
        assert_eq!(run["trouble"]["code"], "upstream_handshake_failed", "{run}");
        assert_eq!(run["trouble"]["detail"], reason, "{run}");
        assert_eq!(run["stage"], "begun");
    }
}
