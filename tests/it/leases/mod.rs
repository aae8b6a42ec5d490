//! Logins that are lent, at a real PostgreSQL: they work until they end, and nothing of them is left.

mod bounds;
mod canary;
mod checks;
mod endings;
mod extension;
mod held;
mod hostile;
mod kills;
mod many;
mod overtaken;
mod owners;
mod redeclared;
mod reuse;
mod staying;

use std::process::Child;

use serde_json::{Value, json};

use crate::rotation::BYTES;
use crate::support::broker::{Agent, Reply, TestBroker};
use crate::support::postgres::{ADMIN_PASSWORD, Postgres};
use crate::support::waiting::wait_until;

/// A broker that lends logins of a PostgreSQL, and an agent that may have them.
pub(crate) struct Scene {
    pub(crate) broker: TestBroker,
    pub(crate) postgres: Postgres,
    pub(crate) agent: Agent,
}

/// By the administering role that the how-to recommends.
pub(crate) const BY_ADMIN: &str = "admin_role = \"keyward_admin\"\nadmin_secret = \"orders-db/admin\"";
pub(crate) const BY_SUPERUSER: &str = "admin_role = \"postgres\"\nadmin_secret = \"orders-db/admin\"";

/// What is declared: `more` is said of the upstream beside where it is.
pub(crate) fn declared(postgres: &Postgres, per_agent: u32, more: &str) -> String {
    let server = postgres.declared().replace("\"postgresql\"", "\"postgresql-dynamic\"");
    declared_at(&(server + more), per_agent)
}

/// What is declared, with this upstream.
pub(crate) fn declared_at(upstream: &str, per_agent: u32) -> String {
    format!(
        r#"
[[capability]]
name = "orders.query"
access = "read"
delivery = "lease"
max_life_s = 14400

[[role]]
name = "orders"
capabilities = ["orders.query"]

[[lease]]
capability = "orders.query"
per_agent = {per_agent}
[lease.upstream]
{upstream}
"#
    )
}

impl Scene {
    pub(crate) async fn start() -> Self {
        Self::start_with(10, BY_ADMIN).await
    }

    pub(crate) async fn start_with(per_agent: u32, upstream: &str) -> Self {
        Self::start_at(Postgres::start(), per_agent, upstream).await
    }

    pub(crate) async fn start_at(postgres: Postgres, per_agent: u32, upstream: &str) -> Self {
        let settings =
            "[certificates]\nagent_life_s = 604800\n[quota]\nmints_per_s = 1000\nmints_burst = 1000\n";
        Self::with(TestBroker::start_with(settings).await, postgres, per_agent, upstream).await
    }

    /// The same with this broker.
    pub(crate) async fn with(broker: TestBroker, postgres: Postgres, per_agent: u32, upstream: &str) -> Self {
        let stored =
            broker.operator().put("/v1/secrets/orders-db/admin", BYTES, ADMIN_PASSWORD.as_bytes()).await;
        assert_eq!(stored.status, 201, "{}", stored.text());
        let applied = broker.apply(&declared(&postgres, per_agent, upstream)).await;
        assert_eq!(applied.status, 200, "{}", applied.text());
        let agent = broker.agent("orders-bot", &["orders"]).await;
        Self { broker, postgres, agent }
    }

    pub(crate) async fn ask(&self, more: &Value) -> Reply {
        let mut body = json!({ "capability": "orders.query" });
        for (field, value) in more.as_object().unwrap() {
            body[field] = value.clone();
        }
        self.agent.caller.post_json("/v1/leases", &body).await
    }

    /// A login, as it was asked for.
    pub(crate) async fn lease(&self, more: &Value) -> Login {
        let reply = self.ask(more).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("cache-control"), "no-store");
        Login(reply.json())
    }

    /// Does something with a lease of the agent's.
    pub(crate) async fn act(&self, login: &Login, what: &str, body: &Value) -> Reply {
        self.agent.caller.post_json(&format!("/v1/leases/{}/{what}", login.id()), body).await
    }

    pub(crate) async fn end(&self, which: &Value) -> Reply {
        self.broker.operator().post_json("/v1/lease-endings", which).await
    }

    pub(crate) async fn listed(&self) -> Vec<Value> {
        let page = self.broker.operator().get("/v1/leases").await;
        assert_eq!(page.status, 200, "{}", page.text());
        page.json()["items"].as_array().unwrap().clone()
    }

    pub(crate) fn lets_in(&self, login: &Login) -> bool {
        self.postgres.lets_in(login.name(), login.password())
    }

    /// A session of the login, that stays.
    pub(crate) fn session(&self, login: &Login) -> Child {
        let child = self.postgres.session(login.name(), login.password(), "SELECT pg_sleep(600)");
        let there = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{}'", login.name());
        wait_until(|| self.postgres.sql(&there) != "0");
        child
    }

    /// The logins of any broker that are there.
    pub(crate) fn logins(&self) -> String {
        logins(&self.postgres)
    }
}

pub(crate) fn logins(postgres: &Postgres) -> String {
    postgres.sql("SELECT coalesce(string_agg(rolname, ' '), '') FROM pg_roles WHERE rolname LIKE 'kw\\_%'")
}

/// A login as it was answered.
pub(crate) struct Login(pub(crate) Value);

impl Login {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_else(|| panic!("no `{name}`"))
    }

    /// A field of what the driver says of the server.
    pub(crate) fn connection(&self, name: &str) -> &str {
        self.0["connection"][name].as_str().unwrap_or_else(|| panic!("no `{name}`"))
    }

    pub(crate) fn id(&self) -> &str {
        self.field("lease")
    }

    pub(crate) fn name(&self) -> &str {
        self.field("username")
    }

    pub(crate) fn password(&self) -> &str {
        self.field("password")
    }
}

#[tokio::test]
async fn a_revoked_login_loses_its_role_and_its_open_connections() {
    let scene = Scene::start().await;
    let login = scene.lease(&json!({})).await;
    assert!(scene.lets_in(&login));
    assert_eq!((login.connection("host"), login.connection("database")), ("127.0.0.1", "postgres"));
    assert!(login.connection("ca").starts_with("-----BEGIN CERTIFICATE-----"));
    let attributes = "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls, rolconnlimit, rolvaliduntil IS NULL FROM pg_roles WHERE rolname = ";
    assert_eq!(scene.postgres.sql(&format!("{attributes}'{}'", login.name())), "f|4|f");
    let mut session = scene.session(&login);
    let ended = scene.end(&json!({ "lease": login.id() })).await;
    assert_eq!((ended.status, &ended.json()["leases"]), (200, &json!(1)), "{}", ended.text());
    scene.broker.end_due_leases().await;
    assert!(!session.wait().unwrap().success(), "its session was cut");
    assert!(!scene.lets_in(&login));
    assert_eq!((scene.logins().as_str(), scene.listed().await.len()), ("", 0));
    assert_eq!(scene.broker.entries("lease.ended").await.len(), 1);
}

#[tokio::test]
async fn a_login_ends_by_itself_when_its_time_is_over_and_not_before() {
    let scene = Scene::start().await;
    let login = scene.lease(&json!({ "life_s": 600 })).await;
    scene.broker.clock.advance_s(599);
    scene.broker.end_due_leases().await;
    assert!(scene.lets_in(&login));
    scene.broker.clock.advance_s(1);
    scene.broker.end_due_leases().await;
    assert!(!scene.lets_in(&login));
    assert_eq!(scene.logins(), "");
    assert_eq!(scene.broker.entries("lease.ended").await[0]["event"]["why"], "expired");
}

#[tokio::test]
async fn a_login_request_to_an_unreachable_upstream_leaves_nothing_behind() {
    let mut scene = Scene::start().await;
    scene.postgres.stop();
    let refused = scene.ask(&json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "upstream_unreachable"));
    assert!(scene.listed().await.is_empty(), "it certainly did not come about");
    scene.postgres.run();
    let login = scene.lease(&json!({})).await;
    assert!(scene.lets_in(&login));
}

#[tokio::test]
async fn only_a_replayed_request_of_the_same_instance_gets_the_same_login() {
    let scene = Scene::start().await;
    let one = scene.lease(&json!({})).await;
    let again = scene.lease(&json!({})).await;
    assert_eq!((again.id(), again.password(), &again.0["reused"]), (one.id(), one.password(), &json!(true)));
    assert!(scene.lets_in(&again));
    let fresh = scene.lease(&json!({ "fresh": true })).await;
    assert_ne!(fresh.name(), one.name());
    let other = scene.broker.agent("other-bot", &["orders"]).await;
    let body = json!({ "capability": "orders.query" });
    let others = Login(other.caller.post_json("/v1/leases", &body).await.json());
    assert!(others.name() != one.name() && others.name() != fresh.name());
    // Given up by its first user it stays for the second, and ends with that one.
    let use_of = |login: &Login| json!({ "decision_id": login.field("decision_id") });
    for _ in 0..2 {
        assert_eq!(scene.act(&one, "give-up", &use_of(&one)).await.status, 200);
    }
    scene.broker.end_due_leases().await;
    assert!(scene.lets_in(&again));
    assert_eq!(scene.act(&one, "give-up", &use_of(&again)).await.status, 200);
    scene.broker.end_due_leases().await;
    assert!(!scene.lets_in(&again));
    // After half of its life it is handed out no more.
    scene.broker.clock.advance_s(1801);
    assert_eq!(scene.lease(&json!({})).await.0["reused"], false);
}

#[tokio::test]
async fn a_login_is_renewed_upstream_up_to_the_limit_of_its_capability() {
    let scene = Scene::start().await;
    let login = scene.lease(&json!({ "life_s": 3600 })).await;
    scene.broker.clock.advance_s(3000);
    let renewed = scene.act(&login, "renew", &json!({ "life_s": 7200 })).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    let until = renewed.json()["expires_at"].as_str().unwrap().to_owned();
    let known = format!("SELECT rolvaliduntil = '{until}' FROM pg_roles WHERE rolname = '{}'", login.name());
    assert_eq!(scene.postgres.sql(&known), "t");
    scene.broker.clock.advance_s(7000);
    scene.broker.end_due_leases().await;
    assert!(scene.lets_in(&login), "beyond its first end");
    let renewed = scene.act(&login, "renew", &json!({ "life_s": 7200 })).await.json();
    assert_eq!(renewed["expires_at"], renewed["renewable_until"]);
    assert_eq!(renewed["constrained"].as_array().unwrap().len(), 1);
    let refused = scene.act(&login, "renew", &json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "lease_max_life_reached"));
    assert!(refused.text().contains("--fresh"), "{}", refused.text());
    scene.broker.clock.advance_s(4401);
    let refused = scene.act(&login, "renew", &json!({})).await;
    assert_eq!(refused.code(), "lease_not_active");
    scene.broker.end_due_leases().await;
    assert_eq!(scene.logins(), "");
    assert_eq!(scene.act(&login, "renew", &json!({})).await.code(), "lease_unknown");
}

/// Hazard POL-08.
#[tokio::test]
async fn nobody_sees_renews_or_gives_up_somebody_elses_lease() {
    let scene = Scene::start().await;
    let login = scene.lease(&json!({})).await;
    let other = scene.broker.agent("other-bot", &["orders"]).await;
    for what in ["renew", "give-up"] {
        let refused = other.caller.post_json(&format!("/v1/leases/{}/{what}", login.id()), &json!({})).await;
        assert_eq!((refused.status, refused.code().as_str()), (404, "lease_unknown"), "{what}");
        assert_eq!(scene.act(&login, "renew", &json!({ "life_s": 4000 })).await.status, 200, "its own");
    }
    let own = |caller: &Agent| caller.caller.clone();
    assert_eq!(own(&other).get("/v1/leases").await.json()["items"], json!([]));
    let mine = own(&scene.agent).get("/v1/leases").await;
    assert_eq!(mine.json()["items"][0]["lease"], login.id());
    assert!(!mine.text().contains(login.password()));
    // A request without a body is one with the default values.
    for what in ["renew", "give-up"] {
        let reply =
            scene.agent.caller.send("POST", &format!("/v1/leases/{}/{what}", login.id()), &[], b"").await;
        assert_eq!(reply.status, 200, "{what}: {}", reply.text());
    }
}
