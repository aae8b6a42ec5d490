//! Credentials of stolen and revoked keys, and what refuses them at the handshake.

use keyward::base::TokenId;
use keyward::base::encoding::base64url;
use keyward::crypto::{EcdsaKey, SignatureForm};
use keyward::keyring::{Family, Keyring, SlotKey};
use keyward::pki::new_key_and_request;
use keyward::token::{Claims, Signer};
use serde_json::{Value, json};

use super::{FORM, REPORTS, claims};
use crate::parameters::{ACCOUNT, REFUNDS, detail, form, refund};
use crate::support::broker::{Caller, TestBroker};

/// Signs claims with the broker's own token key, as a thief of it would.
fn forge(broker: &TestBroker, claims: &Claims) -> String {
    let slot = SlotKey::from_file(&broker.path().join("root.key")).unwrap();
    let keyring = Keyring::open(&broker.data().join("keyring"), &slot).unwrap();
    let key = keyring.signing(Family::Token, 1).unwrap();
    let signer = Signer::new(EcdsaKey::from_pkcs8(key, SignatureForm::Fixed).unwrap()).unwrap();
    signer.sign(claims).unwrap().expose().to_owned()
}

#[tokio::test]
async fn a_token_of_a_stolen_key_counts_nowhere() {
    let broker = TestBroker::declared().await;
    let server = format!("[[resource_server]]\nname = \"reports\"\naudience = \"{REPORTS}\"\n");
    assert_eq!(broker.apply(&server).await.status, 200);
    let reports = broker.agent("reports", &[]).await;
    let agent = broker.agent("a", &["publisher", "repo-reader"]).await;
    let other = broker.agent("b", &["publisher"]).await;
    let (token, revealing) = (agent.token("reports.read").await, agent.token("github.repo.read").await);
    let (real, second) = (claims(&token), claims(&other.token("reports.read").await));
    let ask = async |token: &str| {
        let form = format!("token={token}");
        reports.caller.post("/oauth/introspect", FORM, form.as_bytes()).await.json()["active"] == true
    };
    assert!(ask(&forge(&broker, &real)).await, "the twin: the claims of a token that was issued");
    let id = TokenId::mint(keyward::base::Clock::now(&*broker.clock), &keyward::base::SystemEntropy);
    let forged = [
        ("an unknown id", Claims { jti: id, ..real.clone() }),
        ("an entry that minted another one", Claims { seq: second.seq, ..real.clone() }),
        ("an entry that minted none", Claims { seq: 2, ..real.clone() }),
        ("a longer life", Claims { exp: real.exp + 1, ..real.clone() }),
        ("a later beginning", Claims { iat: real.iat + 1, nbf: real.nbf + 1, ..real.clone() }),
        ("another certificate", Claims { cnf: second.cnf.clone(), ..real.clone() }),
        ("another instance", Claims { instance: second.instance, ..real.clone() }),
        ("another holder", Claims { sub: second.sub.clone(), client_id: second.sub.clone(), ..real.clone() }),
        ("more than was minted", Claims { scope: "reports.read reports.publish".into(), ..real.clone() }),
    ];
    broker.clock.advance_s(2);
    for (what, claims) in forged {
        assert!(!ask(&forge(&broker, &claims)).await, "{what}");
    }
    let real = claims(&revealing);
    assert_eq!(agent.secret("github/app", &forge(&broker, &real)).await.status, 200);
    let refused = agent.secret("github/app", &forge(&broker, &Claims { jti: id, ..real })).await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "token_not_issued"), "{}", refused.text());
}

#[tokio::test]
async fn a_token_with_other_parameters_than_its_entry_is_inactive() {
    let broker = TestBroker::declared().await;
    assert_eq!(broker.apply(REFUNDS).await.status, 200);
    let server = broker.agent("payments-api", &[]).await;
    let agent = broker.agent("r", &["refunder"]).await;
    let answer = agent.ask(&form(&json!([detail("payments.refund", &refund(7))]), &[])).await.json();
    let real = claims(answer["access_token"].as_str().unwrap());
    let ask = async |claims: &Claims| {
        let form = format!("token={}", forge(&broker, claims));
        server.caller.post("/oauth/introspect", FORM, form.as_bytes()).await.json()["active"] == true
    };
    assert!(ask(&real).await, "the twin: the parameters of its entry");
    for parameters in [
        json!({ "amount": 8, "account": ACCOUNT }),
        json!({ "amount": 7, "account": "DE00" }),
        json!({ "amount": 7 }),
        json!({ "amount": 7, "account": ACCOUNT, "dry_run": true }),
        json!({}),
    ] {
        let mut forged = real.clone();
        forged.authorization_details[0].parameters = serde_json::from_value(parameters.clone()).unwrap();
        assert!(!ask(&forged).await, "{parameters}");
    }
}

#[tokio::test]
async fn a_revoked_key_shows_in_tokens_and_in_the_documents_of_a_sealed_broker() {
    let mut broker = TestBroker::declared().await;
    let server = format!("[[resource_server]]\nname = \"reports\"\naudience = \"{REPORTS}\"\n");
    assert_eq!(broker.apply(&server).await.status, 200);
    let reports = broker.agent("reports", &[]).await;
    let agent = broker.agent("a", &["publisher"]).await;
    let token = agent.token("reports.read").await;
    let admin = broker.operator();
    let post = async |path: &str, body: Value| {
        let reply = admin.post_json(path, &body).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        broker.look_after().await;
    };
    let jwks = broker.nobody(broker.agents()).get("/.well-known/jwks.json").await.json();
    let kid = jwks["keys"][0]["kid"].as_str().unwrap().to_owned();
    post("/v1/token-keys", json!({})).await;
    post("/v1/token-keys/2/activate", json!({ "force": true })).await;
    let form = format!("token={token}");
    let ask = async || reports.caller.post("/oauth/introspect", FORM, form.as_bytes()).await.json();
    assert_eq!(ask().await["active"], true);
    post("/v1/token-keys/1/revoke", json!({})).await;
    assert_eq!(ask().await["active"], false);
    broker.stop().await;
    let documents = std::fs::read_to_string(broker.data().join("tls/documents.json")).unwrap();
    assert!(!documents.contains(&kid), "a sealed broker publishes no key that was revoked");
}

/// An agent that comes before the authority takes turns, and a resource server that comes after.
#[tokio::test]
async fn a_token_goes_with_the_authority_of_its_certificate() {
    let broker = TestBroker::declared().await;
    let server = format!("[[resource_server]]\nname = \"reports\"\naudience = \"{REPORTS}\"\n");
    assert_eq!(broker.apply(&server).await.status, 200);
    let agent = broker.agent("a", &["publisher"]).await;
    let token = agent.token("reports.read").await;
    let post = async |known: &str, path: &str| {
        let reply = broker.operator_knowing(known).post_json(path, &json!({ "force": true })).await;
        assert!(reply.status < 300, "{path}: {}", reply.text());
        broker.look_after().await;
    };
    post(&broker.authority_pem(), "/v1/authorities").await;
    let known = broker.nobody(broker.agents()).get("/v1/authority").await.text();
    post(&known, "/v1/authorities/2/activate").await;
    let (key, request) = new_key_and_request().unwrap();
    let path = "/v1/agents/reports/invitations";
    let invited = broker.operator_knowing(&known).post_json(path, &json!({ "roles": [] })).await;
    assert_eq!(invited.status, 201, "{}", invited.text());
    let code = keyward::pki::EnrolmentCode::parse(invited.json()["code"].as_str().unwrap()).unwrap();
    let body = json!({
        "code_id": code.id.to_string(), "secret": base64url(code.secret.expose()), "csr": base64url(&request),
    });
    let reply = broker.caller_knowing(&known, broker.agents(), None).post_json("/v1/enrol", &body).await;
    let certificate = reply.json()["certificate"].as_str().unwrap().to_owned();
    let held = Some((certificate.as_str(), key.expose().as_str()));
    let reports = broker.caller_knowing(&known, broker.agents(), held);
    let ask = async || {
        let form = format!("token={token}");
        reports.post("/oauth/introspect", FORM, form.as_bytes()).await.json()["active"] == true
    };
    assert!(ask().await);
    post(&known, "/v1/authorities/1/revoke").await;
    assert!(!ask().await, "the certificate that it is bound to counts no more");
}

/// The alert that refuses a caller's handshake.
async fn alert(caller: &Caller) -> String {
    let error = match caller.open().await {
        Ok(mut stream) => tokio::io::AsyncReadExt::read_u8(&mut stream).await.unwrap_err(),
        Err(error) => error,
    };
    format!("{error:?}")
        .split("AlertReceived(")
        .nth(1)
        .unwrap_or_default()
        .split(')')
        .next()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn the_alert_of_a_refused_handshake_says_the_cause() {
    let broker = TestBroker::start_with("[certificates]\nagent_life_s = 3600\nrenewal_grace_s = 60\n").await;
    broker.declare().await;
    let [revoked, gone, ended] = ["revoked", "gone", "ended"];
    let agents = [
        broker.agent(revoked, &["publisher"]).await,
        broker.agent(gone, &["publisher"]).await,
        broker.agent(ended, &["publisher"]).await,
    ];
    let path = format!("/v1/agents/{revoked}/revoke");
    assert_eq!(broker.operator().post_json(&path, &json!({})).await.status, 200);
    assert_eq!(alert(&agents[0].caller).await, "CertificateRevoked");
    let kept = format!("[[agent]]\nname = \"{ended}\"\nroles = [\"publisher\"]\n");
    let text = format!("{}{kept}", crate::support::broker::DECLARATIONS);
    let body = json!({ "files": [{ "name": "a.toml", "text": text }], "prune": true });
    assert_eq!(broker.operator().post_json("/v1/apply", &body).await.status, 200);
    assert_eq!(alert(&agents[1].caller).await, "CertificateUnknown");
    let at_the_wrong_door =
        broker.caller(broker.admins(), Some(&agents[2].certificate), Some(&agents[2].key));
    assert_eq!(alert(&at_the_wrong_door).await, "UnsupportedCertificate");
    broker.clock.advance_s(3700);
    assert_eq!(alert(&agents[2].caller).await, "CertificateExpired");
}
