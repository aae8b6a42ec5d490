//! The socket on the broker's host: seal, unseal, and who may.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use keyward::base::encoding::from_base64url;
use keyward::base::{LedgerId, Sensitive, SlotId, SystemClock};
use keyward::crypto::{Aad, AeadKey, KeyId, RecipientKey, derive_key};
use keyward::http::{Caller as Who, admin_routes, agent_routes};
use keyward::keyring::{Family, Keyring, SlotKey};
use keyward::pki::certificates_from_pem;
use keyward::pki::tls::client_config;
use keyward::wire::Method;
use serde_json::{Value, json};

use crate::leaks::{in_memory, memory, sighted, sightings};
use crate::routes::knock;
use crate::support::broker::Caller;
use crate::support::host::{ask, until};
use crate::support::process::Process;
use crate::support::waiting::wait_until;

pub(crate) const WORDS: &str = "CNRY correct horse battery staple";

/// A verb on the host: its exit code, and what it said.
pub(crate) fn verb(process: &Process, args: &[&str], input: &[u8]) -> (Option<i32>, Value) {
    let config = process.config();
    let output = process.run_as("host", &[args, &["--config", &config, "-o", "json"]].concat(), input);
    let said = if output.status.success() { output.stdout } else { output.stderr };
    let said = String::from_utf8(said).unwrap();
    assert!(!said.contains("CNRY"), "{said}");
    (output.status.code(), serde_json::from_str(&said).unwrap_or_else(|_| panic!("no JSON: {said}")))
}

pub(crate) fn refused(done: &(Option<i32>, Value), exit: i32, code: &str) {
    assert_eq!((done.0, done.1["code"].as_str()), (Some(exit), Some(code)), "{done:?}");
    assert!(!done.1["fix"].as_str().unwrap().is_empty());
}

pub(crate) fn state(process: &Process) -> String {
    ask(&process.socket(), "GET", "/v1/state", &Value::Null).json()["state"].as_str().unwrap().to_owned()
}

/// All entries of these kinds.
pub(crate) fn entries(process: &Process, kinds: &[&str]) -> Vec<Value> {
    let audit = process.json(&["audit", "list", "--oldest-first", "--limit", "500"]);
    let items = audit["items"].as_array().unwrap().iter();
    items.filter(|item| kinds.contains(&item["kind"].as_str().unwrap())).cloned().collect()
}

/// A client with the identity of `who`, which knows the broker by its authority: at the agents' listener or,
/// an operator, at the admins'.
pub(crate) fn caller(process: &Process, who: &str, kind: &str) -> Caller {
    let held = |file: &str| fs::read_to_string(process.path(&format!("home-{who}/{kind}/{file}"))).unwrap();
    let address: SocketAddr = held("address").trim().parse().unwrap();
    let authorities = certificates_from_pem(&held("authority.pem")).unwrap();
    let identity = keyward::pki::tls::TlsIdentity {
        chain: certificates_from_pem(&held("certificate.pem")).unwrap(),
        key_pem: Sensitive::new(held("key.pem")),
    };
    let config = client_config(&authorities, Some(&identity), Arc::new(SystemClock::new())).unwrap();
    Caller { address, config }
}

#[tokio::test]
async fn an_attended_broker_waits_for_its_passphrase_and_serves_then() {
    let mut process = Process::init_attended("trace", WORDS);
    process.spawn();
    until(&process.socket(), "sealed");
    let operator = caller(&process, "operator", "operator");
    let ready = operator.get("/readyz").await;
    assert_eq!((ready.status, ready.code().as_str()), (503, "sealed"));
    assert_eq!(ready.header("retry-after"), "1");
    assert_eq!(operator.get("/livez").await.status, 200, "it lives");
    refused(&verb_as_operator(&process, &["whoami", "--operator"]), 10, "sealed");

    refused(&verb(&process, &["unseal"], b"CNRY something else again"), 4, "unseal_key_wrong");
    assert_eq!(state(&process), "sealed");
    let (exit, said) = verb(&process, &["unseal", "--passphrase"], format!("{WORDS}\n").as_bytes());
    assert_eq!((exit, &said["state"]), (Some(0), &"open".into()), "{said}");
    process.set_up(b"value");
    refused(&verb(&process, &["unseal"], WORDS.as_bytes()), 8, "not_sealed");
    // The connection of the last request ends after its answer.
    wait_until(|| in_memory(process.pid(), WORDS.as_bytes()).is_empty());

    process.stop();
    assert!(!process.socket().exists(), "the socket goes with its broker");
    process.spawn();
    until(&process.socket(), "sealed");
    let agent = caller(&process, "a", "agent");
    let pem = agent.get("/v1/authority").await;
    assert_eq!(pem.text(), fs::read_to_string(process.path("home-a/agent/authority.pem")).unwrap());
    for path in ["/.well-known/jwks.json", "/v1/checkpoint", "/v1/checkpoint/key", "/openapi.json"] {
        let reply = agent.get(path).await;
        assert_eq!(reply.status, 200, "{path}: what was last signed is still there");
        assert_eq!(reply.header("cache-control"), "public, max-age=60", "{path}");
    }
    assert_eq!(agent.get("/oauth/token").await.status, 405);
    assert_eq!(agent.get("/no/such").await.status, 404);
    let (exit, _) = verb(&process, &["unseal"], WORDS.as_bytes());
    assert_eq!(exit, Some(0));
    assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"value", "nothing was lost");
    let unsealed = entries(&process, &["broker.unsealed"]);
    let told = |at: usize, name: &str| unsealed[at]["event"][name].clone();
    assert_eq!((told(0, "by"), told(0, "with")), (json!("host uid 0"), json!("passphrase")));
    assert_eq!((told(0, "refused"), told(1, "refused")), (json!(1), json!(0)));
    process.stop();
    assert!(process.log().contains("TRACE"));
    assert!(!process.log().contains("CNRY"), "what was typed is in no log");
    assert_eq!(sightings(&process.path("data"), WORDS.as_bytes()), [""; 0]);
}

fn verb_as_operator(process: &Process, args: &[&str]) -> (Option<i32>, Value) {
    let output = process.run_as("operator", &[args, &["-o", "json"]].concat(), b"");
    (output.status.code(), serde_json::from_slice(&output.stderr).unwrap())
}

/// Every key that a broker holds while it serves, the root key first.
fn keys(process: &Process) -> Vec<(&'static str, Vec<u8>)> {
    let file = fs::read_to_string(process.path("data/keyring")).unwrap();
    let body: Value = serde_json::from_str(file.lines().next().unwrap()).unwrap();
    let ledger: LedgerId = body["ledger"].as_str().unwrap().parse().unwrap();
    let slot = &body["slots"][0];
    let id: SlotId = slot["id"].as_str().unwrap().parse().unwrap();
    let text = fs::read_to_string(process.path("root.key")).unwrap();
    let slot_key = from_base64url(text.trim().rsplit(':').next().unwrap()).unwrap();
    let slot_key = Sensitive::<[u8; 32]>::filled(|to| to.copy_from_slice(&slot_key));
    let wrapping = derive_key(&slot_key, b"", "keyward/keyring/slot/key-file");
    let wrapping = AeadKey::new(KeyId { family: 0xff, generation: 1 }, &wrapping);
    let bound =
        |domain: &str| Aad::new(domain).field(ledger.as_bytes()).field(id.as_bytes()).field(b"key-file");
    let bytes = |value: &Value| from_base64url(value.as_str().unwrap()).unwrap();
    // The slot key opens the slot's secret and private key; these open the root key.
    let pair = &slot["recipient"];
    let private = bound("keyward/keyring/slot/private").field(&bytes(&pair["public_key"]));
    let both = wrapping.open(&private, &bytes(&pair["private_key"])).unwrap();
    let (secret, private) = both.expose().split_at(32);
    let secret = Sensitive::<[u8; 32]>::filled(|to| to.copy_from_slice(secret));
    let sealing = derive_key(&secret, b"", "keyward/keyring/slot/secret/root");
    let sealing = AeadKey::new(KeyId { family: 0xfd, generation: 1 }, &sealing);
    let root = bound("keyward/keyring/slot/root");
    let sealed = sealing.open(&root, &bytes(&slot["wrapped_root"])).unwrap();
    let private = Sensitive::new(private.to_vec());
    let root = RecipientKey::open(&private, &root, sealed.expose()).unwrap().expose().clone();
    let key = SlotKey::from_file(&process.path("root.key")).unwrap();
    let keyring = Keyring::open(&process.path("data/keyring"), &key).unwrap();
    let of = |family| keyring.current(family).unwrap().1.expose().to_vec();
    let mut keys = vec![("root key", root), ("slot key", slot_key.expose().to_vec())];
    let families = [
        ("value key", Family::Value),
        ("delta key", Family::Delta),
        ("index key", Family::Index),
        ("digest key", Family::Digest),
    ];
    keys.extend(families.map(|(name, family)| (name, of(family))));
    let of = |family| keyring.signing(family, 1).unwrap().expose().clone();
    keys.extend([("token key", of(Family::Token)), ("authority key", of(Family::Authority))]);
    // In PKCS#8 the seed of an Ed25519 key stands behind 16 bytes (RFC 8410, section 7).
    keys.push(("checkpoint key", of(Family::Checkpoint)[16..48].to_vec()));
    keys
}

#[tokio::test]
async fn sealing_cuts_every_connection_and_leaves_no_key_in_memory() {
    let mut process = Process::init("info");
    process.serve();
    process.set_up(b"value");
    let (agent, operator) = (caller(&process, "a", "agent"), caller(&process, "operator", "operator"));
    let mut open = agent.connect().await.unwrap();
    assert_eq!(open.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    let (keys, pid) = (keys(&process), process.pid());
    assert_eq!(
        (keys[0].0, in_memory(pid, &keys[0].1).is_empty()),
        ("root key", false),
        "it is found where it is"
    );

    let (exit, said) = verb(&process, &["seal"], b"");
    assert_eq!((exit, &said["state"]), (Some(0), &"sealed".into()), "{said}");
    assert!(process.is_running() && process.pid() == pid, "the process stays, and waits");
    assert!(open.send("GET", "/v1/whoami", &[], b"").await.is_err(), "the connection is cut");
    for (name, key) in &keys {
        assert_eq!(in_memory(pid, key), [""; 0], "{name}");
    }
    for (caller, path) in
        [(&agent, "/readyz"), (&agent, "/v1/whoami"), (&operator, "/v1/agents"), (&operator, "/metrics")]
    {
        let reply = caller.get(path).await;
        assert_eq!((reply.status, reply.code().as_str()), (503, "sealed"), "{path}");
    }
    assert_eq!(verb(&process, &["seal"], b"").0, Some(0), "it is already");
    assert!(!process.log().contains("the file `anchor` cannot be written"), "{}", process.log());

    let key = process.path("root.key").display().to_string();
    assert_eq!(verb(&process, &["unseal", "--key-file", &key], b"").0, Some(0));
    assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"value");
    let told: Vec<(Value, Value)> = entries(&process, &["broker.sealed", "broker.unsealed"])
        .into_iter()
        .map(|one| (one["kind"].clone(), one["event"]["by"].clone()))
        .collect();
    let by = || json!("host uid 0");
    assert_eq!(told, [(json!("broker.sealed"), by()), (json!("broker.unsealed"), by())]);
    // Once more, from a process that was started sealed; and a stop ends it well.
    assert_eq!(verb(&process, &["seal"], b"").0, Some(0));
    process.stop();
    process.serve();
}

/// Hazard KEY-11.
#[tokio::test]
async fn while_it_is_sealed_every_route_but_the_public_documents_waits() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    assert_eq!(verb(&process, &["seal"], b"").0, Some(0));
    let (agent, operator) = (caller(&process, "a", "agent"), caller(&process, "operator", "operator"));
    for (caller, routes) in [(&agent, agent_routes()), (&operator, admin_routes())] {
        for route in routes {
            let reply = knock(caller, &route).await.unwrap();
            let is_document = route.caller == Who::Public
                && route.method == Method::GET
                && !["/readyz", "/oauth/authorize", "/device"].contains(&route.path);
            let waits = reply.status == 503 && reply.code() == "sealed";
            assert!(waits != is_document, "{route:?}: {} {}", reply.status, reply.text());
        }
    }
    let key = process.path("root.key").display().to_string();
    assert_eq!(verb(&process, &["unseal", "--key-file", &key], b"").0, Some(0));
    assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"value");
}

#[test]
fn a_disk_that_hangs_keeps_no_key_in_memory() {
    let mut process = Process::init("info");
    process.load_faults(0);
    let stall = process.path("stall");
    process.broker_environment.push(("KEYWARD_TEST_STALL".to_owned(), stall.display().to_string()));
    process.serve();
    process.set_up(b"value");
    let (keys, pid) = (keys(&process), process.pid());
    fs::write(&stall, "").unwrap();
    let (exit, said) = verb(&process, &["seal"], b"");
    assert_eq!((exit, &said["state"]), (Some(0), &"sealed".into()), "{said}");
    for (name, key) in &keys {
        assert_eq!(in_memory(pid, key), [""; 0], "{name}");
    }
    fs::remove_file(&stall).unwrap();
    let key = process.path("root.key").display().to_string();
    assert_eq!(verb(&process, &["unseal", "--key-file", &key], b"").0, Some(0));
    assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"value", "the ledger is whole");
}

#[test]
fn sealing_wipes_keys_before_it_waits_for_a_disk_that_hangs() {
    let mut process = Process::init("info");
    process.load_faults(0);
    let stall = process.path("stall");
    process.broker_environment.push(("KEYWARD_TEST_STALL".to_owned(), stall.display().to_string()));
    process.serve();
    process.set_up(b"value");
    let (keys, pid) = (keys(&process), process.pid());
    fs::write(&stall, "").unwrap();
    let answer = ask(&process.socket(), "POST", "/v1/seal", &Value::Null);
    // The ledger's thread hangs, and the process that it belongs to is not replaced yet.
    assert_eq!((answer.status, &answer.json()["state"]), (200, &json!("sealing")));
    // Stopped, so that it stays what it is while it is read.
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
        assert!(sent.success());
    };
    signal("-STOP");
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(!command.contains("--sealed"), "it had not been replaced");
    let memory = memory(pid);
    signal("-CONT");
    // Not looked for: an AES key whose expanded form begins with the key may stand on the stack of the thread that
    // made it, until that goes on or the process is replaced.
    let looked_for = keys.iter().filter(|(name, _)| !["value key", "index key"].contains(name));
    let found = looked_for.filter(|(_, key)| !sighted(&memory, key).is_empty()).map(|(name, _)| *name);
    assert_eq!(found.collect::<Vec<_>>(), [""; 0]);
    fs::remove_file(&stall).unwrap();
    until(&process.socket(), "sealed");
}

#[test]
fn a_second_broker_is_refused_and_a_killed_one_leaves_nothing_in_the_way() {
    let mut process = Process::init_attended("info", WORDS);
    process.spawn();
    until(&process.socket(), "sealed");
    let (exit, said) = process.refused_serve();
    assert!(exit == Some(10) && said.contains("data_dir_in_use"), "{said}");
    assert_eq!(state(&process), "sealed", "the first one does not notice");
    process.kill();
    assert!(process.socket().exists(), "left over");
    process.spawn();
    until(&process.socket(), "sealed");
    assert_eq!(verb(&process, &["unseal"], WORDS.as_bytes()).0, Some(0));
    let (exit, said) = process.refused_serve();
    assert!(exit == Some(10) && said.contains("data_dir_in_use"), "{said}");
    process.kill();
    refused(&verb(&process, &["unseal"], WORDS.as_bytes()), 10, "broker_unreachable");
    process.spawn();
    until(&process.socket(), "sealed");
    process.stop();
}
