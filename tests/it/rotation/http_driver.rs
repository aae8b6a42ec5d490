//! Rotations of a service's key by requests that carry ours, against one that can misbehave.

use keyward::base::encoding::base64url;
use keyward::base::limits::UPSTREAM_ANSWER_BYTES_MAX;
use keyward::pki::new_key_and_request;
use serde_json::{Value, json};

use super::{BYTES, LOOPBACK};
use crate::support::broker::{Agent, Reply, TestBroker};
use crate::support::webhook::{ADMIN_TOKEN, Mood, Webhook};

pub(super) const FIRST: &str = "CNRY-first-key-0123456789";

const READING: &str = r#"
[[capability]]
name = "billing.read"
access = "read"
delivery = "reveal"
secret = "billing/key"
max_life_s = 300

[[role]]
name = "billing"
capabilities = ["billing.read"]
"#;

/// A broker with a service, a key of that as a secret, and an agent that reads it.
pub(super) struct Scene {
    pub(super) broker: TestBroker,
    pub(super) service: Webhook,
    pub(super) agent: Agent,
}

impl Scene {
    pub(super) async fn start(upstream: impl Fn(&Webhook) -> String) -> Self {
        Self::start_with(LOOPBACK, "", upstream).await
    }

    pub(super) async fn start_with(
        settings: &str,
        schedule: &str,
        upstream: impl Fn(&Webhook) -> String,
    ) -> Self {
        Self::on(Webhook::start(FIRST), settings, &|service| declared(schedule, &upstream(service))).await
    }

    pub(super) async fn on(service: Webhook, settings: &str, declared: &dyn Fn(&Webhook) -> String) -> Self {
        let broker =
            TestBroker::start_with(&format!("[certificates]\nagent_life_s = 604800\n{settings}")).await;
        for (name, value) in [("billing/key", FIRST), ("billing/admin", ADMIN_TOKEN)] {
            let path = format!("/v1/secrets/{name}");
            assert_eq!(broker.operator().put(&path, BYTES, value.as_bytes()).await.status, 201);
        }
        let applied = broker.apply(&declared(&service)).await;
        assert_eq!(applied.status, 200, "{}", applied.text());
        let agent = broker.agent("billing-bot", &["billing"]).await;
        Self { broker, service, agent }
    }

    /// The value that the agent is given, and its version.
    pub(super) async fn read(&self) -> (String, String) {
        let token = self.agent.token("billing.read").await;
        let reply = self.agent.secret("billing/key", &token).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let version = reply.header("keyward-secret-version").to_owned();
        (reply.text(), version)
    }

    pub(super) async fn act(&self, action: &str) -> Reply {
        let body = json!({ "action": action });
        self.broker.operator().post_json("/v1/rotations/billing/key", &body).await
    }

    pub(super) async fn shown(&self) -> Value {
        self.broker.operator().get("/v1/rotations/billing/key").await.json()
    }

    /// A rotation by hand, as far as it goes now.
    pub(super) async fn rotate(&self) {
        assert_eq!(self.act("rotate").await.status, 200);
        self.broker.rotate_due().await;
    }

    /// What it is stuck at: stage, code, failures.
    pub(super) async fn trouble(&self) -> (String, String, u64) {
        let run = self.shown().await["run"].clone();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&run["stage"]), text(&run["trouble"]["code"]), run["failures"].as_u64().unwrap_or(0))
    }

    /// What comes after the wait of a failed step.
    pub(super) async fn later(&self) {
        self.broker.clock.advance_s(600);
        self.broker.rotate_due().await;
    }

    /// The value that is handed out is of this version, and works.
    pub(super) async fn hands_out(&self, version: &str) {
        let (value, is) = self.read().await;
        assert_eq!(is, version);
        assert!(self.service.lets_in(&value), "it does not work");
        assert!(self.shown().await["run"]["trouble"].is_null());
    }
}

pub(super) fn declared(schedule: &str, upstream: &str) -> String {
    format!("{READING}\n[[rotation]]\nsecret = \"billing/key\"\n{schedule}\n[rotation.upstream]\n{upstream}")
}

/// Short enough for a test that waits for it.
fn hasty(service: &Webhook) -> String {
    service.applying().replacen("driver = \"http\"", "driver = \"http\"\ntimeout_s = 2", 1)
}

#[tokio::test]
async fn an_api_key_that_the_broker_generates_is_rotated_and_works() {
    let scene = Scene::start(Webhook::applying).await;
    scene.hands_out("1").await;
    scene.rotate().await;
    scene.hands_out("2").await;
    assert!(!scene.service.lets_in(FIRST), "the old one");
    assert!(scene.shown().await["run"].is_null());
    let told = scene.service.heard("PUT");
    assert_eq!(told.len(), 1, "once");
    assert!(
        told[0].head.contains(&format!("\r\nhost: 127.0.0.1:{}\r\n", scene.service.port)),
        "{}",
        told[0].head
    );
    scene.rotate().await;
    scene.hands_out("3").await;
}

#[tokio::test]
async fn a_request_says_what_its_templates_say_and_every_value_stays_one_value() {
    let scene = Scene::start(|service| {
        let own = "[rotation.upstream.value]\nlength = 64\nalphabet = \"\\\"\\\\&={}<>%+abcdefgh\"\n";
        let headers = "headers = { x-api-key = \"{{admin}}\", x-keyward = \"for {{rotation}}\" }\n";
        service.applying().replace("bearer = \"admin\"\n", &format!("bearer = \"admin\"\n{headers}")) + own
    })
    .await;
    scene.rotate().await;
    scene.hands_out("2").await;
    let told = &scene.service.heard("PUT")[0];
    let (value, _) = scene.read().await;
    assert_eq!(serde_json::from_str::<Value>(&told.body).unwrap(), json!({ "key": value }));
    let rotation = scene.broker.entries("rotation.begun").await[0]["event"]["rotation"].clone();
    for line in [
        format!("\r\nx-api-key: {ADMIN_TOKEN}\r\n"),
        format!("\r\nx-keyward: for {}\r\n", rotation.as_str().unwrap()),
        "\r\ncontent-type: application/json\r\n".to_owned(),
    ] {
        assert!(told.head.contains(&line), "{line} {}", told.head);
    }
}

/// Hazard ROT-04.
#[tokio::test]
async fn a_lost_answer_is_settled_by_a_probe_and_not_by_a_second_change() {
    for mood in [Mood::DoesAndResets, Mood::DoesAndEchoes] {
        let scene = Scene::start(Webhook::applying).await;
        scene.service.next("PUT", &[mood]);
        scene.rotate().await;
        let failed = scene.broker.entries("rotation.failed").await;
        assert_eq!(failed[0]["event"]["unknown"], true, "{mood:?}");
        assert_eq!(scene.trouble().await.0, "prepared", "{mood:?}");
        scene.later().await;
        scene.hands_out("2").await;
        assert_eq!(scene.service.heard("PUT").len(), 1, "told once: {mood:?}");
    }
}

/// EGR-03 too: no redirect is followed.
/// Hazard ROT-13.
#[tokio::test]
async fn a_failing_service_is_bounded_probed_and_retried() {
    for (mood, code) in [
        (Mood::Says(500), "upstream_unexpected_status"),
        (Mood::Says(503), "upstream_unexpected_status"),
        (Mood::Says(409), "upstream_unexpected_status"),
        (Mood::Says(206), "upstream_unexpected_status"),
        (Mood::HangsUp, "upstream_unreachable"),
        (Mood::Endless, "upstream_response_too_large"),
        (Mood::Redirects, "upstream_unexpected_status"),
        (Mood::Silent, "upstream_timeout"),
        (Mood::Drips, "upstream_timeout"),
    ] {
        let scene = Scene::start(hasty).await;
        scene.service.next("PUT", &[mood]);
        scene.rotate().await;
        assert_eq!(scene.trouble().await, ("prepared".to_owned(), code.to_owned(), 1), "{mood:?}");
        let failed = scene.broker.entries("rotation.failed").await;
        assert_eq!(failed[0]["event"]["unknown"], true, "{mood:?}");
        assert!(scene.service.lets_in(FIRST), "nothing was changed: {mood:?}");
        scene.later().await;
        scene.hands_out("2").await;
        // It was asked which value works before it was told again.
        let heard: Vec<_> = ["GET", "PUT"].map(|method| scene.service.heard(method).len()).into();
        assert_eq!(heard, [3, 2], "{mood:?}");
        let elsewhere = scene.service.heard("PUT").iter().any(|heard| heard.path != "/key");
        assert!(!elsewhere, "a redirect was followed");
    }
}

#[tokio::test]
async fn a_service_that_says_no_has_changed_nothing_and_reads_go_on() {
    let scene = Scene::start(Webhook::applying).await;
    scene.service.next("PUT", &[Mood::Says(422)]);
    scene.rotate().await;
    assert_eq!(scene.trouble().await, ("prepared".to_owned(), "upstream_refused".to_owned(), 1));
    let failed = scene.broker.entries("rotation.failed").await;
    assert_eq!(
        (&failed[0]["event"]["unknown"], &failed[0]["event"]["upstream"]),
        (&json!(false), &json!("422"))
    );
    assert_eq!(scene.read().await.0, FIRST);
    scene.later().await;
    scene.hands_out("2").await;
}

#[tokio::test]
async fn a_verify_that_says_neither_yes_nor_no_decides_nothing() {
    let scene = Scene::start(Webhook::applying).await;
    scene.service.next("GET", &[Mood::Says(500), Mood::Redirects, Mood::Endless]);
    scene.rotate().await;
    assert_eq!(scene.trouble().await, ("applied".to_owned(), "upstream_unexpected_status".to_owned(), 1));
    scene.later().await;
    assert_eq!(scene.trouble().await, ("applied".to_owned(), "upstream_unexpected_status".to_owned(), 2));
    scene.later().await;
    assert_eq!(scene.trouble().await, ("applied".to_owned(), "upstream_response_too_large".to_owned(), 3));
    scene.later().await;
    scene.hands_out("2").await;
    assert_eq!(scene.service.heard("PUT").len(), 1);
}

#[tokio::test]
async fn what_said_yes_and_did_nothing_is_told_again_when_an_operator_says_so() {
    let scene = Scene::start(Webhook::applying).await;
    scene.service.next("PUT", &[Mood::Says(200)]);
    scene.rotate().await;
    assert_eq!(scene.trouble().await, ("applied".to_owned(), "upstream_not_changed".to_owned(), 1));
    assert_eq!(scene.act("retry").await.status, 200);
    scene.broker.rotate_due().await;
    scene.hands_out("2").await;
    assert_eq!(scene.service.heard("PUT").len(), 2);
}

#[tokio::test]
async fn a_daily_check_without_an_answer_is_not_reported_as_a_success() {
    let settings = format!("operator_life_s = 86400\n{LOOPBACK}");
    let scene = Scene::start_with(&settings, "", Webhook::applying).await;
    scene.broker.clock.advance_s(43_000);
    let (key, request) = new_key_and_request().unwrap();
    let renewed =
        scene.broker.operator().post_json("/v1/renew", &json!({ "csr": base64url(&request) })).await.json();
    let operator =
        scene.broker.caller(scene.broker.admins(), renewed["certificate"].as_str(), Some(key.expose()));
    scene.service.next("GET", &[Mood::Says(500)]);
    scene.broker.clock.advance_s(43_400);
    scene.broker.rotate_due().await;
    let entries = operator.get("/v1/ledger/entries").await.json();
    let looked = |entry: &&Value| entry["kind"].as_str().unwrap().contains("checked");
    let looks: Vec<&Value> = entries["items"].as_array().unwrap().iter().filter(looked).collect();
    assert_eq!((looks.len(), &looks[0]["kind"]), (1, &json!("rotation.unchecked")));
    let why = (&looks[0]["event"]["code"], &looks[0]["event"]["upstream"]);
    assert_eq!(why, (&json!("upstream_unexpected_status"), &json!("500")));
    assert!(operator.get("/v1/rotations/billing/key").await.json()["checked_at"].is_null());
    scene.broker.rotate_due().await;
    assert_eq!(scene.service.heard("GET").len(), 1, "the next day");
    scene.broker.clock.advance_s(86_400);
    scene.broker.rotate_due().await;
    assert_eq!(scene.service.heard("GET").len(), 2);
}

/// Hazard ROT-03.
#[tokio::test]
async fn a_service_restored_from_a_backup_is_noticed_and_mended() {
    let scene = Scene::start(Webhook::applying).await;
    scene.rotate().await;
    scene.service.knows_only(FIRST);
    scene.broker.clock.advance_s(86_401);
    scene.broker.rotate_due().await;
    let (value, version) = scene.read().await;
    assert_eq!(version, "3");
    assert!(scene.service.lets_in(&value));
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_limit_and_not_beyond() {
    // What the service answers to a request has 2 bytes.
    for (bytes, code) in [("2", ""), ("1", "upstream_response_too_large")] {
        let scene = Scene::start(|service| {
            let limit = format!("driver = \"http\"\nanswer_bytes = {bytes}");
            service.applying().replacen("driver = \"http\"", &limit, 1)
        })
        .await;
        scene.rotate().await;
        assert_eq!(scene.trouble().await.1, code, "{bytes}");
    }
}

#[tokio::test]
async fn bounds_of_a_declaration_are_taken_at_their_ends_and_not_beyond() {
    let scene = Scene::start(Webhook::applying).await;
    let most = UPSTREAM_ANSWER_BYTES_MAX;
    for (field, number, fits) in [
        ("timeout_s", 0, false),
        ("timeout_s", 1, true),
        ("timeout_s", 60, true),
        ("timeout_s", 61, false),
        ("answer_bytes", 0, false),
        ("answer_bytes", 1, true),
        ("answer_bytes", most, true),
        ("answer_bytes", most + 1, false),
    ] {
        let own = format!("driver = \"http\"\n{field} = {number}");
        let upstream = scene.service.applying().replacen("driver = \"http\"", &own, 1);
        let body = json!({ "files": [{ "name": "a.toml", "text": declared("", &upstream) }] });
        let planned = scene.broker.operator().post_json("/v1/plan", &body).await;
        assert_eq!(planned.status == 200, fits, "{field} = {number}: {}", planned.text());
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused_with_its_place_and_repeats_nothing() {
    let scene = Scene::start(Webhook::applying).await;
    let good = scene.service.applying();
    let url = format!("https://127.0.0.1:{}", scene.service.port);
    for (from, to, says) in [
        ("{{value}}", "{{CNRY}}", "not known here; known fields: `value`, `current`, `admin`, `rotation`"),
        ("{{value}}", "{{value}", "is not closed"),
        ("{{value}}\"", "x\", \"n\":{{value}}", "inside of strings"),
        ("/key\"", "/key?k={{value}}\"", "no value goes into a URL"),
        ("/key\"", "/{{CNRY}}\"", "not known here"),
        (url.as_str(), "http://api.example.com", "addresses of this machine"),
        (url.as_str(), "https://CNRY.example.com", "lower-case"),
        ("{\"key\":\"{{value}}\"}", "{}", "does not send"),
        ("method = \"PUT\"", "method = \"CNRY\"", "unknown word"),
        (
            "method = \"PUT\"",
            "method = \"PUT\"\nheaders = { x-api-key = \"CNRY\" }",
            "never a value in clear text",
        ),
        ("method = \"PUT\"", "method = \"PUT\"\nheaders = { authorization = \"CNRY\" }", "`bearer`"),
        ("method = \"PUT\"", "method = \"PUT\"\nexpect = [302]", "redirects are not followed"),
        ("bearer = \"value\"", "", "prove nothing"),
    ] {
        let text = declared("", &good.replace(from, to));
        let refused = scene.broker.apply(&text).await;
        assert_eq!((refused.status, refused.code().as_str()), (422, "declarations_invalid"), "{to}");
        let fault = refused.json()["errors"][0].clone();
        assert!(fault["message"].as_str().unwrap().contains(says), "{to}: {fault}");
        assert!(!refused.text().contains("CNRY"), "{to}: {}", refused.text());
        let lines: Vec<&str> = text.lines().collect();
        let line = lines[usize::try_from(fault["line"].as_u64().unwrap()).unwrap() - 1];
        let faulty = to.lines().next_back().unwrap_or_default();
        assert!(line.contains(faulty) || line.starts_with("[rotation.upstream"), "{to}: {line}");
    }
    assert!(scene.shown().await["run"].is_null());
}

impl Scene {
    /// The first value is handed out, and works.
    pub(super) async fn hands_out_still(&self) {
        assert_eq!(self.read().await, (FIRST.to_owned(), "1".to_owned()));
        assert!(self.service.lets_in(FIRST));
    }
}
