//! Leased accounts of `MariaDB`: they work until they are revoked, and nothing of them is left.

use serde_json::{Value, json};

use super::FIRST;
use crate::leases::declared_at;
use crate::rotation::BYTES;
use crate::support::broker::{Agent, Reply, TestBroker};
use crate::support::mariadb::{ADMIN_PASSWORD, MariaDb};

pub(crate) const BY_ADMIN: &str = "admin_user = \"keyward_admin\"\nadmin_secret = \"orders-db/admin\"\n\
     grants = [\"GRANT SELECT ON orders.* TO {login}\"]\ndatabase = \"orders\"";

pub(crate) fn declared(server: &MariaDb, per_agent: u32, upstream: &str) -> String {
    declared_at(&(server.declared("mariadb-dynamic") + upstream), per_agent)
}

struct Scene {
    broker: TestBroker,
    server: MariaDb,
    agent: Agent,
}

impl Scene {
    async fn start(upstream: &str) -> Self {
        let broker = TestBroker::start_with("[certificates]\nagent_life_s = 604800\n").await;
        let server = MariaDb::start(FIRST);
        let stored =
            broker.operator().put("/v1/secrets/orders-db/admin", BYTES, ADMIN_PASSWORD.as_bytes()).await;
        assert_eq!(stored.status, 201, "{}", stored.text());
        let applied = broker.apply(&declared(&server, 20, upstream)).await;
        assert_eq!(applied.status, 200, "{}", applied.text());
        let agent = broker.agent("orders-bot", &["orders"]).await;
        Self { broker, server, agent }
    }

    async fn ask(&self) -> Reply {
        let body = json!({ "capability": "orders.query", "fresh": true });
        self.agent.caller.post_json("/v1/leases", &body).await
    }

    async fn lease(&self) -> Value {
        let reply = self.ask().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    fn sql_as(&self, login: &Value, sql: &str) -> Result<String, String> {
        let field = |name: &str| login[name].as_str().unwrap();
        self.server.sql_as(field("username"), field("password"), sql)
    }

    fn lets_in(&self, login: &Value) -> bool {
        self.sql_as(login, "SELECT 1").is_ok()
    }

    async fn listed(&self) -> Vec<Value> {
        let page = self.broker.operator().get("/v1/leases").await;
        page.json()["items"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn a_check_of_a_mariadb_lease_names_a_missing_privilege_and_creates_nothing() {
    let scene = Scene::start(BY_ADMIN).await;
    let text = declared(&scene.server, 20, BY_ADMIN);
    let check = async || {
        let body = json!({ "files": [{ "name": "a.toml", "text": text }] });
        let reply = scene.broker.operator().post_json("/v1/lease-plan-checks/orders.query", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    };
    let good = check().await;
    let grants = good["findings"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&good["ok"], &grants["what"]), (&json!(true), &json!("grants")), "{good}");
    assert!(grants["fix"].as_str().unwrap().contains("`keyward lease get orders.query`"), "{grants}");
    scene.server.sql("REVOKE CONNECTION ADMIN ON *.* FROM keyward_admin@'%'");
    let faulty = check().await;
    let login = &faulty["findings"][1];
    assert_eq!((&login["what"], &login["ok"]), (&json!("login"), &json!(false)), "{faulty}");
    assert!(login["says"].as_str().unwrap().contains("(CONNECTION ADMIN)"), "{faulty}");
    assert_eq!(scene.server.sql("SELECT COUNT(*) FROM mysql.user WHERE User LIKE 'kw%'"), "0");
}

#[tokio::test]
async fn a_mariadb_login_works_and_its_sessions_end_with_it() {
    // Given a login
    let scene = Scene::start(BY_ADMIN).await;
    let login = scene.lease().await;
    let connection = &login["connection"];
    assert_eq!(
        (&connection["driver"], &connection["database"]),
        (&json!("mariadb-dynamic"), &json!("orders"))
    );
    // Then it may do what was granted, and nothing else
    assert_eq!(scene.sql_as(&login, "SELECT n FROM orders.items").unwrap(), "7");
    assert!(scene.sql_as(&login, "INSERT INTO orders.items VALUES (8)").unwrap_err().contains("denied"));
    let password = login["password"].as_str().unwrap();
    assert!(!scene.server.log().contains(password), "the password is in the server's log");
    // When it is revoked while a session of it stands
    let mut session = scene.server.session(login["username"].as_str().unwrap(), password);
    let ended = scene.broker.operator().post_json("/v1/lease-endings", &json!({ "all": true })).await;
    assert_eq!(ended.status, 200, "{}", ended.text());
    scene.broker.end_due_leases().await;
    // Then the session has ended, and no account is left
    assert!(!session.wait().unwrap().success());
    assert_eq!(
        (scene.server.logins().as_str(), scene.listed().await.len()),
        ("", 0),
        "{:?}",
        scene.listed().await
    );
    assert!(!scene.lets_in(&login));
}

#[tokio::test]
async fn an_expired_mariadb_login_is_queued_until_the_server_confirms() {
    // Given a login whose server is away when it expires
    let mut scene = Scene::start(BY_ADMIN).await;
    let login = scene.lease().await;
    scene.server.stop();
    scene.broker.clock.advance_s(3600);
    scene.broker.end_due_leases().await;
    assert_eq!(scene.listed().await[0]["stage"], "ending");
    // When the server is back, then the account works until the broker revokes it
    scene.server.run();
    assert!(scene.lets_in(&login), "MariaDB knows no end of an account");
    scene.broker.clock.advance_s(60);
    scene.broker.end_due_leases().await;
    assert_eq!((scene.server.logins().as_str(), scene.listed().await.len()), ("", 0));
    assert!(!scene.lets_in(&login));
}

#[tokio::test]
async fn a_mariadb_login_is_renewed_by_the_broker_alone() {
    let scene = Scene::start(BY_ADMIN).await;
    let login = scene.lease().await;
    let renew = format!("/v1/leases/{}/renew", login["lease"].as_str().unwrap());
    let renewed = scene.agent.caller.post_json(&renew, &json!({ "life_s": 7200 })).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    scene.broker.clock.advance_s(3700);
    scene.broker.end_due_leases().await;
    assert!(scene.lets_in(&login), "renewed");
    scene.broker.clock.advance_s(3600);
    scene.broker.end_due_leases().await;
    assert!(!scene.lets_in(&login) && scene.server.logins().is_empty());
}

#[tokio::test]
async fn no_mariadb_login_is_created_that_could_not_be_revoked() {
    let scene = Scene::start(BY_ADMIN).await;
    for privilege in ["PROCESS", "CONNECTION ADMIN"] {
        // Given an administering user that lacks a privilege for a revocation
        scene.server.sql(&format!("REVOKE {privilege} ON *.* FROM keyward_admin@'%'"));
        // When an agent asks for a login, then none is created, and the reason is recorded
        let refused = scene.ask().await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "upstream_login_irrevocable"));
        let failed = scene.broker.entries("lease.failed").await;
        assert_eq!(failed.last().unwrap()["event"]["upstream"], privilege);
        assert_eq!((scene.server.logins().as_str(), scene.listed().await.len()), ("", 0));
        scene.server.sql(&format!("GRANT {privilege} ON *.* TO keyward_admin@'%'"));
    }
    assert!(scene.lets_in(&scene.lease().await));
}

#[tokio::test]
async fn a_grant_that_fails_leaves_no_mariadb_login_behind() {
    let upstream = BY_ADMIN.replace("orders.* TO", "elsewhere.* TO");
    let scene = Scene::start(&upstream).await;
    let refused = scene.ask().await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "upstream_refused"), "{}", refused.text());
    assert_eq!((scene.server.logins().as_str(), scene.listed().await.len()), ("", 0));
}

#[tokio::test]
async fn a_mariadb_login_is_revoked_by_the_current_declaration_first() {
    // Given a login, and an administrator whose name has changed since
    let scene = Scene::start(BY_ADMIN).await;
    let login = scene.lease().await;
    scene.server.sql("RENAME USER keyward_admin@'%' TO other_admin@'%'");
    let now = BY_ADMIN.replace("keyward_admin", "other_admin");
    assert_eq!(scene.broker.apply(&declared(&scene.server, 20, &now)).await.status, 200);
    // When it is revoked, then the current declaration is used
    scene.broker.operator().post_json("/v1/lease-endings", &json!({ "all": true })).await;
    scene.broker.end_due_leases().await;
    assert!(!scene.lets_in(&login));
    assert_eq!((scene.server.logins().as_str(), scene.listed().await.len()), ("", 0));
}
