//! Rotations against a real PostgreSQL: the values that are handed out log in.

mod canary;
mod checks;
mod clones;
mod first_value;
mod http_addresses;
mod http_driver;
mod http_makes;
mod kills;
mod overtaken;
mod previous_revoked;
mod rebinding;
mod setbacks;
mod steering;
mod storm;
mod unproven;
mod upstream;
mod ways_out;

use serde_json::{Value, json};

use crate::support::broker::{Agent, Reply, TestBroker};
use crate::support::postgres::{ADMIN_PASSWORD, Postgres};

/// Where the services of these tests are.
pub(crate) const LOOPBACK: &str = "[upstream]\nallow_networks = [\"127.0.0.1/32\"]\n";

pub(crate) const BYTES: &str = "application/octet-stream";

/// A broker with a PostgreSQL, a role there whose password is a secret, and an agent that reads it.
pub(crate) struct Scene {
    pub(crate) broker: TestBroker,
    pub(crate) postgres: Postgres,
    pub(crate) agent: Agent,
}

/// The first password of the role `app`.
pub(crate) const FIRST: &str = "CNRY-the-first-password";

const READING: &str = r#"
[[capability]]
name = "orders.read"
access = "read"
delivery = "reveal"
secret = "orders-db/app"
max_life_s = 300

[[role]]
name = "orders"
capabilities = ["orders.read"]
"#;

impl Scene {
    /// `more` is what the rotation and its upstream say beside where the server is.
    pub(crate) async fn start(schedule: &str, upstream: &str) -> Self {
        Self::start_at(Postgres::start(), schedule, upstream).await
    }

    pub(crate) async fn start_at(postgres: Postgres, schedule: &str, upstream: &str) -> Self {
        postgres.sql(&format!("CREATE ROLE app LOGIN PASSWORD '{FIRST}'"));
        postgres.has_administered("app");
        // Long enough for a look at what is handed out, once a day.
        let broker = TestBroker::start_with("[certificates]\nagent_life_s = 604800\n").await;
        let operator = broker.operator();
        let first = if upstream == IN_TURN {
            json!({ "username": "app", "password": FIRST }).to_string()
        } else {
            FIRST.to_owned()
        };
        for (name, value) in [("orders-db/app", &*first), ("orders-db/admin", ADMIN_PASSWORD)] {
            let stored = operator.put(&format!("/v1/secrets/{name}"), BYTES, value.as_bytes()).await;
            assert_eq!(stored.status, 201, "{}", stored.text());
        }
        let text = declared(&postgres, schedule, upstream);
        let applied = broker.apply(&text).await;
        assert_eq!(applied.status, 200, "{}", applied.text());
        let agent = broker.agent("orders-bot", &["orders"]).await;
        Self { broker, postgres, agent }
    }

    /// The value that the agent is given, and its version.
    pub(crate) async fn read(&self) -> (String, String) {
        let token = self.agent.token("orders.read").await;
        let reply = self.agent.secret("orders-db/app", &token).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let version = reply.header("keyward-secret-version").to_owned();
        (reply.text(), version)
    }

    pub(crate) async fn act(&self, action: &str) -> Reply {
        let body = json!({ "action": action });
        self.broker.operator().post_json("/v1/rotations/orders-db/app", &body).await
    }

    pub(crate) async fn shown(&self) -> Value {
        self.broker.operator().get("/v1/rotations/orders-db/app").await.json()
    }
}

pub(crate) fn declared(postgres: &Postgres, schedule: &str, upstream: &str) -> String {
    let server = postgres.declared();
    format!(
        "{READING}\n[[rotation]]\nsecret = \"orders-db/app\"\n{schedule}\n[rotation.upstream]\n{server}{upstream}\n"
    )
}

pub(crate) const BY_ADMIN: &str =
    "role = \"app\"\nadmin_role = \"keyward_admin\"\nadmin_secret = \"orders-db/admin\"";
pub(crate) const BY_ITSELF: &str = "role = \"app\"";
pub(crate) const IN_TURN: &str =
    "roles = [\"app\", \"app_b\"]\nadmin_role = \"keyward_admin\"\nadmin_secret = \"orders-db/admin\"";

#[tokio::test]
async fn a_password_is_rotated_by_hand_and_what_is_handed_out_logs_in() {
    for upstream in [BY_ADMIN, BY_ITSELF] {
        let scene = Scene::start("", upstream).await;
        assert_eq!(scene.read().await, (FIRST.to_owned(), "1".to_owned()));
        let begun = scene.act("rotate").await;
        assert_eq!(begun.status, 200, "{}", begun.text());
        assert_eq!(begun.json()["begun"], true);
        scene.broker.rotate_due().await;
        let (value, version) = scene.read().await;
        assert_eq!(version, "2");
        assert!(scene.postgres.lets_in("app", &value), "the new one");
        assert!(!scene.postgres.lets_in("app", FIRST), "the old one");
        assert!(scene.shown().await["run"].is_null());
        assert_eq!(scene.broker.entries("rotation.finished").await.len(), 1);
    }
}

#[tokio::test]
async fn no_password_reaches_the_servers_log_though_it_logs_every_statement() {
    let scene = Scene::start("", BY_ADMIN).await;
    scene.act("rotate").await;
    scene.broker.rotate_due().await;
    let (value, _) = scene.read().await;
    let log = scene.postgres.log();
    assert!(log.contains("ALTER ROLE") && log.contains("SCRAM-SHA-256$"), "statements are logged: {log}");
    assert!(!log.contains(&value), "the password is in the server's log");
}

/// Hazard ROT-14.
#[tokio::test]
async fn two_roles_take_turns_and_the_old_one_works_through_its_grace() {
    let scene = Scene::start("every = \"30d\"\ngrace = \"2h\"", IN_TURN).await;
    scene.postgres.sql("CREATE ROLE app_b LOGIN");
    scene.postgres.has_administered("app_b");
    scene.act("rotate").await;
    scene.broker.rotate_due().await;
    let (value, _) = scene.read().await;
    let slot: Value = serde_json::from_str(&value).unwrap();
    assert_eq!(slot["username"], "app_b");
    assert!(scene.postgres.lets_in("app_b", slot["password"].as_str().unwrap()));
    assert!(scene.postgres.lets_in("app", FIRST), "in its grace");
    assert_eq!(scene.act("rotate").await.code(), "rotation_in_grace_period");
    scene.broker.clock.advance_s(2 * 3600);
    scene.broker.rotate_due().await;
    assert!(!scene.postgres.lets_in("app", FIRST), "its grace has ended");
    assert_eq!(scene.shown().await["last"]["ending"], "finished");
    assert!(scene.postgres.lets_in("app_b", slot["password"].as_str().unwrap()));
    scene.act("rotate").await;
    scene.broker.rotate_due().await;
    let slot: Value = serde_json::from_str(&scene.read().await.0).unwrap();
    assert_eq!(slot["username"], "app");
    // A session with the old password locks its role, and is ended all the same.
    let used: Value = serde_json::from_str(&value).unwrap();
    let hold = "BEGIN; ALTER ROLE CURRENT_USER PASSWORD 'its-own'; SELECT pg_sleep(600)";
    let mut session = scene.postgres.session("app_b", used["password"].as_str().unwrap(), hold);
    scene.postgres.until_one_sleeps();
    scene.act("revoke-previous").await;
    scene.broker.rotate_due().await;
    assert!(scene.shown().await["run"].is_null());
    assert!(!session.wait().unwrap().success());
}

#[tokio::test]
async fn a_schedule_rotates_by_itself_and_catches_up_once() {
    let scene = Scene::start("every = \"1h\"", BY_ADMIN).await;
    scene.broker.rotate_due().await;
    assert_eq!(scene.read().await.1, "1", "not due");
    // More than two intervals at once, in which nobody looked.
    scene.broker.clock.advance_s(9 * 3600);
    assert_eq!(scene.shown().await["overdue"], true);
    let ready = scene.broker.operator().get("/readyz").await;
    assert_eq!(
        (ready.status, ready.json()),
        (200, json!({ "status": "ok", "warnings": ["rotations_overdue"] }))
    );
    let told_to_agents = scene.broker.nobody(scene.broker.agents()).get("/readyz").await;
    assert_eq!(told_to_agents.json(), json!({ "status": "ok" }));
    scene.broker.rotate_due().await;
    scene.broker.rotate_due().await;
    assert_eq!(scene.broker.entries("rotation.begun").await.len(), 1, "once");
    assert_eq!(scene.broker.entries("rotation.finished").await.len(), 1);
    assert_eq!(scene.broker.operator().get("/readyz").await.json(), json!({ "status": "ok" }));
}
