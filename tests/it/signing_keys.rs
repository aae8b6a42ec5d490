//! The keys that the broker signs with take turns: published before they sign, counting after they did.

use keyward::base::SystemEntropy;
use keyward::base::encoding::{base64url, from_base64url};
use keyward::base::limits::DOCUMENTS_MAX_AGE_S;
use keyward::keyring::{Family, Keyring, SlotKey};
use keyward::pki::new_key_and_request;
use serde_json::{Value, json};

use crate::support::broker::{Agent, Caller, Reply, TestBroker};

pub(crate) const DAY_S: u32 = 86_400;

pub(crate) fn refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.code().as_str()), (status, code), "{}", reply.text());
}

pub(crate) async fn post(broker: &TestBroker, path: &str) -> Reply {
    // A key that was published just now.
    let is_forced = path.contains("/token-keys/") && path.ends_with("/activate");
    let body = if is_forced { json!({ "force": true }) } else { json!({}) };
    broker.operator().post_json(path, &body).await
}

pub(crate) async fn good(broker: &TestBroker, path: &str) -> Value {
    let reply = post(broker, path).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    broker.look_after().await;
    reply.json()
}

pub(crate) fn stages(listing: &Value) -> Vec<&str> {
    listing["items"].as_array().unwrap().iter().map(|item| item["stage"].as_str().unwrap()).collect()
}

pub(crate) async fn published(broker: &TestBroker) -> Vec<String> {
    let keys = broker.nobody(broker.agents()).get("/.well-known/jwks.json").await.json();
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn kid(token: &str) -> String {
    let header = from_base64url(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

/// The agent with its next certificate, and the authorities that it knows then.
pub(crate) async fn renew(broker: &TestBroker, agent: &Agent, known: &str) -> (Agent, String) {
    let (key, request) = new_key_and_request().unwrap();
    let caller = knowing(broker, agent, known);
    let reply = caller.post_json("/v1/renew", &json!({ "csr": base64url(&request) })).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let text = |name: &str| reply.json()[name].as_str().unwrap().to_owned();
    let (certificate, key) = (text("certificate"), key.expose().clone());
    let caller = broker.caller_knowing(known, broker.agents(), Some((&certificate, &key)));
    assert_eq!(caller.get("/v1/whoami").await.status, 200);
    (Agent { caller, certificate, key }, text("authority"))
}

/// The generations of a family whose private keys are in the keyring's file.
pub(crate) fn held(broker: &TestBroker, family: Family) -> Vec<u32> {
    let slot = SlotKey::from_file(&broker.path().join("root.key")).unwrap();
    let keyring = Keyring::open(&broker.data().join("keyring"), &slot).unwrap();
    (1..9).filter(|generation| keyring.signing(family, *generation).is_ok()).collect()
}

/// The same agent, knowing the broker by `authorities`.
pub(crate) fn knowing(broker: &TestBroker, agent: &Agent, authorities: &str) -> Caller {
    broker.caller_knowing(authorities, broker.agents(), Some((&agent.certificate, &agent.key)))
}

#[tokio::test]
async fn a_token_key_is_published_before_it_signs_and_verifies_after_it_did() {
    let mut broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let old = agent.token("github.repo.read").await;
    assert_eq!(stages(&good(&broker, "/v1/token-keys").await), ["active", "prepared"]);
    assert_eq!(published(&broker).await.len(), 2);
    assert_eq!(kid(&agent.token("github.repo.read").await), kid(&old), "it signs nothing yet");
    refused(&post(&broker, "/v1/token-keys").await, 409, "generation_already_prepared");

    assert_eq!(stages(&good(&broker, "/v1/token-keys/2/activate").await), ["old", "active"]);
    let new = agent.token("github.repo.read").await;
    assert_ne!(kid(&new), kid(&old));
    broker.restart().await;
    let agent = Agent { caller: Caller { address: broker.agents(), ..agent.caller.clone() }, ..agent };
    for token in [&old, &new] {
        assert_eq!(agent.secret("github/app", token).await.status, 200, "both count, after a restart too");
    }
    assert_eq!(kid(&agent.token("github.repo.read").await), kid(&new));

    assert_eq!(stages(&good(&broker, "/v1/token-keys/1/revoke").await), ["revoked", "active"]);
    assert_eq!(published(&broker).await, [kid(&new)]);
    refused(&agent.secret("github/app", &old).await, 401, "token_invalid");
    assert_eq!(agent.secret("github/app", &new).await.status, 200);
    refused(&post(&broker, "/v1/token-keys/2/revoke").await, 409, "generation_invalid_state");
    refused(&post(&broker, "/v1/token-keys/9/activate").await, 404, "generation_unknown");
    refused(&post(&broker, "/v1/token-keys/x/activate").await, 400, "id_not_canonical");
}

/// Verifiers keep the documents for a minute.
#[tokio::test]
async fn a_token_key_signs_only_after_verifiers_have_fetched_it() {
    let broker = TestBroker::declared().await;
    let activate = "/v1/token-keys/2/activate";
    good(&broker, "/v1/token-keys").await;
    let age = DOCUMENTS_MAX_AGE_S;
    let documents = broker.nobody(broker.agents()).get("/.well-known/jwks.json").await;
    assert_eq!(documents.header("cache-control"), format!("public, max-age={age}"));
    broker.clock.advance_s(u32::try_from(age - 1).unwrap());
    refused(&broker.operator().post_json(activate, &json!({})).await, 409, "token_key_too_new");
    broker.clock.advance_s(1);
    let activated = broker.operator().post_json(activate, &json!({})).await;
    assert_eq!(stages(&activated.json()), ["old", "active"], "{}", activated.text());
    // Another one at once, because an operator forces it.
    assert_eq!(broker.operator().post_json("/v1/token-keys", &json!({})).await.status, 200);
    let forced = broker.operator().post_json("/v1/token-keys/3/activate", &json!({ "force": true })).await;
    assert_eq!(stages(&forced.json()), ["old", "old", "active"], "{}", forced.text());
}

#[tokio::test]
async fn the_documents_of_a_sealed_broker_are_written_before_a_key_changes() {
    let broker = TestBroker::declared().await;
    let kept = || std::fs::read_to_string(broker.data().join("tls/documents.json")).unwrap();
    assert_eq!(broker.operator().post_json("/v1/token-keys", &json!({})).await.status, 200);
    let new = published(&broker).await;
    assert_eq!(new.len(), 2);
    assert!(new.iter().all(|kid| kept().contains(kid.as_str())), "{}", kept());
    assert_eq!(post(&broker, "/v1/token-keys/2/activate").await.status, 200);
    assert_eq!(post(&broker, "/v1/token-keys/1/revoke").await.status, 200);
    let gone = new.iter().filter(|kid| !kept().contains(kid.as_str())).count();
    assert_eq!(gone, 1, "the revoked one is gone");
}

#[tokio::test]
async fn a_stop_between_keyring_and_ledger_is_taken_up_by_the_next_attempt() {
    let mut broker = TestBroker::declared().await;
    broker.stop().await;
    let slot = SlotKey::from_file(&broker.path().join("root.key")).unwrap();
    let path = broker.data().join("keyring");
    let mut keyring = Keyring::open(&path, &slot).unwrap();
    for family in [Family::Token, Family::Authority] {
        keyring.extend(&path, (family, 2), &SystemEntropy).unwrap();
    }
    let before = std::fs::read(&path).unwrap();
    broker.serve().await;
    assert_eq!(stages(&good(&broker, "/v1/token-keys").await), ["active", "prepared"]);
    assert_eq!(stages(&good(&broker, "/v1/authorities").await), ["active", "prepared"]);
    assert_eq!(std::fs::read(&path).unwrap(), before, "the key that was there is the one");
    broker.restart().await;
}

#[tokio::test]
async fn an_older_keyring_under_a_newer_ledger_is_refused_by_name() {
    let mut broker = TestBroker::declared().await;
    let path = broker.data().join("keyring");
    let older = std::fs::read(&path).unwrap();
    good(&broker, "/v1/authorities").await;
    broker.stop().await;
    let newer = std::fs::read(&path).unwrap();
    std::fs::write(&path, older).unwrap();
    assert_eq!(broker.try_serve().await.unwrap_err().code(), "keyring_outdated");
    std::fs::write(&path, newer).unwrap();
    broker.serve().await;
}

/// Hazard KEY-12.
#[tokio::test]
async fn a_revoked_private_key_leaves_the_keyring_for_good() {
    let mut broker = TestBroker::declared().await;
    broker.clock.advance_s(60);
    good(&broker, "/v1/token-keys").await;
    good(&broker, "/v1/token-keys/2/activate").await;
    assert_eq!(held(&broker, Family::Token), [1, 2], "what it signed still counts");
    assert_eq!(post(&broker, "/v1/token-keys/1/revoke").await.status, 200);
    assert_eq!(held(&broker, Family::Token), [2], "at once");
    // One that was prepared and given up goes from the middle.
    good(&broker, "/v1/token-keys").await;
    good(&broker, "/v1/authorities").await;
    assert_eq!(post(&broker, "/v1/token-keys/3/revoke").await.status, 200);
    assert_eq!(post(&broker, "/v1/authorities/2/revoke").await.status, 200);
    good(&broker, "/v1/token-keys").await;
    good(&broker, "/v1/authorities").await;
    assert_eq!((held(&broker, Family::Token), held(&broker, Family::Authority)), (vec![2, 4], vec![1, 3]));
    broker.restart().await;
    assert_eq!(published(&broker).await.len(), 2);
    let agent = broker.agent("a", &["repo-reader"]).await;
    assert_eq!(agent.secret("github/app", &agent.token("github.repo.read").await).await.status, 200);
}

/// Hazard KEY-12.
#[tokio::test]
async fn a_stop_between_ledger_and_keyring_is_completed_by_the_next_check() {
    let mut broker = TestBroker::declared().await;
    let path = broker.data().join("keyring");
    let first = std::fs::read(&path).unwrap();
    good(&broker, "/v1/token-keys").await;
    good(&broker, "/v1/token-keys/2/activate").await;
    let both = std::fs::read(&path).unwrap();
    assert_eq!(post(&broker, "/v1/token-keys/1/revoke").await.status, 200);
    let signing = published(&broker).await;
    // A stop after the entry and before the file; and an operator who restores a copy of that time.
    for cut in [0, both.len() / 2] {
        broker.stop().await;
        // It comes before the anchors that name the newer file, too.
        std::fs::remove_file(broker.data().join("anchor")).unwrap();
        std::fs::remove_dir_all(broker.data().join("index")).unwrap();
        std::fs::write(&path, &both).unwrap();
        std::fs::write(path.with_extension("new"), &both[..cut]).unwrap();
        broker.serve().await;
        assert_eq!(published(&broker).await, signing, "it is revoked all the same");
        assert_eq!(held(&broker, Family::Token), [1, 2]);
        broker.look_after().await;
        assert_eq!(held(&broker, Family::Token), [2]);
    }
    // A copy that is older than the key that signs.
    broker.stop().await;
    let newest = std::fs::read(&path).unwrap();
    std::fs::write(&path, first).unwrap();
    assert_eq!(broker.try_serve().await.unwrap_err().code(), "keyring_outdated");
    std::fs::write(&path, newest).unwrap();
    broker.serve().await;
}

#[tokio::test]
async fn the_broker_s_own_certificate_is_replaced_while_it_serves() {
    let broker = TestBroker::start().await;
    let leaf = broker.data().join("tls/server.pem");
    let before = std::fs::read(&leaf).unwrap();
    let mut open = broker.nobody(broker.agents()).connect().await.unwrap();
    broker.look_after().await;
    assert_eq!(std::fs::read(&leaf).unwrap(), before, "nothing is due");
    broker.clock.advance_s(183 * DAY_S);
    broker.look_after().await;
    assert_ne!(std::fs::read(&leaf).unwrap(), before);
    assert_eq!(open.send("GET", "/livez", &[], b"").await.unwrap().status, 200, "nobody was cut off");
    broker.clock.advance_s(183 * DAY_S);
    assert_eq!(broker.nobody(broker.agents()).get("/livez").await.status, 200, "the first would have ended");
}
