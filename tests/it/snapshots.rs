//! A broker that starts from a snapshot is the broker that starts from every entry.

use std::fs;
use std::path::Path;

use keyward::base::encoding::base64url;
use serde_json::json;

use crate::support::broker::{Agent, Reply, TestBroker};
use crate::support::process::Process;

/// What operators can see of everything that is recorded, but for the ledger itself.
async fn seen(broker: &TestBroker) -> Vec<String> {
    let mut seen = Vec::new();
    let lists = ["agents", "capabilities", "roles", "secrets", "operators", "rotations", "authorities"];
    let others = ["token-keys", "secrets/github/app", "rotations/db/password"];
    for path in lists.iter().chain(&others) {
        let reply = broker.operator().get(&format!("/v1/{path}")).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        seen.push(reply.text());
    }
    seen
}

/// The entry that the snapshot is as of that the present start began with, or that was taken since.
async fn snapshot(broker: &TestBroker) -> u64 {
    let metrics = broker.operator().get("/metrics").await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("keyward_snapshot_seq "));
    line.unwrap().parse().unwrap()
}

async fn post(broker: &TestBroker, path: &str) {
    // A key that was published just now.
    let is_forced = path.contains("/token-keys/") && path.ends_with("/activate");
    let body = if is_forced { json!({ "force": true }) } else { json!({}) };
    let reply = broker.operator().post_json(path, &body).await;
    assert!(reply.status < 300, "{path}: {}", reply.text());
}

async fn once(agent: &Agent, key: &str) -> Reply {
    let form = b"grant_type=client_credentials&scope=reports.read";
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("idempotency-key", key)];
    agent.caller.send("POST", "/oauth/token", &headers, form).await
}

const ROTATION: &str =
    "[[rotation]]\nsecret = \"db/password\"\nevery = \"30d\"\n[rotation.upstream]\ndriver = \"generate\"\n";

fn remove_snapshots(data: &Path) -> usize {
    let ledger = fs::read_dir(data.join("ledger")).unwrap().map(|file| file.unwrap().path());
    let snapshots: Vec<_> = ledger.filter(|path| path.extension().is_some_and(|end| end == "snap")).collect();
    snapshots.iter().for_each(|path| fs::remove_file(path).unwrap());
    snapshots.len()
}

#[tokio::test]
async fn a_start_from_a_snapshot_gives_the_same_state_as_one_from_all_entries() {
    // Given something in every room, half of it before a snapshot and half after.
    let mut broker = TestBroker::declared().await;
    broker.operator().put("/v1/secrets/db/password", "application/octet-stream", b"first").await;
    assert_eq!(broker.apply(ROTATION).await.status, 200);
    let (mut alive, mut revoked, mut suspended) = (Vec::new(), Vec::new(), Vec::new());
    for half in ["one", "two"] {
        let agent = broker.agent(&format!("alive-{half}"), &["repo-reader", "publisher"]).await;
        let code = broker.invite(&format!("invited-{half}"), &["publisher"]).await;
        let role = json!({ "role": "auditor" });
        let invited = broker.operator().post_json(&format!("/v1/operators/{half}/invitations"), &role).await;
        assert_eq!(invited.status, 201, "{}", invited.text());
        let dead = agent.token("github.repo.read").await;
        let claims: serde_json::Value = serde_json::from_slice(
            &keyward::base::encoding::from_base64url(dead.split('.').nth(1).unwrap()).unwrap(),
        )
        .unwrap();
        post(&broker, &format!("/v1/tokens/{}/revoke", claims["jti"].as_str().unwrap())).await;
        let held = agent.token("github.repo.read").await;
        let minted = once(&agent, half).await.json();
        alive.push((agent, held, dead, minted["token_id"].clone(), code));
        revoked.push(broker.agent(&format!("revoked-{half}"), &["publisher"]).await);
        post(&broker, &format!("/v1/agents/revoked-{half}/revoke")).await;
        suspended.push(broker.agent(&format!("suspended-{half}"), &["publisher"]).await);
        post(&broker, &format!("/v1/agents/suspended-{half}/suspend")).await;
        let stored = broker.operator();
        stored.put("/v1/secrets/github/app", "application/octet-stream", half.as_bytes()).await;
        post(&broker, "/v1/token-keys").await;
        if half == "one" {
            post(&broker, "/v1/token-keys/2/activate").await;
            broker.take_snapshot().await;
            assert!(snapshot(&broker).await > 20);
        }
    }
    let taken = snapshot(&broker).await;
    let before = seen(&broker).await;
    // When it starts from that snapshot, and then from every entry.
    for start in ["from a snapshot", "from every entry"] {
        broker.stop().await;
        if start == "from every entry" {
            assert_eq!(remove_snapshots(&broker.data()), 1);
        }
        broker.serve().await;
        assert_eq!(snapshot(&broker).await, if start == "from a snapshot" { taken } else { 0 }, "{start}");
        for agent in alive.iter_mut().map(|(agent, ..)| agent).chain(&mut revoked).chain(&mut suspended) {
            agent.caller.address = broker.agents();
        }
        // Then nobody can tell.
        assert_eq!(seen(&broker).await, before, "{start}");
        for (half, (agent, held, dead, minted, code)) in ["one", "two"].iter().zip(&alive) {
            assert_eq!(agent.secret("github/app", held).await.text(), "two", "{start}");
            assert_eq!(agent.caller.get("/v1/whoami").await.status, 200, "{start}");
            let refused = agent.secret("github/app", dead).await;
            assert_eq!((refused.status, refused.code().as_str()), (401, "token_revoked"), "{start}");
            assert_eq!(once(agent, half).await.json()["token_id"], *minted, "{start}: the same token again");
            let wrong = json!({ "code_id": code.id.to_string(), "secret": base64url(&[0; 32]), "csr": "" });
            assert_ne!(broker.nobody(broker.agents()).post_json("/v1/enrol", &wrong).await.status, 201);
        }
        for agent in revoked.iter().chain(&suspended) {
            let out = agent.caller.attempt("GET", "/v1/whoami", &[], b"").await;
            assert!(
                out.is_err_and(|_| true) || agent.caller.get("/v1/whoami").await.status == 401,
                "{start}"
            );
        }
    }
    // And the codes of both halves are still good.
    for (_, _, _, _, code) in &alive {
        let (_, request) = keyward::pki::new_key_and_request().unwrap();
        assert_eq!(broker.redeem(code, &request).await.status, 201);
    }
}

#[tokio::test]
async fn a_lost_index_is_rebuilt_after_a_start_from_a_snapshot() {
    let mut broker = TestBroker::declared().await;
    let mut agent = broker.agent("a", &["repo-reader"]).await;
    broker.take_snapshot().await;
    let token = agent.token("github.repo.read").await;
    broker.stop().await;
    fs::remove_dir_all(broker.data().join("index")).unwrap();
    broker.serve().await;
    assert!(snapshot(&broker).await > 0);
    agent.caller.address = broker.agents();
    assert_eq!(agent.secret("github/app", &token).await.text(), "hunter2");
    broker.restart().await;
    agent.caller.address = broker.agents();
    assert_eq!(agent.secret("github/app", &token).await.text(), "hunter2");
}

#[tokio::test]
async fn a_snapshot_holds_only_recorded_state_and_is_on_the_ledger() {
    let mut broker = TestBroker::declared().await;
    broker.take_snapshot().await;
    broker.take_snapshot().await;
    broker.take_snapshot().await;
    let taken = broker.entries("ledger.snapshot-taken").await;
    assert_eq!(taken.len(), 3, "each is one entry after the last");
    let newest = taken[2]["event"]["through"].as_u64().unwrap();
    let file = broker.data().join("ledger").join(format!("{newest:020}.snap"));
    let bytes = fs::read(file).unwrap();
    assert_eq!(taken[2]["event"]["bytes"], bytes.len());
    assert_eq!(taken[2]["event"]["sha256"], keyward::crypto::sha256(&bytes).hex());
    assert_eq!(remove_snapshots(&broker.data()), 2, "two are kept");
    broker.restart().await;
    assert_eq!(snapshot(&broker).await, 0);
}

/// Declarations of so many agents fit into one application.
const AGENTS_AT_ONCE: usize = 5_000;

fn fleet(batch: usize) -> String {
    let agents = batch * AGENTS_AT_ONCE..(batch + 1) * AGENTS_AT_ONCE;
    agents.map(|n| format!("[[agent]]\nname = \"fleet-{n:06}\"\nroles = [\"repo-reader\"]\n")).collect()
}

#[tokio::test]
async fn a_broker_with_100000_agents_starts_from_a_snapshot_with_all_of_them() {
    let mut broker = TestBroker::declared().await;
    for batch in 0..20 {
        assert_eq!(broker.apply(&fleet(batch)).await.status, 200);
    }
    let mut first = broker.agent("fleet-000007", &[]).await;
    broker.take_snapshot().await;
    let mut last = broker.agent("fleet-099999", &[]).await;
    post(&broker, "/v1/agents/fleet-050000/suspend").await;
    broker.restart().await;
    assert!(snapshot(&broker).await > 0);
    let page = broker.operator().get("/v1/agents?after=fleet-098998").await.json();
    assert_eq!(
        (page["items"].as_array().unwrap().len(), &page["next_after"]),
        (1_000, &json!("fleet-099998"))
    );
    for agent in [&mut first, &mut last] {
        agent.caller.address = broker.agents();
        let token = agent.token("github.repo.read").await;
        assert_eq!(agent.secret("github/app", &token).await.text(), "hunter2");
    }
}

#[test]
fn a_killed_broker_with_100000_agents_keeps_every_acknowledged_entry() {
    let mut process = Process::init("info");
    process.serve();
    process.set_up(b"hunter2");
    let file = process.path("fleet.toml").display().to_string();
    for batch in 0..20 {
        fs::write(&file, fleet(batch)).unwrap();
        process.good(&["apply", "-f", &file], b"");
    }
    let code = process.good(&["agent", "invite", "fleet-099999"], b"");
    process.kill();
    process.serve();
    process.good_as("fleet", &["join"], &code);
    process.kill();
    process.serve();
    assert_eq!(process.good_as("fleet", &["get", "github/app"], b""), b"hunter2");
    // Attended, too.
    let (config, key) = (process.config(), process.path("root.key").display().to_string());
    process.good(&["seal", "--config", &config], b"");
    process.good(&["unseal", "--key-file", &key, "--config", &config], b"");
    assert_eq!(process.good_as("fleet", &["get", "github/app"], b""), b"hunter2");
    let listed = process.json(&["agent", "list"])["items"].as_array().unwrap().len();
    assert_eq!(listed, 100_001, "page by page");
    assert_eq!(process.json(&["agent", "show", "fleet-000000"])["roles"], json!(["repo-reader"]));
}
