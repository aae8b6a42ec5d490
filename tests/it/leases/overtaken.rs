//! Leases whose holder is revoked, or whose upstream is away, between what a request has read and what it records.

use std::fs;

use keyward::base::limits::{BREAKER_FAILURES_MAX, BREAKER_OPEN_S};
use serde_json::{Value, json};

use super::{BY_ADMIN, Login, Scene, declared, logins};
use crate::clock::on_host;
use crate::interop::python;
use crate::readiness::on_a_full_disk;
use crate::support::broker::{Caller, Reply};
use crate::support::pausing::{ID, KEY};
use crate::support::postgres::{ADMIN_PASSWORD, Postgres};
use crate::support::process::Process;
use crate::support::waiting::{LONGEST, until, wait_until};
use crate::worst_hour::SmallDisk;

const WITHOUT_ROLES: &str = "[[agent]]\nname = \"orders-bot\"\nroles = []\n";
const WITH_ITS_ROLE: &str = "[[agent]]\nname = \"orders-bot\"\nroles = [\"orders\"]\n";

impl Scene {
    /// How often this was recorded.
    async fn count(&self, kind: &str) -> usize {
        self.broker.entries(kind).await.len()
    }

    async fn suspend(&self) {
        let path = "/v1/agents/orders-bot/suspend";
        assert_eq!(self.broker.operator().post_json(path, &json!({})).await.status, 200);
    }

    async fn apply(&self, text: &str) {
        let applied = self.broker.apply(text).await;
        assert_eq!(applied.status, 200, "{}", applied.text());
    }
}

/// The status of the answer; none when the connection was cut before it.
async fn asked(caller: Caller, path: String, body: Value) -> Option<u16> {
    let headers = [("content-type", "application/json")];
    let reply = caller.attempt("POST", &path, &headers, body.to_string().as_bytes()).await;
    reply.ok().map(|reply| reply.status)
}

async fn renew(caller: Caller, login: &Login, life_s: u32) -> Reply {
    caller.post_json(&format!("/v1/leases/{}/renew", login.id()), &json!({ "life_s": life_s })).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_login_whose_agent_is_revoked_before_its_entry_is_not_handed_over() {
    let scene = Scene::start().await;
    for way in ["role", "suspend"] {
        // The password is sealed after upstream has made the login, and before the entry says so.
        let paused = scene.broker.entropy.at(KEY, 1);
        let body = json!({ "capability": "orders.query" });
        let asking = tokio::spawn(asked(scene.agent.caller.clone(), "/v1/leases".to_owned(), body));
        paused.reached().await;
        assert_ne!(scene.logins(), "", "upstream has made it");
        if way == "role" {
            scene.apply(WITHOUT_ROLES).await
        } else {
            scene.suspend().await
        };
        drop(paused);
        assert_ne!(asking.await.unwrap(), Some(200), "{way}");
        assert_eq!(scene.count("lease.issued").await, 0, "{way}");
        scene.broker.end_due_leases().await;
        assert_eq!((scene.logins().as_str(), scene.listed().await.len()), ("", 0), "{way}");
        scene.apply(WITH_ITS_ROLE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lease_renewal_is_not_recorded_when_its_agent_is_revoked_meanwhile() {
    let scene = Scene::start().await;
    for by_operator in [false, true] {
        let login = scene.lease(&json!({ "fresh": true })).await;
        let (attempts, renewals) =
            (scene.count("lease.renewal-attempted").await, scene.count("lease.renewed").await);
        let held = scene.postgres.hold(login.name());
        let caller = if by_operator { scene.broker.operator() } else { scene.agent.caller.clone() };
        let path = format!("/v1/leases/{}/renew", login.id());
        let renewing = tokio::spawn(asked(caller, path, json!({ "life_s": 7200 })));
        until(async || scene.count("lease.renewal-attempted").await > attempts).await;
        scene.apply(WITHOUT_ROLES).await;
        scene.postgres.let_go(held);
        assert_ne!(renewing.await.unwrap(), Some(200));
        assert_eq!(scene.count("lease.renewed").await, renewals);
        scene.broker.end_due_leases().await;
        assert!(!scene.lets_in(&login));
        scene.apply(WITH_ITS_ROLE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lease_renewal_is_refused_when_the_clock_is_adjusted_meanwhile() {
    // Given a renewal that waits for its upstream
    let scene = Scene::start().await;
    let login = scene.lease(&json!({ "life_s": 3600 })).await;
    let held = scene.postgres.hold(login.name());
    let renewing = tokio::spawn({
        let (caller, login) = (scene.agent.caller.clone(), Login(login.0.clone()));
        async move { renew(caller, &login, 7200).await }
    });
    until(async || scene.count("lease.renewal-attempted").await > 0).await;
    // When the clock is adjusted before it is recorded
    scene.broker.clock.step_s(600);
    assert_eq!(on_host(&scene.broker, "/v1/clock/accept").await.json()["adjusted"], true);
    scene.postgres.let_go(held);
    // Then it is refused with the reason, and the next one is by the clock of now
    let refused = renewing.await.unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (503, "modified_concurrently"));
    assert!(refused.text().contains("the clock was adjusted"), "{}", refused.text());
    assert_eq!(scene.count("lease.renewed").await, 0);
    let again = renew(scene.agent.caller.clone(), &login, 7200).await;
    assert_eq!((again.status, scene.count("lease.renewed").await), (200, 1), "{}", again.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_renewals_of_one_lease_reach_upstream_and_ledger_in_one_order() {
    let scene = Scene::start().await;
    let login = scene.lease(&json!({ "life_s": 600 })).await;
    let held = scene.postgres.hold(login.name());
    let attempts = async || scene.count("lease.renewal-attempted").await;
    let spawn = |life_s: u32| {
        let (caller, login) = (scene.agent.caller.clone(), Login(login.0.clone()));
        tokio::spawn(async move { renew(caller, &login, life_s).await })
    };
    let first = spawn(7200);
    until(async || attempts().await > 0).await;
    let arrived = scene.broker.entropy.at(ID, 2);
    let second = spawn(3600);
    arrived.reached().await;
    drop(arrived);
    // Time enough for the second one, if it did not wait for its turn.
    for _ in 0..20 {
        assert_eq!(attempts().await, 1, "the second one waits until the first is recorded");
    }
    scene.postgres.let_go(held);
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!((first.status, second.status), (200, 200), "{} {}", first.text(), second.text());
    let until = scene.listed().await[0]["expires_at"].as_str().unwrap().to_owned();
    assert_eq!(second.json()["expires_at"], *until, "the last one counts");
    let known = format!("SELECT rolvaliduntil = '{until}' FROM pg_roles WHERE rolname = '{}'", login.name());
    assert_eq!(scene.postgres.sql(&known), "t", "upstream has what the ledger says");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_decision_on_a_lease_keeps_no_other_agent_waiting() {
    let scene = Scene::start().await;
    let other = scene.broker.agent("other-bot", &["orders"]).await;
    let body = json!({ "capability": "orders.query" });
    // Ids of the connection, the request, the decision and the lease.
    let paused = scene.broker.entropy.at(ID, 4);
    let asking = tokio::spawn(asked(scene.agent.caller.clone(), "/v1/leases".to_owned(), body.clone()));
    paused.reached().await;
    let others = tokio::time::timeout(LONGEST, other.caller.post_json("/v1/leases", &body));
    assert_eq!(others.await.expect("it waits for the other agent").status, 200);
    drop(paused);
    assert_eq!(asking.await.unwrap(), Some(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_trial_that_a_conflict_stops_leaves_the_circuit_to_the_next_attempt() {
    let mut scene = Scene::start().await;
    scene.postgres.stop();
    for _ in 0..BREAKER_FAILURES_MAX {
        assert_eq!(scene.ask(&json!({})).await.code(), "upstream_unreachable");
    }
    scene.postgres.run();
    assert_eq!(scene.ask(&json!({})).await.code(), "upstream_unreachable", "its circuit is open");
    scene.broker.clock.advance_s(u32::try_from(BREAKER_OPEN_S).unwrap());
    // Ids of the connection, the request, the decision and the lease: the last is drawn once the call is allowed.
    let paused = scene.broker.entropy.at(ID, 4);
    let body = json!({});
    let (reply, ()) = tokio::join!(scene.ask(&body), async {
        paused.reached().await;
        let text = declared(&scene.postgres, 10, BY_ADMIN);
        scene.apply(&text.replace("max_life_s = 14400", "max_life_s = 14000")).await;
        drop(paused);
    });
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// A broker that has lent the agent `bot` a login of this server.
fn with_a_login(postgres: &Postgres) -> Process {
    let mut process = Process::init("warn");
    process.serve();
    process.good(&["secret", "put", "orders-db/admin"], ADMIN_PASSWORD.as_bytes());
    let file = process.path("orders.toml");
    fs::write(&file, declared(postgres, 10, BY_ADMIN)).unwrap();
    process.good(&["apply", "-f", &file.display().to_string()], b"");
    process.enrol("bot", "orders");
    process.good_as("bot", &["lease", "get", "orders.query", "-o", "json"], b"");
    process
}

#[test]
fn the_python_client_gets_extends_and_gives_up_a_login() {
    let postgres = Postgres::start();
    let process = with_a_login(&postgres);
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples");
    let home = process.path("home-bot").display().to_string();
    let username = python("lease_client.py", &[examples, &home]);
    wait_until(|| !logins(&postgres).contains(username.trim()));
    assert!(!logins(&postgres).is_empty(), "the other lease stays");
}

#[test]
fn on_a_full_disk_the_login_of_a_revoked_agent_is_revoked() {
    let postgres = Postgres::start();
    let mut process = with_a_login(&postgres);
    on_a_full_disk(&mut process);
    let refused = process.run_as("bot", &["lease", "get", "orders.query", "--fresh"], b"");
    assert!(!refused.status.success(), "nothing is given without a record");
    assert_ne!(logins(&postgres), "");
    process.good(&["agent", "revoke", "bot"], b"");
    wait_until(|| logins(&postgres).is_empty());
}

#[test]
fn a_revoked_agents_login_is_revoked_after_a_refused_append() {
    let postgres = Postgres::start();
    let mut process = with_a_login(&postgres);
    process.stop();
    let disk = SmallDisk::under(&mut process);
    process.serve();
    disk.fill_up(&mut process, "bot", &["lease", "get", "orders.query", "--fresh"]);
    let revoked = process.run_as("operator", &["agent", "revoke", "bot"], b"");
    assert_eq!(revoked.status.code(), Some(12), "{}", String::from_utf8_lossy(&revoked.stderr));
    wait_until(|| process.log().contains("the leases of revoked agents could not be revoked"));
    assert_ne!(logins(&postgres), "", "nobody is called without a record");
    disk.empty(&process);
    wait_until(|| logins(&postgres).is_empty());
    process.stop();
}
