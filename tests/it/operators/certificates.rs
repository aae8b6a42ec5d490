//! One certificate of an operator: revoked by an operator, by its own holder, and by `join --replace`.

use std::fs;

use keyward::pki::{PeerCertificate, certificate_from_pem};
use serde_json::{Value, json};

use super::{Operator, join, post, refused, standing};
use crate::support::broker::{Caller, TestBroker};
use crate::support::process::Process;

const OWN: &str = "/v1/certificate/revoke";

fn serial(certificate: &str) -> String {
    PeerCertificate::parse(&certificate_from_pem(certificate).unwrap()).unwrap().serial().to_string()
}

fn revoke(operator: &Operator) -> String {
    format!("/v1/certificates/{}/revoke", serial(&operator.certificate))
}

async fn is_refused(caller: &Caller) -> bool {
    caller.attempt("GET", "/v1/whoami", &[], b"").await.map_or(true, |reply| reply.status == 401)
}

#[tokio::test]
async fn one_certificate_of_an_operator_is_revoked_and_the_other_stays() {
    // Given an operator with two machines, and an open connection of the first one
    let broker = TestBroker::declared().await;
    let lost = join(&broker, "alice", &standing("security", None)).await;
    let kept = join(&broker, "alice", &json!({})).await;
    let mut open = lost.caller.connect().await.unwrap();
    assert_eq!(open.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    // When roles or scopes do not suffice, then nothing is revoked
    let auditor = join(&broker, "eve", &standing("auditor", None)).await;
    refused(&post(&auditor.caller, &revoke(&lost)).await, 403, "operator_role_insufficient");
    let scoped = join(&broker, "bob", &standing("admin", Some("payments"))).await;
    refused(&post(&scoped.caller, &revoke(&lost)).await, 404, "subject_unknown");
    // When the certificate is revoked, then it is refused at once, and the other one is not
    let body = json!({ "reason": "laptop stolen" });
    let done = broker.operator().post_json(&revoke(&lost), &body).await;
    assert_eq!((done.status, &done.json()["durable"]), (200, &json!(true)), "{}", done.text());
    assert!(open.send("GET", "/v1/whoami", &[], b"").await.map_or(true, |reply| reply.status == 401));
    assert!(is_refused(&lost.caller).await && !is_refused(&kept.caller).await);
    let shown = broker.operator().get("/v1/operators/alice").await.json();
    assert_eq!(shown["certificates"].as_array().unwrap().len(), 1, "{shown}");
    // Then the entry names the certificate and its operator
    let entries = broker.entries("subject.revoked").await;
    let event = &entries.last().unwrap()["event"];
    assert_eq!(
        (&event["subject"]["kind"], &event["subject"]["id"], &event["operator"]),
        (&json!("certificate"), &json!(serial(&lost.certificate)), &json!("alice")),
        "{event}"
    );
    let found = broker.operator().get("/v1/ledger/entries?operator=alice&kind=subject.revoked").await.json();
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1), "{found}");
}

#[tokio::test]
async fn operator_of_any_role_revokes_its_own_certificate() {
    let mut broker = TestBroker::declared().await;
    for (name, standing) in [("eve", standing("auditor", None)), ("bob", standing("admin", Some("payments")))]
    {
        let (gone, kept) = (join(&broker, name, &standing).await, join(&broker, name, &json!({})).await);
        let done = post(&gone.caller, OWN).await;
        assert_eq!((done.status, &done.json()["durable"]), (200, &json!(true)), "{}", done.text());
        assert!(is_refused(&gone.caller).await && !is_refused(&kept.caller).await);
        broker.restart().await;
        let (gone, kept) = (again(&broker, &gone), again(&broker, &kept));
        assert!(is_refused(&gone).await && !is_refused(&kept).await);
    }
}

/// The operator at the broker's present address.
fn again(broker: &TestBroker, operator: &Operator) -> Caller {
    broker.caller(broker.admins(), Some(&operator.certificate), Some(&operator.key))
}

#[tokio::test]
async fn last_certificate_of_the_last_admin_cannot_be_revoked() {
    let broker = TestBroker::declared().await;
    refused(&post(&broker.operator(), OWN).await, 409, "last_admin");
    // Given a second certificate of the same admin
    let second = join(&broker, "admin", &json!({})).await;
    assert_eq!(post(&broker.operator(), OWN).await.status, 200);
    assert!(is_refused(&broker.operator()).await);
    // Then that one is the last
    refused(&post(&second.caller, &revoke(&second)).await, 409, "last_admin");
    refused(&post(&second.caller, OWN).await, 409, "last_admin");
    assert!(!is_refused(&second.caller).await);
}

#[test]
fn replaced_certificate_of_an_operator_is_revoked_by_join() {
    // Given an operator whose home directory was copied
    let mut process = Process::init("warn");
    process.serve();
    let code = |args: &[&str]| process.good(&[&["operator", "invite", "alice"], args].concat(), b"");
    process.good_as("alice", &["join"], &code(&["--role", "auditor"]));
    let copy = |to: &str| {
        fs::create_dir_all(process.path(&format!("{to}/operator"))).unwrap();
        for file in ["key.pem", "certificate.pem", "authority.pem", "address"] {
            let from = process.path(&format!("home-alice/operator/{file}"));
            fs::copy(from, process.path(&format!("{to}/operator/{file}"))).unwrap();
        }
    };
    copy("home-thief");
    process.good_as("thief", &["whoami", "--operator"], b"");
    // When the operator replaces the identity, which has begun a renewal
    let left = process.path("home-alice/operator-renewing.pem");
    fs::copy(process.path("home-alice/operator/key.pem"), &left).unwrap();
    let joined = process.run_as("alice", &["join", "--replace"], &code(&[]));
    let said = String::from_utf8_lossy(&joined.stderr).into_owned();
    // Then the command says what happens to the old certificate, and the copy is refused
    assert_eq!(joined.status.code(), Some(0), "{said}");
    for part in ["its certificate is revoked when the new one is stored", "the replaced certificate, serial "]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!left.exists(), "the next renewal would use the key");
    process.good_as("alice", &["whoami", "--operator"], b"");
    let refused = process.run_as("thief", &["-o", "json", "whoami", "--operator"], b"");
    let failure: Value = serde_json::from_slice(&refused.stderr).unwrap();
    assert_eq!((refused.status.code(), &failure["code"]), (Some(4), &json!("certificate_revoked")));
    // When the old certificate was revoked before, then the command says so
    let now = || fs::read_to_string(process.path("home-alice/operator/certificate.pem")).unwrap();
    process.good(&["cert", "revoke", &serial(&now())], b"");
    let joined = process.run_as("alice", &["join", "--replace"], &code(&[]));
    let said = String::from_utf8_lossy(&joined.stderr).into_owned();
    assert!(joined.status.success() && said.contains("was refused already"), "{said}");
    process.good_as("alice", &["whoami", "--operator"], b"");
    // When it is the own one, then the verb asks first; the host needs no certificate
    process.good(&["operator", "invite", "root", "--role", "admin", "--out", &path(&process, "root")], b"");
    process.good_as("root", &["join", "--code-file", &path(&process, "root")], b"");
    let own = serial(&fs::read_to_string(process.path("home-root/operator/certificate.pem")).unwrap());
    let unasked = process.run_as("root", &["cert", "revoke", &own], b"");
    let said = String::from_utf8_lossy(&unasked.stderr).into_owned();
    assert!(unasked.status.code() == Some(2) && said.contains("is the one you use now"), "{said}");
    process.good_as("root", &["cert", "revoke", &own, "--yes"], b"");
    let on_host = ["break-glass", "revoke", "certificate", &serial(&now()), "--config", &process.config()];
    process.good(&on_host, b"");
    assert_eq!(process.run_as("alice", &["whoami", "--operator"], b"").status.code(), Some(4));
}

fn path(process: &Process, name: &str) -> String {
    process.path(name).display().to_string()
}
