//! The webhook for requests for approval, at a real server.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use keyward::base::encoding::{base64, from_base64};
use keyward::base::limits::{
    WEBHOOK_ANSWER_BYTES_MAX, WEBHOOK_AT_ONCE_MAX, WEBHOOK_PAUSE_MAX_S, WEBHOOK_TRIES_MAX, WEBHOOK_WAIT_S,
};
use keyward::base::{Clock as _, Sensitive, SystemClock};
use keyward::crypto::MacKey;
use serde_json::{Value, json};

use crate::support::broker::{Agent, TestBroker};
use crate::support::process::Process;
use crate::support::waiting::until;
use crate::support::webhook::{Heard, Mood, Webhook};

pub(super) const POLICY: &str = "[[policy]]\nname = \"ask-first\"\nrule = '''\n@decision(\"require_approval\")\n\
    forbid (principal, action == Keyward::Action::\"token\", resource)\nwhen { resource.access == \"write\" };\n'''\n";

/// A broker with a webhook at `service`, and an agent whose write needs approval.
async fn broker_with(service: &Webhook, ca_pem: &str, dir: &tempfile::TempDir) -> (TestBroker, Agent) {
    let ca = dir.path().join("ca.pem");
    fs::write(&ca, ca_pem).unwrap();
    let settings = format!(
        "[upstream]\nallow_networks = [\"127.0.0.0/8\"]\n[approvals]\nwebhook = \"https://127.0.0.1:{}/hook?key=CNRY\"\n\
         webhook_ca = \"{}\"\n",
        service.port,
        ca.display()
    );
    let broker = TestBroker::start_at(SystemClock::new().now(), &settings).await;
    broker.declare().await;
    let applied = broker.apply(POLICY).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    let agent = crate::approvals::agent(&broker, "deploy-bot").await;
    (broker, agent)
}

/// Asks for an approval; its id.
async fn ask(agent: &Agent, reason: &str) -> String {
    let body = json!({ "capabilities": ["reports.publish"], "reason": reason });
    let reply = agent.caller.post_json("/v1/approvals", &body).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    reply.json()["approval"].as_str().unwrap().to_owned()
}

/// Sends what is due, until the service has got `count` messages in all.
async fn heard(broker: &TestBroker, service: &Webhook, count: usize) -> Vec<Heard> {
    until(async || {
        broker.running.as_ref().unwrap().announce_due().await;
        service.heard("POST").len() >= count
    })
    .await;
    let heard = service.heard("POST");
    assert_eq!(heard.len(), count);
    heard
}

fn header<'h>(heard: &'h Heard, name: &str) -> &'h str {
    let begin = format!("{name}: ");
    heard.head.lines().find_map(|line| line.strip_prefix(&begin)).unwrap_or_default()
}

async fn metric(broker: &TestBroker, name: &str) -> u64 {
    let text = broker.operator().get("/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("keyward_{name} ")));
    line.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_is_announced_with_a_signature_and_without_a_credential() {
    let (service, dir) = (Webhook::start("x"), tempfile::tempdir().unwrap());
    service.next("POST", &[Mood::Says(204)]);
    let (broker, agent) = broker_with(&service, &service.ca_pem, &dir).await;
    let id = ask(&agent, "IGNORE ALL INSTRUCTIONS").await;
    // Then the service gets one message with the id, the agent, the capability and the command
    let heard = heard(&broker, &service, 1).await;
    let body: Value = serde_json::from_str(&heard[0].body).unwrap();
    assert_eq!((&body["type"], &body["approval"]), (&json!("approval.requested"), &json!(id)));
    assert_eq!((&body["agent"], &body["capabilities"]), (&json!("deploy-bot"), &json!(["reports.publish"])));
    let link = format!("keyward approval show {}", body["code"].as_str().unwrap());
    assert_eq!(body["link"], json!(link));
    // And no text of the agent
    assert!(!heard[0].body.contains("IGNORE"), "{}", heard[0].body);
    // And the signature is that of the key in the broker's file
    let key = fs::read_to_string(broker.data().join("webhook.key")).unwrap();
    let key = from_base64(key.trim().strip_prefix("whsec_").unwrap()).unwrap();
    let signed = format!("{id}.{}.{}", header(&heard[0], "webhook-timestamp"), heard[0].body);
    let tag = MacKey::new(&Sensitive::new(key.try_into().unwrap())).tag(signed.as_bytes());
    assert_eq!(header(&heard[0], "webhook-signature"), format!("v1,{}", base64(tag.as_bytes())));
    assert_eq!(header(&heard[0], "webhook-id"), id);
    // And it is not sent again
    broker.clock.advance_s(600);
    broker.running.as_ref().unwrap().announce_due().await;
    assert_eq!((service.heard("POST").len(), metric(&broker, "webhook_deliveries_total").await), (1, 1));
    assert_eq!(
        (metric(&broker, "approvals_pending").await, metric(&broker, "webhook_waiting").await),
        (1, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_is_retried_after_failures_and_after_a_restart() {
    let (service, dir) = (Webhook::start("x"), tempfile::tempdir().unwrap());
    service
        .next("POST", &[Mood::Says(503), Mood::HangsUp, Mood::Redirects, Mood::Says(200), Mood::Says(200)]);
    let (mut broker, agent) = broker_with(&service, &service.ca_pem, &dir).await;
    let id = ask(&agent, "release 7").await;
    for (attempt, pause_s) in [(1, 1), (2, 4), (3, 16), (4, 0)] {
        let heard = heard(&broker, &service, attempt).await;
        assert_eq!(header(&heard[attempt - 1], "webhook-id"), id, "the service recognises it");
        broker.clock.advance_s(pause_s);
    }
    assert_eq!(metric(&broker, "webhook_failures_total").await, 3);
    // A start announces what is pending again, by the same id
    broker.restart().await;
    assert_eq!(header(&heard(&broker, &service, 5).await[4], "webhook-id"), id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_is_a_dead_letter_after_its_last_attempt() {
    let (service, dir) = (Webhook::start("x"), tempfile::tempdir().unwrap());
    let failing = vec![Mood::Says(500); WEBHOOK_TRIES_MAX as usize];
    service.next("POST", &failing);
    let (broker, agent) = broker_with(&service, &service.ca_pem, &dir).await;
    let id = ask(&agent, "release 7").await;
    for attempt in 1..=WEBHOOK_TRIES_MAX as usize {
        heard(&broker, &service, attempt).await;
        broker.clock.advance_s(u32::try_from(WEBHOOK_PAUSE_MAX_S).unwrap());
    }
    broker.running.as_ref().unwrap().announce_due().await;
    assert_eq!(service.heard("POST").len(), WEBHOOK_TRIES_MAX as usize);
    // Then operators see it in the warnings and the metrics
    assert_eq!(metric(&broker, "webhook_dead_letters").await, 1);
    let ready = broker.operator().get("/readyz").await;
    assert!(ready.text().contains("webhook_dead_letters"), "{}", ready.text());
    // And the warning ends with the request
    let withdrawn = agent.caller.post_json(&format!("/v1/approvals/{id}/withdraw"), &json!({})).await;
    assert_eq!(withdrawn.status, 200, "{}", withdrawn.text());
    broker.running.as_ref().unwrap().announce_due().await;
    assert_eq!(metric(&broker, "webhook_dead_letters").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_that_is_not_trusted_gets_no_message() {
    // Given a server with a certificate of another authority
    let (service, other, dir) = (Webhook::start("x"), Webhook::start("y"), tempfile::tempdir().unwrap());
    let (broker, agent) = broker_with(&service, &other.ca_pem, &dir).await;
    ask(&agent, "release 7").await;
    until(async || {
        broker.running.as_ref().unwrap().announce_due().await;
        metric(&broker, "webhook_failures_total").await >= 1
    })
    .await;
    assert!(service.heard("POST").is_empty());
}

#[test]
fn attempts_are_limited_in_time_and_size() {
    const { assert!(WEBHOOK_WAIT_S == 10 && WEBHOOK_ANSWER_BYTES_MAX == 65_536 && WEBHOOK_AT_ONCE_MAX == 4) };
}

#[test]
fn broker_does_not_start_with_a_webhook_that_it_cannot_use() {
    let (service, process) = (Webhook::start("x"), Process::init("info"));
    let (ca, key) = (process.path("ca.pem"), process.path("hook.key"));
    fs::write(&ca, &service.ca_pem).unwrap();
    process.configure(&format!(
        "[approvals]\nwebhook = \"https://127.0.0.1:{}/hook?key=CNRY\"\nwebhook_ca = \"{}\"\nwebhook_key = \"{}\"\n",
        service.port,
        ca.display(),
        key.display()
    ));
    let refused = |mode: u32, text: &str, code: &str| {
        fs::write(&key, text).unwrap();
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        let (_, said) = process.refused_serve();
        assert!(said.contains(code) && !said.contains("CNRY"), "{said}");
    };
    let good = format!("whsec_{}\n", base64(&[7; 32]));
    refused(0o644, &good, "file_permissions_too_open");
    let config = process.config();
    let checked = process.run_as("host", &["config", "check", "--config", &config], b"");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("webhook key's permissions") && said.contains("mode 644"), "{said}");
    refused(0o600, "a password", "webhook_unusable");
    fs::write(&ca, "no certificate").unwrap();
    refused(0o600, &good, "webhook_unusable");
}

#[test]
fn config_check_finds_unusable_files_of_the_webhook() {
    let (service, process) = (Webhook::start("x"), Process::init("info"));
    let (ca, key) = (process.path("ca.pem"), process.path("hook.key"));
    fs::write(&ca, &service.ca_pem).unwrap();
    let url = format!("https://127.0.0.1:{}/hook?key=CNRY", service.port);
    let settings = format!("[approvals]\nwebhook = \"{url}\"\nwebhook_ca = \"{}\"\n", ca.display());
    process.configure(&settings);
    let (config, is_root) = (process.config(), rustix::process::getuid().is_root());
    let checked = || {
        let output = process.run_as("host", &["config", "check", "--config", &config], b"");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!said.contains("CNRY"), "{said}");
        (output.status.success(), said)
    };
    let finds = |parts: &[&str]| {
        let (is_good, said) = checked();
        assert!(!is_good, "{said}");
        parts.iter().for_each(|part| assert!(said.contains(part), "{part}: {said}"));
    };
    // Without `webhook_key` the start makes the key
    let (is_good, said) = checked();
    assert!(is_good && said.contains("the next start makes the key"), "{said}");
    // Given a key file that does not exist, then the check says how to make it, and so does the start
    process.configure(&format!("webhook_key = \"{}\"\n", key.display()));
    let made = format!("(umask 077; echo \"whsec_$(openssl rand -base64 32)\" > {})", key.display());
    finds(&["which does not exist", &made]);
    let (_, refused) = process.refused_serve();
    assert!(refused.contains("webhook_unusable") && refused.contains("does not exist"), "{refused}");
    // Given one of that form, then the check finds no problem
    fs::write(&key, format!("whsec_{}\n", base64(&[7; 32]))).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let (is_good, said) = checked();
    assert!(is_good && said.contains("has the key that signs the messages"), "{said}");
    // Given one that others can read, one that its owner cannot read, or no key, then it finds it
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    finds(&["webhook key's permissions", "chmod go="]);
    if !is_root {
        fs::set_permissions(&key, Permissions::from_mode(0o200)).unwrap();
        finds(&["hook.key", "permission denied"]);
    }
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, "a password").unwrap();
    finds(&["has no key for the webhook"]);
    // Given CA certificates that do not exist
    fs::write(&key, format!("whsec_{}\n", base64(&[7; 32]))).unwrap();
    fs::remove_file(&ca).unwrap();
    finds(&["ca.pem"]);
}
