//! The upstream of a lease is checked before its declaration is applied.

use serde_json::{Value, json};

use super::{BY_ADMIN, declared, logins};
use crate::rotation::BYTES;
use crate::support::broker::{Reply, TestBroker};
use crate::support::postgres::{ADMIN_PASSWORD, Postgres};

/// A broker with the administering secret of a server, and no declarations.
struct Planner {
    broker: TestBroker,
    postgres: Postgres,
}

impl Planner {
    async fn start() -> Self {
        let (broker, postgres) = (TestBroker::start().await, Postgres::start());
        broker.operator().put("/v1/secrets/orders-db/admin", BYTES, ADMIN_PASSWORD.as_bytes()).await;
        Self { broker, postgres }
    }

    async fn ask(&self, upstream: &str) -> Reply {
        let text = declared(&self.postgres, 10, upstream);
        let body = json!({ "files": [{ "name": "a.toml", "text": text }] });
        self.broker.operator().post_json("/v1/lease-plan-checks/orders.query", &body).await
    }

    /// The findings that are not good.
    async fn faults(&self, upstream: &str) -> Vec<Value> {
        let reply = self.ask(upstream).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let findings = reply.json()["findings"].as_array().unwrap().clone();
        assert_eq!(reply.json()["ok"] == true, findings.iter().all(|one| one["ok"] == true), "{findings:?}");
        findings.into_iter().filter(|one| one["ok"] != true).collect()
    }
}

#[tokio::test]
async fn a_check_of_a_lease_creates_and_revokes_a_login_on_trial() {
    // Given a server with the administering role of the how-to
    let planner = Planner::start().await;
    // When the lease is checked before it is applied
    let good = planner.ask(BY_ADMIN).await.json();
    // Then every finding is good, no login is left, and an entry names the operator and the secret
    let what: Vec<&str> =
        good["findings"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    assert_eq!((&good["ok"], what), (&json!(true), vec!["connection", "sessions", "login"]), "{good}");
    assert_eq!(logins(&planner.postgres), "");
    assert!(planner.postgres.log().contains("CREATE ROLE \"kw_"), "a login was tried");
    let entry = &planner.broker.entries("lease.check-attempted").await[0]["event"];
    assert_eq!(
        (&entry["operator"], &entry["capability"], &entry["administering"]),
        (&json!("admin"), &json!("orders.query"), &json!("orders-db/admin"))
    );
}

#[tokio::test]
async fn a_check_of_a_lease_names_what_is_missing_at_the_server() {
    let planner = Planner::start().await;
    for (more, code) in [
        ("member_of = [\"nobody\"]", "42704"),
        ("statements = [\"GRANT SELECT ON public.nothing TO {login}\"]", "42P01"),
        ("heir = \"postgres\"", "KW001"),
    ] {
        let faults = planner.faults(&format!("{BY_ADMIN}\n{more}")).await;
        assert_eq!((faults.len(), &faults[0]["what"]), (1, &json!("login")), "{faults:?}");
        assert!(faults[0]["says"].as_str().unwrap().contains(code), "{faults:?}");
    }
    planner.postgres.sql("REVOKE pg_signal_backend FROM keyward_admin");
    let faults = planner.faults(BY_ADMIN).await;
    assert_eq!(faults[0]["what"], "sessions", "{faults:?}");
    assert_eq!(faults[0]["fix"], "GRANT pg_signal_backend TO keyward_admin");
    // And a wrong password, a wrong certificate and a lease that is not in the files are named
    planner.broker.operator().put("/v1/secrets/orders-db/admin", BYTES, b"another").await;
    let faults = planner.faults(BY_ADMIN).await;
    assert_eq!((faults.len(), &faults[0]["what"]), (1, &json!("connection")), "{faults:?}");
    let body = json!({ "files": [{ "name": "a.toml", "text": "" }] });
    let operator = planner.broker.operator();
    let unknown = operator.post_json("/v1/lease-plan-checks/orders.query", &body).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "capability_unknown"));
    assert_eq!(logins(&planner.postgres), "");
}
