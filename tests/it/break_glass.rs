//! Break-glass access: revocation by a user of the broker's host, sealed or not, and one certificate for an hour.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use keyward::base::limits::{BREAK_GLASS_LIFE_S, HOST_CONNECTIONS_MAX, ORDERS_MAX};
use keyward::base::{Clock, SystemClock, Timestamp};
use keyward::custody::{Orders, PendingOrder, RevocationOrder};
use serde_json::{Value, json};

use crate::sealing::{WORDS, caller, entries, refused, verb};
use crate::support::host::{ask, send, until};
use crate::support::process::Process;

/// What is done to subjects.
const CHANGES: [&str; 3] = ["subject.revoked", "subject.suspended", "subject.resumed"];

/// A broker that serves, with the agent `a`.
fn served() -> Process {
    let mut process = Process::init("info");
    process.serve();
    process.set_up(b"value");
    process
}

/// A broker that is sealed and attended, with the agent `a`, and the file that opens it.
pub(crate) fn sealed() -> (Process, String) {
    let mut process = Process::init_attended("info", WORDS);
    let key = process.path("spare.key").display().to_string();
    let add = ["slot", "add", "--key-file", &key, "--by-passphrase"];
    assert_eq!(verb(&process, &add, WORDS.as_bytes()).0, Some(0));
    start_sealed(&mut process);
    assert_eq!(verb(&process, &["unseal", "--key-file", &key], b"").0, Some(0));
    process.set_up(b"value");
    assert_eq!(verb(&process, &["seal"], b"").0, Some(0));
    (process, key)
}

pub(crate) fn start_sealed(process: &mut Process) {
    process.spawn();
    until(&process.socket(), "sealed");
}

pub(crate) fn unseal(process: &Process, key: &str) {
    let done = verb(process, &["unseal", "--key-file", key], b"");
    assert_eq!(done.0, Some(0), "{done:?}");
}

pub(crate) fn broken(process: &Process, args: &[&str]) -> (Option<i32>, Value) {
    verb(process, &[&["break-glass"], args].concat(), b"")
}

fn gets(process: &Process, who: &str) -> bool {
    process.run_as(who, &["get", "github/app"], b"").status.success()
}

#[tokio::test]
async fn root_on_the_host_revokes_each_kind_of_subject_at_once() {
    let process = served();
    process.enrol("b", "repo-reader");
    let agent = caller(&process, "a", "agent");
    let mut open = agent.connect().await.unwrap();
    assert_eq!(open.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    let (exit, done) = broken(&process, &["suspend", "agent", "a"]);
    assert_eq!((exit, &done["durable"], &done["queued"]), (Some(0), &json!(true), &json!(false)), "{done}");
    let met = open.send("GET", "/v1/whoami", &[], b"").await;
    assert!(met.map_or(true, |reply| reply.status == 401), "the very next request meets it");
    assert!(gets(&process, "b"), "nobody else does");
    process.good(&["agent", "resume", "a"], b"");
    assert!(gets(&process, "a"), "an operator gives back what the host cannot");

    let shown = process.json(&["agent", "show", "a"]);
    let instance = shown["instances"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(broken(&process, &["revoke", "instance", &instance]).0, Some(0));
    assert!(!gets(&process, "a"));
    let shown = process.json(&["agent", "show", "b"]);
    let serial = shown["instances"][0]["serial"].as_str().unwrap().to_owned();
    assert_eq!(broken(&process, &["revoke", "certificate", &serial]).0, Some(0));
    assert!(!gets(&process, "b"));
    let token = format!("tok_{}", "0".repeat(26));
    assert_eq!(broken(&process, &["revoke", "token", &token]).0, Some(0));
    assert_eq!(broken(&process, &["revoke", "agent", "a"]).0, Some(0));
    let told = entries(&process, &CHANGES);
    let by_host = told.iter().filter(|entry| entry["event"]["by"] == "host uid 0").count();
    assert_eq!((by_host, told.len()), (5, 6), "{told:?}");

    let keyed = |key: &str, path: &str| {
        send(&process.socket(), ("POST", path), &[("idempotency-key", key)], b"").unwrap()
    };
    let first = keyed("k", "/v1/agents/b/revoke");
    assert_eq!((first.status, keyed("k", "/v1/agents/b/revoke").json()), (200, first.json()));
    assert_eq!(entries(&process, &CHANGES).len(), told.len() + 1, "once for one request");
    assert_eq!(keyed("k", "/v1/agents/a/revoke").code(), "idempotency_key_reused");
    let headers = [("idempotency-key", "k"), ("content-type", "application/json")];
    let reply = send(&process.socket(), ("POST", "/v1/agents/b/revoke"), &headers, b"{\"reason\":\"x\"}");
    assert_eq!(reply.unwrap().code(), "idempotency_key_reused", "the reason is part of the request");
    assert_eq!(keyed("two words", "/v1/agents/a/revoke").code(), "idempotency_key_invalid");

    refused(&broken(&process, &["revoke", "agent", "nobody"]), 7, "subject_unknown");
    refused(&broken(&process, &["revoke", "operator", "nobody"]), 7, "operator_unknown");
    for args in [
        ["agent", "A"],
        ["agent", "../x"],
        ["instance", "a"],
        ["certificate", "a"],
        ["token", "a"],
        ["operator", "A"],
    ] {
        refused(&broken(&process, &[&["revoke"][..], &args].concat()), 2, "usage");
    }
    for (path, code) in [
        ("/v1/agents/-a/revoke", "name_not_canonical"),
        ("/v1/operators/-a/suspend", "name_not_canonical"),
        ("/v1/instances/a/revoke", "id_not_canonical"),
        ("/v1/tokens/a/revoke", "id_not_canonical"),
        ("/v1/certificates/a/revoke", "id_not_canonical"),
    ] {
        let reply = ask(&process.socket(), "POST", path, &Value::Null);
        assert_eq!((reply.status, reply.code().as_str()), (400, code), "{path}");
    }
    let resume = ask(&process.socket(), "POST", "/v1/agents/a/resume", &Value::Null);
    assert_eq!(
        (resume.status, resume.code().as_str()),
        (404, "route_unknown"),
        "the host gives nothing back"
    );
}

#[test]
fn the_socket_takes_so_many_connections_and_closes_the_next() {
    let process = served();
    let socket = process.socket();
    let open: Vec<UnixStream> =
        (0..HOST_CONNECTIONS_MAX).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    // Each is served: it has been taken.
    for stream in &open {
        let mut stream = stream;
        stream.write_all(b"GET /v1/state HTTP/1.1\r\nhost: keyward\r\n\r\n").unwrap();
        assert!(stream.read(&mut [0; 1]).unwrap() > 0);
    }
    let mut beyond = UnixStream::connect(&socket).unwrap();
    assert_eq!(beyond.read(&mut [0; 1]).unwrap_or(0), 0, "closed without a word");
    drop(open);
    until(&socket, "open");
}

#[tokio::test]
async fn one_administrator_for_an_hour_is_all_that_the_host_is_given() {
    let process = served();
    // The host is above the last admin, too.
    assert_eq!(broken(&process, &["revoke", "operator", "admin"]).0, Some(0));
    assert!(!process.run_as("operator", &["whoami", "--operator"], b"").status.success());
    let out = process.path("home-glass").display().to_string();
    let (exit, told) = broken(&process, &["operator", "--out", &out]);
    assert_eq!(
        (exit, &told["operator"]),
        (Some(0), &json!("spiffe://keyward.test/operator/break-glass")),
        "{told}"
    );
    let (until, now) = (&told["operator_until"], SystemClock::new().now());
    let latest = now.plus_s(BREAK_GLASS_LIFE_S);
    assert!(until.as_str().unwrap() <= latest.to_string().as_str(), "an hour: {until}, now {now}");
    let me = process.good_as("glass", &["whoami", "--operator", "-o", "json"], b"");
    let me: Value = serde_json::from_slice(&me).unwrap();
    assert_eq!(
        (&me["name"], &me["role"], &me["owner"]),
        (&json!("break-glass"), &json!("admin"), &Value::Null)
    );

    // It is the way back: it invites other names, but cannot be invited by its own.
    let code = process.good_as("glass", &["operator", "invite", "admin"], b"");
    process.good_as("operator", &["join", "--replace"], &code);
    let alarms = entries(&process, &["alarm.break-glass-used"]);
    assert_eq!((alarms.len(), &alarms[0]["event"]["by"]), (1, &json!("host uid 0")));
    let invite = process.run_as("operator", &["operator", "invite", "break-glass", "-o", "json"], b"");
    assert!(String::from_utf8_lossy(&invite.stderr).contains("operator_is_break_glass"));
    let renew = process.run_as("glass", &["renew", "--operator", "-o", "json"], b"");
    assert!(String::from_utf8_lossy(&renew.stderr).contains("operator_is_break_glass"));
    refused(&verb(&process, &["init", "--operator", "break-glass"], b""), 2, "usage");

    let again = process.path("home-again").display().to_string();
    let mut first = caller(&process, "glass", "operator").connect().await.unwrap();
    assert_eq!(first.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    assert_eq!(broken(&process, &["operator", "--out", &again]).0, Some(0));
    process.good_as("again", &["whoami", "--operator"], b"");
    let met = first.send("GET", "/v1/whoami", &[], b"").await;
    assert!(met.map_or(true, |reply| reply.status == 401), "the one before is dead, connections and all");
    // An operator ends it as any other's.
    process.good(&["operator", "revoke", "break-glass"], b"");
    assert!(!process.run_as("again", &["whoami", "--operator"], b"").status.success());
    for (body, code) in
        [(json!({ "csr": "" }), "csr_malformed"), (json!({ "csr": "!" }), "renewal_malformed")]
    {
        let reply = ask(&process.socket(), "POST", "/v1/break-glass", &body);
        assert_eq!((reply.status, reply.code().as_str()), (400, code));
    }
}

#[test]
fn an_order_to_a_sealed_broker_counts_from_the_first_request_on() {
    let (mut process, key) = sealed();
    let (exit, done) = broken(&process, &["suspend", "agent", "a"]);
    assert_eq!((exit, &done["queued"]), (Some(0), &json!(true)), "{done}");
    assert_eq!(broken(&process, &["suspend", "agent", "a"]).0, Some(0), "once is enough");
    assert_eq!(broken(&process, &["revoke", "agent", "nobody"]).0, Some(0), "who there is nobody knows now");
    assert_eq!(broken(&process, &["revoke", "operator", "no-one"]).0, Some(0));
    let out = process.path("home-glass").display().to_string();
    refused(&broken(&process, &["operator", "--out", &out]), 10, "sealed");
    let waiting = |process: &Process| {
        ask(&process.socket(), "GET", "/v1/state", &Value::Null).json()["queued"].as_u64().unwrap()
    };
    assert_eq!(waiting(&process), 3);
    process.kill();
    start_sealed(&mut process);
    assert_eq!(waiting(&process), 3, "none of it was lost");
    unseal(&process, &key);
    assert!(!gets(&process, "a"), "from the first request on");
    assert_eq!((waiting(&process), process.path("data/orders").exists()), (0, false));
    let told = entries(&process, &["subject.suspended", "host.pending-order-failed", "broker.unsealed"]);
    let kinds: Vec<&str> = told.iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    let in_vain = "host.pending-order-failed";
    assert_eq!(kinds, ["broker.unsealed", "broker.unsealed", "subject.suspended", in_vain, in_vain]);
    assert_eq!(told[2]["event"]["by"], "host uid 0, while sealed");
    assert_eq!(told[3]["event"]["what"], json!({ "revoke-agent": "nobody" }));
    // The fields by which the entries are linked.
    let subjects = (&told[3]["event"]["agent"], &told[4]["event"]["operator"]);
    assert_eq!(subjects, (&json!("nobody"), &json!("no-one")));
    assert_eq!(
        (&told[3]["event"]["code"], &told[4]["event"]["code"]),
        (&json!("subject_unknown"), &json!("operator_unknown"))
    );
    process.good(&["agent", "resume", "a"], b"");
    assert!(gets(&process, "a"));
}

#[test]
fn a_kill_anywhere_between_order_and_unsealing_loses_no_order() {
    let (mut process, key) = sealed();
    process.kill();
    process.load_faults(0);
    // While an order is kept: what was acknowledged waits.
    for at in 1.. {
        start_sealed(&mut process);
        process.arm(&format!("kill {at}"));
        let (exit, _) = broken(&process, &["suspend", "agent", &format!("a{at}")]);
        process.disarm();
        process.kill();
        let orders = Orders::open(&process.path("data/orders")).unwrap();
        let what = RevocationOrder::SuspendAgent(format!("a{at}").parse().unwrap());
        let waits = orders.waiting().iter().any(|order| order.what == what);
        assert!(exit != Some(0) || waits, "killed at {at}");
        if exit == Some(0) {
            assert!(at > 3, "a file and its directory: {at}");
            break;
        }
    }
    fs::remove_file(process.path("data/orders")).unwrap();
    // From the moment that the right key is given to the moment that the broker serves.
    let order = |process: &Process| assert_eq!(broken(process, &["suspend", "agent", "a"]).0, Some(0));
    start_sealed(&mut process);
    order(&process);
    process.arm("count 0");
    unseal(&process, &key);
    let points = process.counted().points;
    process.disarm();
    assert!(points >= 6, "entries, and the file that goes: {points}");
    for at in 1..=points {
        process.good(&["agent", "resume", "a"], b"");
        process.kill();
        start_sealed(&mut process);
        order(&process);
        process.arm(&format!("kill {at}"));
        verb(&process, &["unseal", "--key-file", &key], b"");
        process.was_killed(at, points);
        process.disarm();
        start_sealed(&mut process);
        unseal(&process, &key);
        assert!(!gets(&process, "a"), "after a kill at {at}");
    }
}

#[test]
fn an_order_that_cannot_wait_says_so() {
    let (mut process, key) = sealed();
    let path = process.path("data/orders");
    fs::create_dir(path.with_extension("new")).unwrap();
    refused(&broken(&process, &["revoke", "agent", "a"]), 10, "pending_order_not_stored");
    fs::remove_dir(path.with_extension("new")).unwrap();
    process.kill();
    let mut orders = Orders::open(&path).unwrap();
    for number in 0..ORDERS_MAX {
        let what = RevocationOrder::RevokeAgent(format!("a{number}").parse().unwrap());
        orders
            .add(PendingOrder {
                at: Timestamp::from_s(0),
                by: "host uid 0".to_owned(),
                reason: None,
                operator: None,
                connection: None,
                what,
            })
            .unwrap();
    }
    start_sealed(&mut process);
    refused(&broken(&process, &["revoke", "agent", "a"]), 8, "pending_orders_full");
    assert_eq!(broken(&process, &["revoke", "agent", "a7"]).0, Some(0), "it waits already");
    process.kill();
    fs::write(&path, "[{\"resume\":\"a\"}]").unwrap();
    let (exit, said) = process.refused_serve();
    assert!(exit == Some(10) && said.contains("pending_orders_damaged"), "{said}");
    fs::remove_file(&path).unwrap();
    start_sealed(&mut process);
    unseal(&process, &key);
    assert!(gets(&process, "a"));
}

#[test]
fn a_broker_that_starts_by_itself_carries_out_what_waits_before_it_serves() {
    let mut process = served();
    assert_eq!(verb(&process, &["seal"], b"").0, Some(0));
    assert_eq!(broken(&process, &["revoke", "agent", "a"]).0, Some(0));
    process.kill();
    // Without `--sealed`: the configuration names a file.
    process.serve();
    assert!(!gets(&process, "a"));
    assert_eq!(entries(&process, &CHANGES)[0]["event"]["by"], "host uid 0, while sealed");
}

#[test]
fn on_the_worst_day_the_host_takes_away_in_memory_and_nothing_is_given() {
    let mut process = Process::init("info");
    process.load_faults(0);
    process.serve();
    process.set_up(b"value");
    process.arm("eio 1");
    let (exit, done) = broken(&process, &["revoke", "agent", "a"]);
    assert_eq!((exit, done["code"].as_str()), (Some(12), Some("not_durable")), "{done}");
    assert!(!gets(&process, "a"));
    let out = process.path("home-glass").display().to_string();
    refused(&broken(&process, &["operator", "--out", &out]), 10, "ledger_failed");
    let (exit, done) = verb(&process, &["seal"], b"");
    assert_eq!((exit, &done["state"]), (Some(0), &json!("sealed")), "sealing takes away, too");
}
