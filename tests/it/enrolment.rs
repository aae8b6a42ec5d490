//! Codes, keys and certificates: once, for one key, and nothing more.

use std::sync::Arc;

use keyward::base::Sensitive;
use keyward::base::encoding::base64url;
use keyward::base::limits::CSR_BYTES_MAX;
use keyward::pki::EnrolmentCode;
use keyward::pki::new_key_and_request;
use serde_json::{Value, json};

use crate::support::broker::{Reply, TestBroker};
use crate::support::openssl;

fn refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!((reply.status, reply.code().as_str()), (status, code), "{}", reply.text());
    assert!(!reply.json()["fix"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn the_same_key_gets_the_same_certificate_and_any_other_an_alarm() {
    let broker = TestBroker::declared().await;
    let code = broker.invite("a", &["repo-reader"]).await;
    let (_, request) = new_key_and_request().unwrap();
    let first = broker.redeem(&code, &request).await;
    assert_eq!(first.status, 201);
    let again = broker.redeem(&code, &request).await;
    assert_eq!((again.status, again.json()), (201, first.json()), "byte for byte the same");

    for _ in 0..3 {
        let (_, other) = new_key_and_request().unwrap();
        refused(&broker.redeem(&code, &other).await, 409, "enrolment_code_used");
    }
    let alarms = broker.entries("alarm.enrolment-code-reused").await;
    assert_eq!(alarms.len(), 1, "one alarm a code, however often it is tried");
    assert_eq!(alarms[0]["event"]["first_instance"], first.json()["instance"]);
    assert_eq!(broker.entries("instance.enrolled").await.len(), 1);
}

#[tokio::test]
async fn the_key_of_another_agent_enrols_nobody() {
    // Given the enrolled key of one agent
    let broker = TestBroker::declared().await;
    let first = broker.invite("a", &["repo-reader"]).await;
    let (_, request) = new_key_and_request().unwrap();
    assert_eq!(broker.redeem(&first, &request).await.status, 201);
    // When another agent enrols with it
    let second = broker.invite("b", &["repo-reader"]).await;
    refused(&broker.redeem(&second, &request).await, 409, "enrolment_key_in_use");
    // Then the code is good for another key
    assert_eq!(broker.entries("alarm.enrolment-code-reused").await.len(), 0);
    let (_, own) = new_key_and_request().unwrap();
    assert_eq!(broker.redeem(&second, &own).await.status, 201);
    assert_eq!(broker.redeem(&first, &request).await.status, 201, "the first one repeats its request");
}

#[tokio::test]
async fn a_late_second_use_is_an_alarm_too() {
    let broker = TestBroker::declared().await;
    let code = broker.invite("a", &["repo-reader"]).await;
    let (_, request) = new_key_and_request().unwrap();
    assert_eq!(broker.redeem(&code, &request).await.status, 201);
    broker.clock.advance_s(16 * 60);
    refused(&broker.redeem(&code, &request).await, 401, "enrolment_code_invalid");
    let (_, other) = new_key_and_request().unwrap();
    refused(&broker.redeem(&code, &other).await, 409, "enrolment_code_used");
    assert_eq!(broker.entries("alarm.enrolment-code-reused").await.len(), 1);
}

/// Hazard ENR-02.
#[tokio::test]
async fn a_hundred_redemptions_at_once_give_one_certificate() {
    let broker = Arc::new(TestBroker::declared().await);
    let code = broker.invite("a", &["repo-reader"]).await;
    let text = Arc::new(code.to_text());
    let tries: Vec<_> = (0..100)
        .map(|_| {
            let (broker, text) = (Arc::clone(&broker), Arc::clone(&text));
            tokio::spawn(async move {
                let code = EnrolmentCode::parse(text.expose()).unwrap();
                let (_, request) = new_key_and_request().unwrap();
                broker.redeem(&code, &request).await.status
            })
        })
        .collect();
    let mut won = 0;
    for one in tries {
        match one.await.unwrap() {
            201 => won += 1,
            status => assert_eq!(status, 409),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(broker.entries("instance.enrolled").await.len(), 1);
    assert_eq!(broker.entries("alarm.enrolment-code-reused").await.len(), 1);
}

#[tokio::test]
async fn a_hundred_redemptions_at_once_with_one_key_give_one_certificate_to_all() {
    let broker = Arc::new(TestBroker::declared().await);
    let text = Arc::new(broker.invite("a", &["repo-reader"]).await.to_text());
    let request = Arc::new(new_key_and_request().unwrap().1);
    let tries: Vec<_> = (0..100)
        .map(|_| {
            let (broker, text, request) = (Arc::clone(&broker), Arc::clone(&text), Arc::clone(&request));
            tokio::spawn(async move {
                let code = EnrolmentCode::parse(text.expose()).unwrap();
                broker.redeem(&code, &request).await
            })
        })
        .collect();
    let mut certificates = std::collections::BTreeSet::new();
    for one in tries {
        let reply = one.await.unwrap();
        // Under this much contention a caller may be told to come back; nobody gets another answer.
        match reply.status {
            201 => drop(certificates.insert(reply.json()["certificate"].to_string())),
            status => assert_eq!((status, reply.code().as_str()), (503, "modified_concurrently")),
        }
    }
    assert_eq!(certificates.len(), 1);
    assert_eq!(broker.entries("certificate.recorded").await.len(), 1);
}

/// Hazard ENR-10.
#[tokio::test]
async fn unknown_wrong_and_ended_codes_get_one_answer() {
    let broker = TestBroker::declared().await;
    let (_, request) = new_key_and_request().unwrap();
    let wrong_secret =
        EnrolmentCode { secret: Sensitive::new([0; 32]), ..broker.invite("a", &["repo-reader"]).await };
    let other = TestBroker::declared().await;
    let unknown = other.invite("a", &["repo-reader"]).await;
    let ended = broker.invite("a", &[]).await;
    let wrong = broker.redeem(&wrong_secret, &request).await;
    let elsewhere = broker.redeem(&unknown, &request).await;
    broker.clock.advance_s(15 * 60);
    let late = broker.redeem(&ended, &request).await;
    let answer = |reply: &Reply| {
        let mut body = reply.json();
        body["request_id"] = Value::Null;
        (reply.status, body)
    };
    refused(&wrong, 401, "enrolment_code_invalid");
    assert_eq!(answer(&wrong), answer(&elsewhere));
    assert_eq!(answer(&wrong), answer(&late));
}

/// Hazard ENR-07.
#[tokio::test]
async fn a_code_dies_with_its_agent() {
    let broker = TestBroker::declared().await;
    let code = broker.invite("a", &["repo-reader"]).await;
    let body = json!({ "files": [{ "name": "a", "text": "" }], "prune": true });
    assert_eq!(broker.operator().post_json("/v1/apply", &body).await.status, 200);
    let (_, request) = new_key_and_request().unwrap();
    refused(&broker.redeem(&code, &request).await, 401, "enrolment_code_invalid");
}

#[tokio::test]
async fn an_agent_has_no_more_live_instances_than_it_may() {
    let broker = TestBroker::declared().await;
    broker.agent("a", &["repo-reader"]).await;
    let second = broker.invite("a", &[]).await;
    let (_, request) = new_key_and_request().unwrap();
    refused(&broker.redeem(&second, &request).await, 409, "too_many_instances");
    broker.apply("[[agent]]\nname = \"a\"\nroles = [\"repo-reader\"]\nmax_instances = 2\n").await;
    assert_eq!(broker.redeem(&second, &request).await.status, 201);
    let shown = broker.operator().get("/v1/agents/a").await.json();
    assert_eq!(shown["instances"].as_array().unwrap().len(), 2);
}

/// Hazard ENR-09.
#[tokio::test]
async fn guessing_is_slowed_down_per_source() {
    let broker = TestBroker::start_with("[quota]\nenrolments_per_s = 1\nenrolments_burst = 3\n").await;
    broker.declare().await;
    let code =
        EnrolmentCode { secret: Sensitive::new([0; 32]), ..broker.invite("a", &["repo-reader"]).await };
    let (_, request) = new_key_and_request().unwrap();
    for _ in 0..3 {
        refused(&broker.redeem(&code, &request).await, 401, "enrolment_code_invalid");
    }
    let limited = broker.redeem(&code, &request).await;
    refused(&limited, 429, "rate_limited");
    assert!(limited.header("retry-after").parse::<u64>().unwrap() >= 1);
}

/// Hazards TLS-08, TLS-17.
#[tokio::test]
async fn a_request_gives_its_key_and_nothing_more() {
    let broker = TestBroker::declared().await;
    let code = broker.invite("a", &["repo-reader"]).await;
    let csr = |key: &[&str], subject: &str, more: &[&str]| openssl::request(key, subject, more);
    let p256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let mut forged = csr(&p256, "/", &[]);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let mut trailing = csr(&p256, "/", &[]);
    trailing.push(0);
    for (what, request, code_wanted) in [
        ("a subject", csr(&p256, "/CN=spiffe:admin", &[]), "csr_subject_or_extensions"),
        (
            "another identity",
            csr(&p256, "/", &["-addext", "subjectAltName=URI:spiffe://keyward.test/operator/admin"]),
            "csr_subject_or_extensions",
        ),
        (
            "an authority",
            csr(&p256, "/", &["-addext", "basicConstraints=critical,CA:TRUE"]),
            "csr_subject_or_extensions",
        ),
        ("RSA", csr(&["-newkey", "rsa:2048"], "/", &[]), "csr_key_type"),
        (
            "another curve",
            csr(&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"], "/", &[]),
            "csr_key_type",
        ),
        ("a broken signature", forged, "csr_signature"),
        ("trailing bytes", trailing, "csr_malformed"),
        ("nothing", Vec::new(), "csr_malformed"),
        ("too much", vec![0x30; CSR_BYTES_MAX + 1], "csr_too_large"),
    ] {
        let reply = broker.redeem(&code, &request).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, code_wanted), "{what}: {}", reply.text());
    }
    assert!(broker.entries("instance.enrolled").await.is_empty(), "nothing was changed");
    let good = broker.redeem(&code, &csr(&p256, "/", &[])).await;
    assert_eq!(good.status, 201, "{}", good.text());
}

#[tokio::test]
async fn malformed_enrolments_change_nothing_and_echo_nothing() {
    let broker = TestBroker::declared().await;
    let code = broker.invite("a", &["repo-reader"]).await;
    let (_, request) = new_key_and_request().unwrap();
    let nobody = broker.nobody(broker.agents());
    let (id, csr) = (code.id.to_string(), base64url(&request));
    let secret = base64url(code.secret.expose());
    let good = json!({ "code_id": id, "secret": secret, "csr": csr });
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body.to_string()
    };
    for (body, code) in [
        (with("code_id", json!("CNRY")), "enrolment_malformed"),
        (with("code_id", json!(id.to_uppercase())), "enrolment_malformed"),
        (with("secret", json!("CNRY")), "enrolment_malformed"),
        (with("csr", json!("CNRY!")), "enrolment_malformed"),
        (with("secret", json!(["CNRY"])), "json_invalid"),
        (with("more", json!("CNRY")), "json_invalid"),
        (good.to_string().replacen('{', "{\"csr\":\"CNRY\",", 1), "json_invalid"),
        (format!("{good} CNRY"), "json_invalid"),
        (format!("\u{feff}{good}"), "json_invalid"),
        ("CNRY".to_owned(), "json_invalid"),
        ("{\"code_id\":\"CNRY\"".to_owned(), "json_invalid"),
        (String::new(), "json_invalid"),
    ] {
        let reply = nobody.post("/v1/enrol", "application/json", body.as_bytes()).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, code), "{body}: {}", reply.text());
        assert!(!reply.text().contains("CNRY"), "{}", reply.text());
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", ""] {
        let reply = nobody.post("/v1/enrol", kind, good.to_string().as_bytes()).await;
        assert_eq!((reply.status, reply.code().as_str()), (415, "content_type_unsupported"), "{kind}");
    }
    assert!(broker.entries("instance.enrolled").await.is_empty());
    assert_eq!(nobody.post_json("/v1/enrol", &good).await.status, 201);
}
