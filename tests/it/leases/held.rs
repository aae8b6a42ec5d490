//! A revocation while the role of the login is locked, and what it takes first.

use keyward::base::limits::LEASE_STILL_OPEN_FAILURES;
use serde_json::json;

use super::{BY_ADMIN, Login, Scene};
use crate::operators::join;
use crate::support::postgres::{Postgres, Release};

const READERS: &str =
    "CREATE TABLE public.orders (n int); CREATE ROLE readers; GRANT SELECT ON public.orders TO readers";

impl Scene {
    /// Logins that are members of a role which may read.
    async fn of_readers(postgres: Postgres) -> Self {
        postgres.sql(READERS);
        postgres.has_administered("readers");
        Self::start_at(postgres, 10, &format!("{BY_ADMIN}\nmember_of = [\"readers\"]")).await
    }

    fn reads(&self, login: &Login) -> bool {
        self.postgres.psql(login.name(), login.password(), "SELECT count(*) FROM public.orders").is_ok()
    }

    async fn trouble(&self) -> String {
        let listed = self.listed().await;
        listed[0]["ending"]["code"].as_str().unwrap_or_else(|| panic!("{listed:?}")).to_owned()
    }
}

async fn a_held_login_loses_its_rights(release: Release) {
    let scene = Scene::of_readers(Postgres::start_release(release)).await;
    let login = scene.lease(&json!({})).await;
    assert!(scene.reads(&login));
    let mut session = scene.session(&login);
    let held = scene.postgres.hold(login.name());
    scene.end(&json!({ "all": true })).await;
    let mut told_at = 0;
    for attempt in 1..=LEASE_STILL_OPEN_FAILURES + 2 {
        scene.broker.end_due_leases().await;
        assert_eq!(scene.trouble().await, "upstream_login_still_valid");
        assert!(!scene.reads(&login), "its memberships are revoked");
        let failed = scene.broker.entries("lease.revocation-failed").await.len();
        let alarms = scene.broker.entries("alarm.login-still-valid").await;
        if alarms.len() == 1 && told_at == 0 {
            told_at = failed;
        }
        assert!(alarms.len() <= 1, "attempt {attempt}: {alarms:?}");
        // Five quarters of half a minute.
        scene.broker.clock.advance_s(38);
    }
    assert_eq!(
        told_at,
        LEASE_STILL_OPEN_FAILURES as usize,
        "{:?}",
        scene.broker.entries("lease.revocation-failed").await
    );
    assert!(!session.wait().unwrap().success());
    assert!(scene.lets_in(&login), "as the alarm says");
    let reason = scene.listed().await[0]["ending"]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("can still log in"), "{reason}");
    let metrics = scene.broker.operator().get("/metrics").await.text();
    assert!(metrics.contains("keyward_alarms_total{alarm=\"login_still_valid\"} 1\n"), "{metrics}");
    scene.postgres.let_go(held);
    scene.broker.end_due_leases().await;
    assert!(!scene.lets_in(&login));
    assert_eq!((scene.logins().as_str(), scene.listed().await.len()), ("", 0));
}

/// Hazard REV-03.
#[tokio::test]
async fn a_login_whose_role_is_locked_loses_its_rights_and_is_told_of() {
    a_held_login_loses_its_rights(Release::Debian).await;
}

/// Hazard REV-03.
#[tokio::test]
async fn a_login_whose_role_is_locked_loses_its_rights_on_postgresql_18() {
    a_held_login_loses_its_rights(Release::Eighteen).await;
}

/// Hazard REV-03.
#[tokio::test]
async fn prepared_transactions_that_hold_the_role_are_rolled_back() {
    for release in [Release::Debian, Release::Eighteen] {
        let mut postgres = Postgres::start_release(release);
        postgres.sql("ALTER SYSTEM SET max_prepared_transactions = 5");
        postgres.stop();
        postgres.run();
        let scene = Scene::of_readers(postgres).await;
        let hold = "BEGIN; ALTER ROLE CURRENT_USER PASSWORD 'its-own'; ";
        for before in ["", "SET ROLE readers; "] {
            let login = scene.lease(&json!({})).await;
            let prepare = format!("{hold}{before}PREPARE TRANSACTION 'it''s held'");
            scene.postgres.psql(login.name(), login.password(), &prepare).unwrap();
            assert_eq!(scene.postgres.sql("SELECT count(*) FROM pg_prepared_xacts"), "1");
            scene.end(&json!({ "all": true })).await;
            scene.broker.end_due_leases().await;
            assert_eq!(
                (scene.logins().as_str(), scene.listed().await.len()),
                ("", 0),
                "{:?}",
                scene.listed().await
            );
            assert_eq!(scene.postgres.sql("SELECT count(*) FROM pg_prepared_xacts"), "0");
        }
    }
}

#[tokio::test]
async fn a_login_whose_objects_are_locked_is_shut_out_all_the_same() {
    let upstream = format!("{BY_ADMIN}\nstatements = [\"GRANT CREATE ON SCHEMA public TO {{login}}\"]");
    let scene = Scene::start_with(10, &upstream).await;
    scene.postgres.sql("GRANT CREATE ON SCHEMA public TO keyward_admin WITH GRANT OPTION");
    let login = scene.lease(&json!({})).await;
    scene.postgres.psql(login.name(), login.password(), "CREATE TABLE public.own (n int)").unwrap();
    let lock = "BEGIN; LOCK TABLE public.own; SELECT pg_sleep(600)";
    let held = scene.postgres.session("postgres", crate::support::postgres::ADMIN_PASSWORD, lock);
    scene.postgres.until_one_sleeps();
    scene.end(&json!({ "all": true })).await;
    scene.broker.end_due_leases().await;
    assert_eq!(scene.trouble().await, "upstream_login_not_dropped");
    assert!(!scene.lets_in(&login));
    scene.postgres.let_go(held);
    scene.broker.clock.advance_s(10);
    scene.broker.end_due_leases().await;
    assert_eq!((scene.logins().as_str(), scene.listed().await.len()), ("", 0));
}

#[tokio::test]
async fn the_first_attempt_of_a_revocation_waits_for_no_circuit() {
    let mut scene = Scene::start().await;
    for _ in 0..6 {
        scene.lease(&json!({ "fresh": true })).await;
    }
    scene.postgres.stop();
    scene.end(&json!({ "all": true })).await;
    scene.broker.end_due_leases().await;
    assert_eq!(scene.listed().await.len(), 6);
    scene.postgres.run();
    let next = scene.lease(&json!({ "fresh": true })).await;
    assert!(scene.lets_in(&next));
    scene.end(&json!({ "lease": next.id() })).await;
    scene.broker.end_due_leases().await;
    assert!(!scene.lets_in(&next));
}

#[tokio::test]
async fn no_login_is_created_whose_agent_could_take_every_connection() {
    let scene = Scene::start_with(10, &format!("{BY_ADMIN}\nconnections = 10")).await;
    let refused = scene.ask(&json!({})).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "upstream_connection_limit"),
        "{}",
        refused.text()
    );
    assert_eq!(scene.broker.entries("lease.failed").await[0]["event"]["upstream"], "97");
    assert_eq!((scene.logins().as_str(), scene.listed().await.len()), ("", 0));
    scene.postgres.sql("ALTER SYSTEM SET max_connections = 104");
    let mut scene = scene;
    scene.postgres.stop();
    scene.postgres.run();
    let login = scene.lease(&json!({})).await;
    assert!(scene.lets_in(&login), "101 are free");
}

/// Hazard POL-08.
#[tokio::test]
async fn only_an_operator_with_both_scopes_forgets_a_login() {
    let mut scene = Scene::start().await;
    let owned = super::declared(&scene.postgres, 10, BY_ADMIN)
        .replace("max_life_s", "owner = \"payments\"\nmax_life_s");
    assert_eq!(scene.broker.apply(&owned).await.status, 200);
    let login = scene.lease(&json!({})).await;
    scene.postgres.stop();
    scene.end(&json!({ "all": true })).await;
    scene.broker.end_due_leases().await;
    let bound = json!({ "role": "admin", "owner": "payments" });
    let theirs = join(&scene.broker, "theirs", &bound).await.caller;
    let (path, body) = (format!("/v1/leases/{}/forget", login.id()), json!({ "reason": "scrapped" }));
    let refused = theirs.post_json(&path, &body).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (403, "operator_scope_insufficient"),
        "{}",
        refused.text()
    );
    assert_eq!(scene.listed().await.len(), 1);
    let forgotten = scene.broker.operator().post_json(&path, &body).await;
    assert_eq!(
        (forgotten.status, &forgotten.json()["could_log_in"]),
        (200, &json!(true)),
        "{}",
        forgotten.text()
    );
    assert_eq!(scene.broker.entries("alarm.lease-forgotten").await[0]["event"]["open"], true);
}

/// A database with objects of a login accepts no connections: the login is shut out, and its role remains.
#[tokio::test]
async fn a_role_that_cannot_be_dropped_counts_until_its_lease_has_ended() {
    let upstream = format!("{BY_ADMIN}\nstatements = [\"GRANT CONNECT ON DATABASE elsewhere TO {{login}}\"]");
    let postgres = Postgres::start();
    postgres.sql("CREATE DATABASE elsewhere OWNER keyward_admin");
    let scene = Scene::start_at(postgres, 1, &upstream).await;
    let login = scene.lease(&json!({})).await;
    let owned = format!("CREATE SCHEMA own AUTHORIZATION \"{}\"", login.name());
    scene.postgres.sql_in("elsewhere", &owned);
    scene.postgres.sql("ALTER DATABASE elsewhere ALLOW_CONNECTIONS false");
    scene.end(&json!({ "all": true })).await;
    scene.broker.end_due_leases().await;
    assert_eq!(scene.trouble().await, "upstream_login_not_dropped");
    let asked = json!({});
    let again = || scene.ask(&asked);
    assert_eq!(again().await.code(), "lease_limit_reached");
    scene.broker.clock.advance_s(3601);
    let next = again().await;
    assert_eq!(next.status, 200, "{}", next.text());
    assert_eq!(again().await.json()["reused"], true);
}
