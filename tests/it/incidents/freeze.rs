//! A frozen broker hands out no token, no value and no login, and goes on with everything else.

use keyward::base::encoding::base64url;
use keyward::pki::new_key_and_request;
use serde_json::{Value, json};

use super::agent;
use crate::ends_in_memory::metrics_of;
use crate::leases::{BY_ADMIN, declared};
use crate::operators::{holder, post, refused};
use crate::panel::set_up;
use crate::rotation::BYTES;
use crate::sealing::entries;
use crate::support::broker::{Caller, Reply, TestBroker};
use crate::support::host::ask;
use crate::support::postgres::{ADMIN_PASSWORD, Postgres};
use crate::worst_day::{
    answer_again, hang_with_a_mint, kept_by, on_a_failing_disk, with_a_runtime_directory,
};

const FORM: &str = "application/x-www-form-urlencoded";
const MINT: &str = "grant_type=client_credentials&scope=reports.read";

async fn freeze(by: &Caller) -> Reply {
    by.post_json("/v1/freeze", &json!({ "reason": "incident 4" })).await
}

async fn thaw(by: &Caller) -> Reply {
    by.post_json("/v1/thaw", &json!({ "reason": "incident 4 is over" })).await
}

async fn on_host(broker: &TestBroker, path: &'static str, body: Value) -> Reply {
    let socket = broker.socket();
    tokio::task::spawn_blocking(move || ask(&socket, "POST", path, &body)).await.unwrap()
}

#[tokio::test]
async fn a_frozen_broker_hands_out_nothing_and_goes_on_with_the_rest() {
    // Given an agent with a token, a lease, and a token that another service verifies
    let (broker, postgres) = (TestBroker::declared().await, Postgres::start());
    let admin = broker.operator();
    assert_eq!(admin.put("/v1/secrets/orders-db/admin", BYTES, ADMIN_PASSWORD.as_bytes()).await.status, 201);
    let server = "[[resource_server]]\nname = \"reports\"\naudience = \"https://reports.example.com\"\n";
    let bot = "[[agent]]\nname = \"bot\"\nroles = [\"publisher\", \"repo-reader\", \"orders\"]\nmax_instances = 2\n";
    let applied = broker.apply(&format!("{}{server}{bot}", declared(&postgres, 5, BY_ADMIN))).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    let (reports, bot) = (broker.agent("reports", &[]).await, broker.agent("bot", &[]).await);
    let keyed = [("content-type", FORM), ("idempotency-key", "once")];
    assert_eq!(bot.caller.send("POST", "/oauth/token", &keyed, MINT.as_bytes()).await.status, 200);
    let (token, reveal) = (bot.token("reports.read").await, bot.token("github.repo.read").await);
    let lease = json!({ "capability": "orders.query" });
    let lent = bot.caller.post_json("/v1/leases", &lease).await.json();
    let renewal = format!("/v1/leases/{}/renew", lent["lease"].as_str().unwrap());
    // When the broker is frozen
    assert_eq!(freeze(&admin).await.status, 200);
    // Then it issues and repeats no token, reveals no value, and gives, repeats and extends no lease
    let refused_now = |reply: &Reply, what: &str| {
        assert_eq!((reply.status, reply.code().as_str()), (503, "broker_frozen"), "{what}: {}", reply.text());
    };
    refused_now(&bot.caller.post("/oauth/token", FORM, MINT.as_bytes()).await, "mint");
    refused_now(&bot.caller.send("POST", "/oauth/token", &keyed, MINT.as_bytes()).await, "replay");
    refused_now(&bot.secret("github/app", &reveal).await, "reveal");
    let fresh = json!({ "capability": "orders.query", "fresh": true });
    refused_now(&bot.caller.post_json("/v1/leases", &lease).await, "lease");
    refused_now(&bot.caller.post_json("/v1/leases", &fresh).await, "new lease");
    refused_now(&bot.caller.post_json(&renewal, &json!({})).await, "renewal");
    refused_now(&admin.post_json(&renewal, &json!({})).await, "extension");
    // And it verifies, renews, enrols and revokes
    let form = format!("token={token}");
    let asked = reports.caller.post("/oauth/introspect", FORM, form.as_bytes()).await.json();
    assert_eq!(asked["active"], true, "{asked}");
    let renewed = |request: &[u8]| json!({ "csr": base64url(request) });
    let (_, request) = new_key_and_request().unwrap();
    assert_eq!(bot.caller.post_json("/v1/renew", &renewed(&request)).await.status, 201);
    let code = broker.invite("bot", &[]).await;
    assert_eq!(broker.redeem(&code, &new_key_and_request().unwrap().1).await.status, 201);
    assert_eq!(broker.nobody(broker.agents()).get("/readyz").await.status, 200);
    let ready = broker.nobody(broker.admins()).get("/readyz").await.json();
    assert!(ready["warnings"].as_array().unwrap().contains(&json!("frozen")), "{ready}");
    assert!(postgres.lets_in(lent["username"].as_str().unwrap(), lent["password"].as_str().unwrap()));
    // And when it is thawed, it hands out again
    assert_eq!(thaw(&admin).await.status, 200);
    assert_eq!(bot.caller.post("/oauth/token", FORM, MINT.as_bytes()).await.status, 200);
    assert_eq!(bot.secret("github/app", &reveal).await.status, 200);
    assert_eq!(bot.caller.post_json(&renewal, &json!({})).await.status, 200);
    assert_eq!(post(&admin, "/v1/agents/bot/revoke").await.status, 200);
}

#[tokio::test]
async fn a_freeze_is_one_entry_until_an_operator_thaws_the_broker() {
    let mut broker = TestBroker::declared().await;
    let bot = broker.agent("bot", &["publisher"]).await;
    refused(&thaw(&broker.operator()).await, 409, "broker_not_frozen");
    // Given a freeze by the host, and repeated ones
    let reply = on_host(&broker, "/v1/freeze", json!({ "reason": "incident 4" })).await.json();
    assert_eq!((&reply["durable"], &reply["queued"]), (&true.into(), &false.into()), "{reply}");
    assert_eq!(freeze(&broker.operator()).await.json()["seq"], reply["seq"]);
    let told = broker.entries("broker.frozen").await;
    assert_eq!((told.len(), &told[0]["reason"]), (1, &"incident 4".into()), "{told:?}");
    // When the broker starts again, then it is frozen
    broker.take_snapshot().await;
    broker.restart().await;
    let bot = broker.caller(broker.agents(), Some(&bot.certificate), Some(&bot.key));
    refused(&bot.post("/oauth/token", FORM, MINT.as_bytes()).await, 503, "broker_frozen");
    // And neither the host nor break-glass access thaws it
    refused(&on_host(&broker, "/v1/thaw", json!({ "reason": "over" })).await, 404, "route_unknown");
    let (key, request) = new_key_and_request().unwrap();
    let glass = on_host(&broker, "/v1/break-glass", json!({ "csr": base64url(&request) })).await;
    let glass = holder(&broker, &glass, key.expose()).caller;
    refused(&thaw(&glass).await, 403, "not_by_break_glass");
    assert_eq!(super::contain(&glass, agent("bot")).await.status, 200);
    assert_eq!(thaw(&broker.operator()).await.status, 200);
    assert_eq!(broker.entries("broker.thawed").await[0]["event"]["by"], "admin");
}

#[test]
fn a_freeze_while_the_disk_hangs_is_in_force_at_once_and_after_a_kill() {
    // Given a broker whose disk hangs
    let (elsewhere, process) = with_a_runtime_directory(set_up());
    let mut process = on_a_failing_disk(process);
    let mut minting = hang_with_a_mint(&process, "q");
    // When the host freezes it
    let config = process.config();
    let freeze = ["break-glass", "freeze", "--reason", "incident 4", "--config", &config, "-o", "json"];
    let done = process.run_as("host", &freeze, b"");
    let answer: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(
        (done.status.code(), &answer["durable"], &answer["kept"]),
        (Some(12), &json!(false), &json!(true))
    );
    assert!(metrics_of(&process, "keyward_frozen 1"));
    let thaw = process.run_as("operator", &["thaw", "--reason", "over"], b"");
    assert!(String::from_utf8_lossy(&thaw.stderr).contains("revocation_unrecorded"), "{thaw:?}");
    // Then the token of the request that waits for the disk is not handed out, also when the disk answers
    answer_again(&process);
    let minted = minting.wait().unwrap();
    assert!(!minted.success());
    crate::support::waiting::wait_until(|| metrics_of(&process, "keyward_revocations_unrecorded 0"));
    assert_eq!(entries(&process, &["broker.frozen"]).len(), 1);
    process.good(&["thaw", "--reason", "over"], b"");
    process.good_as("q", &["token", "reports.read"], b"");
    // And when the disk hangs again, and the process is killed, the next start is frozen
    let mut minting = hang_with_a_mint(&process, "q");
    let frozen = process.run_as("operator", &["freeze", "--reason", "incident 5"], b"");
    assert_eq!(frozen.status.code(), Some(12), "{frozen:?}");
    process.kill();
    minting.wait().unwrap();
    answer_again(&process);
    process.serve();
    let refused = process.run_as("p", &["token", "reports.read"], b"");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("broker_frozen"), "{refused:?}");
    assert!(!kept_by(&elsewhere, "orders").exists(), "the ledger has it");
    let status = process.run_as("operator", &["status"], b"");
    assert!(String::from_utf8_lossy(&status.stdout).contains("frozen"), "{status:?}");
}

#[test]
fn a_sealed_broker_is_frozen_before_it_serves() {
    let (process, key) = crate::break_glass::sealed();
    let config = process.config();
    let freeze = ["break-glass", "freeze", "--reason", "incident 4", "--config", &config, "-o", "json"];
    let answer: Value = serde_json::from_slice(&process.run_as("host", &freeze, b"").stdout).unwrap();
    assert_eq!(answer["queued"], true, "{answer}");
    crate::break_glass::unseal(&process, &key);
    let refused = process.run_as("a", &["get", "github/app"], b"");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("broker_frozen"), "{refused:?}");
}
