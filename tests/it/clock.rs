//! The wall clock is wrong: what the broker does until it is right again, and how it comes back.

use keyward::base::encoding::base64url;
use keyward::base::limits::{BREAK_GLASS_LIFE_S, CLOCK_ALARM_PAUSE_S, CLOCK_SYNC_WAIT_S, CODE_LIFE_S};
use keyward::base::{Clock, Sensitive};
use keyward::pki::{EnrolmentCode, new_key_and_request};
use serde_json::{Value, json};

use crate::operators::{code_for, join, redeem, standing};
use crate::renewal::renew;
use crate::support::broker::{Agent, Reply, TestBroker};
use crate::support::host::ask;
use crate::support::pausing::{KEY, SERIAL};

const HOUR_S: i64 = 3600;
const DAY_S: i64 = 24 * HOUR_S;
const TWO_YEARS_S: i64 = 730 * DAY_S;

const MINT: &str = "grant_type=client_credentials&scope=reports.read";

async fn with_agent() -> (TestBroker, Agent) {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["publisher", "repo-reader"]).await;
    (broker, agent)
}

async fn adjustments(broker: &TestBroker) -> Vec<Value> {
    broker.entries("clock.adjusted").await
}

/// Something over the host's socket, which no clock stands in the way of.
pub(crate) async fn on_host(broker: &TestBroker, path: &'static str) -> Reply {
    let socket = broker.socket();
    tokio::task::spawn_blocking(move || ask(&socket, "POST", path, &Value::Null)).await.unwrap()
}

/// The system says, for a minute, that its clock is right.
async fn synchronised_for_a_minute(broker: &TestBroker) {
    for _ in 0..=4 {
        broker.clock.advance_s(15);
        broker.clock.synchronise();
        broker.look_at_clock().await;
    }
}

fn is_in_doubt(reply: &Reply) -> bool {
    (reply.status, reply.code().as_str()) == (503, "clock_untrusted")
}

fn claims(token: &str) -> Value {
    let claims = token.split('.').nth(1).unwrap();
    let claims = keyward::base::encoding::from_base64url(claims).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

fn expiry(token: &str) -> i64 {
    claims(token)["exp"].as_i64().unwrap()
}

fn begin(token: &str) -> i64 {
    let claims = claims(token);
    assert_eq!(claims["iat"], claims["nbf"]);
    claims["nbf"].as_i64().unwrap()
}

#[tokio::test]
async fn a_wrong_hour_for_a_second_leaves_nothing_behind() {
    let (broker, agent) = with_agent().await;
    let token = agent.token("github.repo.read").await;
    broker.clock.step_s(HOUR_S);
    broker.look_at_clock().await;
    assert_eq!(agent.secret("github/app", &token).await.status, 401, "it has ended by one of the readings");
    assert!(is_in_doubt(&agent.ask(MINT).await), "it would have ended when it is issued");
    let refused = broker.entries("issuance.refused").await;
    let event = &refused[0]["event"];
    assert_eq!(
        (&event["action"], &event["code"]),
        (&json!("mint"), &json!("clock_untrusted")),
        "{refused:?}"
    );
    let ready = broker.operator().get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["warnings"]), (200, &json!(["clock_disagrees"])));
    let metrics = broker.operator().get("/metrics").await.text();
    assert!(metrics.contains("keyward_clock_difference_seconds 3600\n"), "{metrics}");
    assert!(metrics.contains("keyward_alarms_total{alarm=\"clock_disagrees\"} 1\n"), "{metrics}");
    broker.clock.advance_s(1);
    broker.look_at_clock().await;
    assert_eq!(broker.entries("alarm.clock-disagrees").await.len(), 1, "once");

    broker.clock.step_s(-HOUR_S);
    broker.look_at_clock().await;
    assert_eq!(agent.secret("github/app", &token).await.status, 200, "it holds again");
    let fresh = agent.token("reports.read").await;
    assert_eq!(expiry(&fresh), broker.clock.now().plus_s(300).s());
    assert_eq!(adjustments(&broker).await.len(), 0);
    broker.clock.advance_s(306);
    assert_eq!(agent.secret("github/app", &token).await.status, 401, "time goes on");
}

#[tokio::test]
async fn a_refused_enrolment_or_renewal_in_doubt_has_an_entry_with_its_holder() {
    // Given codes of an agent and an operator, and an operator's certificate
    let broker = TestBroker::declared().await;
    let code = broker.invite("bot", &["publisher"]).await;
    let eve = code_for(&broker, "eve", &standing("auditor", None)).await;
    let ann = join(&broker, "ann", &standing("auditor", None)).await;
    // When the clocks differ by more than the life of a certificate, then nobody gets one
    broker.clock.step_s(13 * HOUR_S);
    broker.look_at_clock().await;
    let (_, request) = new_key_and_request().unwrap();
    let renewal = json!({ "csr": base64url(&request) });
    assert!(is_in_doubt(&ann.caller.post_json("/v1/renew", &renewal).await));
    broker.clock.step_s(48 * HOUR_S);
    broker.look_at_clock().await;
    assert!(is_in_doubt(&broker.redeem(&code, &request).await));
    assert!(is_in_doubt(&redeem(&broker, &eve, &request).await));
    // A caller without the secret of a code leaves no entry.
    let guessed = EnrolmentCode { id: code.id, secret: Sensitive::new([7; 32]), ..eve };
    assert!(is_in_doubt(&broker.redeem(&guessed, &request).await));
    broker.clock.step_s(-61 * HOUR_S);
    broker.look_at_clock().await;
    // Then the entries say who was refused what
    let told = broker.entries("issuance.refused").await;
    let said = |entry: &Value| {
        ["agent", "operator", "action", "code"]
            .map(|field| entry["event"][field].as_str().unwrap_or("-").to_owned())
            .join(" ")
    };
    let said: Vec<String> = told.iter().map(said).collect();
    assert_eq!(
        said,
        ["- ann renew clock_untrusted", "bot - enrol clock_untrusted", "- eve enrol clock_untrusted"],
        "{told:?}"
    );
}

#[tokio::test]
async fn what_is_issued_in_doubt_outlives_neither_reading() {
    let (broker, agent) = with_agent().await;
    for step_s in [-50, 50] {
        let before = broker.clock.now();
        broker.clock.step_s(step_s);
        let reply = agent.ask(MINT).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let token = reply.json()["access_token"].as_str().unwrap().to_owned();
        assert_eq!(expiry(&token), before.plus_s(300 + step_s.min(0)).s(), "{step_s}");
        assert_eq!(begin(&token), before.plus_s(step_s.min(0)).s(), "{step_s}");
        let other = broker.agent(if step_s < 0 { "b" } else { "c" }, &["publisher"]).await;
        let (_, certificate) = x509(&other.certificate);
        assert_eq!(certificate, before.plus_s(86_400 + step_s.min(0)).s(), "{step_s}");
        broker.clock.step_s(-step_s);
    }
}

/// When a certificate begins and ends, in seconds since 1970.
fn x509(pem: &str) -> (i64, i64) {
    let der = keyward::pki::certificate_from_pem(pem).unwrap();
    let peer = keyward::pki::PeerCertificate::parse(&der).unwrap();
    (peer.not_before().s(), peer.not_after().s())
}

#[tokio::test]
async fn a_token_issued_in_doubt_can_be_used_at_once() {
    let (broker, agent) = with_agent().await;
    for step_s in [-20, 20] {
        broker.clock.step_s(step_s);
        let token = agent.token("github.repo.read").await;
        assert_eq!(agent.secret("github/app", &token).await.status, 200, "{step_s}");
        broker.clock.step_s(-step_s);
    }
}

#[tokio::test]
async fn a_start_a_day_before_the_ledger_issues_nothing_until_synchronised() {
    let (mut broker, agent) = with_agent().await;
    broker.stop().await;
    let right = broker.clock.now();
    broker.clock.step_s(-DAY_S);
    broker.serve().await;
    let agent = again(&broker, &agent);
    broker.look_at_clock().await;
    let ready = broker.nobody(broker.agents()).get("/readyz").await;
    assert!(is_in_doubt(&ready), "{}", ready.text());
    let why = ready.json()["detail"].as_str().unwrap().to_owned();
    let (wall, expected) = (right.plus_s(-DAY_S).to_string(), right.to_string());
    assert!(why.contains(&wall) && why.contains(&expected), "{why}");
    assert!(
        agent.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err_or_401(),
        "not yet valid by one reading"
    );
    let revoked = on_host(&broker, "/v1/agents/a/revoke").await;
    assert_eq!((revoked.status, &revoked.json()["durable"]), (200, &json!(true)), "what takes away goes on");

    broker.clock.step_s(DAY_S);
    assert!(is_in_doubt(&broker.nobody(broker.agents()).get("/readyz").await), "the system has to say so");
    synchronised_for_a_minute(&broker).await;
    assert_eq!(broker.nobody(broker.agents()).get("/readyz").await.status, 200);
    let other = broker.agent("b", &["publisher"]).await;
    assert_eq!(other.ask(MINT).await.status, 200);
    let told = adjustments(&broker).await;
    assert_eq!((told.len(), &told[0]["event"]["by"]), (1, &json!("the system")), "{told:?}");
}

#[tokio::test]
async fn a_report_from_before_a_held_start_does_not_count() {
    let mut broker = TestBroker::declared().await;
    broker.clock.synchronise();
    broker.clock.advance_s(30 * 60);
    broker.agent("a", &["publisher"]).await;
    broker.stop().await;
    broker.clock.step_s(-20 * 60);
    broker.serve().await;
    for _ in 0..=4 {
        broker.look_at_clock().await;
        broker.clock.advance_s(30);
    }
    assert!(is_in_doubt(&broker.nobody(broker.agents()).get("/readyz").await));
    synchronised_for_a_minute(&broker).await;
    assert_eq!(broker.nobody(broker.agents()).get("/readyz").await.status, 200, "a newer one does");
}

trait Refused {
    fn is_err_or_401(&self) -> bool;
}

impl Refused for std::io::Result<Reply> {
    fn is_err_or_401(&self) -> bool {
        self.as_ref().map_or(true, |reply| reply.status == 401)
    }
}

#[tokio::test]
async fn a_ledger_of_the_future_comes_back_by_the_word_of_the_host() {
    let (mut broker, agent) = with_agent().await;
    broker.clock.step_s(TWO_YEARS_S);
    let accepted = on_host(&broker, "/v1/clock/accept").await;
    assert_eq!((accepted.status, &accepted.json()["adjusted"]), (200, &json!(true)), "{}", accepted.text());
    let future = broker.clock.now();
    let listed = agent.caller.attempt("GET", "/v1/whoami", &[], b"").await;
    assert!(listed.is_err_or_401(), "every certificate has ended");
    broker.look_after().await;

    // The clock is set right while the broker is stopped. What the listener shows is of the future.
    broker.stop().await;
    broker.clock.step_s(-TWO_YEARS_S);
    broker.serve().await;
    let agent = again(&broker, &agent);
    assert!(
        broker
            .nobody(broker.agents())
            .attempt("GET", "/readyz", &[], b"")
            .await
            .is_ok_and(|reply| is_in_doubt(&reply))
    );
    let accepted = on_host(&broker, "/v1/clock/accept").await;
    assert_eq!((accepted.status, &accepted.json()["adjusted"]), (200, &json!(true)), "{}", accepted.text());
    assert!(accepted.json()["was"].as_str().unwrap() >= future.to_string().as_str());
    broker.look_after().await;

    // A client with a certificate of the right time works, and the listener's certificate is valid.
    let token = agent.token("github.repo.read").await;
    assert_eq!(agent.secret("github/app", &token).await.status, 200);
    assert_eq!(expiry(&token), broker.clock.now().plus_s(300).s());
    assert_eq!(broker.operator().get("/readyz").await.status, 200);
    broker.restart().await;
    assert_eq!(again(&broker, &agent).ask(MINT).await.status, 200, "also after another start");
    let again = on_host(&broker, "/v1/clock/accept").await;
    assert_eq!(again.json(), json!({ "adjusted": false }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_certificate_that_an_adjustment_overtakes_is_planned_anew() {
    let (broker, agent) = with_agent().await;
    broker.clock.advance_s(2 * 3600);
    let paused = broker.entropy.at(SERIAL, 1);
    let renewing = tokio::spawn({
        let (_, request) = new_key_and_request().unwrap();
        let (caller, body) = (agent.caller.clone(), json!({ "csr": base64url(&request) }));
        async move { caller.post_json("/v1/renew", &body).await }
    });
    paused.reached().await;
    broker.clock.step_s(-HOUR_S);
    assert_eq!(on_host(&broker, "/v1/clock/accept").await.json()["adjusted"], true);
    drop(paused);
    let renewed = renewing.await.unwrap();
    assert_eq!(renewed.status, 201, "{}", renewed.text());
    let ends = |entry: &Value| entry["event"]["not_after"].as_str().unwrap().to_owned();
    renew(&broker, &agent).await;
    let planned = broker.entries("instance.renewed").await;
    assert_eq!(planned.len(), 2);
    assert_eq!(ends(&planned[0]), ends(&planned[1]), "both by the clock of now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_certificate_planned_before_an_adjustment_is_planned_anew() {
    // Given a certificate that is planned before the records are read, by a clock that is an hour fast
    let (broker, _) = with_agent().await;
    broker.clock.advance_s(2 * 3600);
    let paused = broker.entropy.at(SERIAL, 1);
    let certifying = tokio::task::spawn_blocking({
        let (_, request) = new_key_and_request().unwrap();
        let (socket, body) = (broker.socket(), json!({ "csr": base64url(&request) }));
        move || ask(&socket, "POST", "/v1/break-glass", &body)
    });
    paused.reached().await;
    // When the clock is adjusted before they are
    broker.clock.step_s(-HOUR_S);
    assert_eq!(on_host(&broker, "/v1/clock/accept").await.json()["adjusted"], true);
    drop(paused);
    // Then it lives an hour by the clock of now
    let certified = certifying.await.unwrap();
    assert!(certified.status < 300, "{}", certified.text());
    let recorded = broker.entries("alarm.break-glass-used").await;
    let end = recorded[0]["event"]["not_after"].as_str().unwrap();
    let latest = broker.clock.now().plus_s(BREAK_GLASS_LIFE_S);
    assert!(recorded.len() == 1 && end <= latest.to_string().as_str(), "{end}, {latest}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_code_that_an_adjustment_overtakes_is_made_anew() {
    // Given a code for an agent, and one for an operator, that are made by a clock that is an hour fast
    let (broker, _) = with_agent().await;
    for (path, body) in [
        ("/v1/agents/b/invitations", json!({ "roles": ["publisher"] })),
        ("/v1/operators/eve/invitations", json!({ "role": "auditor" })),
    ] {
        broker.clock.advance_s(2 * 3600);
        let paused = broker.entropy.at(KEY, 1);
        let operator = broker.operator();
        let inviting = tokio::spawn(async move { operator.post_json(path, &body).await });
        paused.reached().await;
        // When the clock is adjusted before they are recorded
        broker.clock.step_s(-HOUR_S);
        assert_eq!(on_host(&broker, "/v1/clock/accept").await.json()["adjusted"], true);
        drop(paused);
        // Then their life begins by the clock of now
        let invited = inviting.await.unwrap();
        assert_eq!(invited.status, 201, "{}", invited.text());
        let end = invited.json()["expires_at"].as_str().unwrap().to_owned();
        let latest = broker.clock.now().plus_s(CODE_LIFE_S).to_string();
        assert!(end <= latest, "{path}: {end}, {latest}");
    }
}

/// The same agent, where a broker that started again listens.
fn again(broker: &TestBroker, agent: &Agent) -> Agent {
    let (certificate, key) = (agent.certificate.clone(), agent.key.clone());
    let caller = broker.caller(broker.agents(), Some(&certificate), Some(&key));
    Agent { caller, certificate, key }
}

#[tokio::test]
async fn a_synchronised_clock_is_followed_back_and_frees_nobody_from_a_limit() {
    let (broker, agent) = with_agent().await;
    let token = agent.token("github.repo.read").await;
    broker.clock.synchronise();
    broker.look_at_clock().await;
    broker.clock.step_s(-2 * HOUR_S);
    broker.look_at_clock().await;
    broker.clock.advance_s(70);
    broker.look_at_clock().await;
    assert_ne!(broker.clock.reading().gap_s(), 0, "nobody has said that the new time is right");
    broker.clock.synchronise();
    broker.look_at_clock().await;
    broker.clock.advance_s(u32::try_from(CLOCK_SYNC_WAIT_S).unwrap() - 1);
    broker.look_at_clock().await;
    assert_ne!(broker.clock.reading().gap_s(), 0, "not yet for long enough");
    broker.clock.advance_s(1);
    broker.look_at_clock().await;
    assert_eq!(broker.clock.now(), broker.clock.reading().wall());
    assert!(agent.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err_or_401());
    broker.clock.advance_s(u32::try_from(2 * HOUR_S).unwrap());
    assert_eq!(agent.secret("github/app", &token).await.status, 401, "void: time went back beyond its mark");
    for _ in 0..20 {
        assert_eq!(agent.ask(MINT).await.status, 200, "no limit was left in the future");
    }
    let told = adjustments(&broker).await;
    assert_eq!((told.len(), &told[0]["event"]["difference_s"]), (1, &json!(-2 * HOUR_S)), "{told:?}");
}

#[tokio::test]
async fn no_schedule_starts_while_the_clocks_disagree() {
    let broker = TestBroker::start_with("[tokens]\nkey_life_s = 86400\n").await;
    let keys = || async {
        broker.nobody(broker.agents()).get("/.well-known/jwks.json").await.json()["keys"]
            .as_array()
            .unwrap()
            .len()
    };
    broker.clock.step_s(DAY_S);
    broker.look_after().await;
    assert_eq!(keys().await, 1, "a key is not made because a clock was wrong");
    broker.clock.step_s(-DAY_S);
    broker.clock.advance_s(86_400 - 1800);
    broker.look_after().await;
    assert_eq!(keys().await, 2, "it is when its time has come");
}

#[tokio::test]
async fn a_clock_set_to_and_fro_fills_no_ledger() {
    let broker = TestBroker::declared().await;
    for _ in 0..20 {
        broker.clock.step_s(HOUR_S);
        broker.look_at_clock().await;
        broker.clock.step_s(-HOUR_S);
        broker.clock.advance_s(1);
        broker.look_at_clock().await;
    }
    assert_eq!(broker.entries("alarm.clock-disagrees").await.len(), 1, "one an hour");
    let metrics = broker.operator().get("/metrics").await.text();
    assert!(metrics.contains("keyward_alarms_total{alarm=\"clock_disagrees\"} 20\n"), "{metrics}");
    broker.clock.advance_s(u32::try_from(CLOCK_ALARM_PAUSE_S).unwrap());
    broker.clock.step_s(HOUR_S);
    broker.look_at_clock().await;
    assert_eq!(broker.entries("alarm.clock-disagrees").await.len(), 2);
}

#[tokio::test]
async fn no_expired_token_is_valid_again_when_time_goes_back() {
    let (broker, agent) = with_agent().await;
    let token = agent.token("github.repo.read").await;
    broker.clock.step_s(20 * 60);
    on_host(&broker, "/v1/clock/accept").await;
    assert_eq!(agent.secret("github/app", &token).await.status, 401, "it has expired");
    broker.clock.step_s(-20 * 60);
    let accepted = on_host(&broker, "/v1/clock/accept").await;
    assert_eq!(accepted.json()["adjusted"], json!(true));
    assert_eq!(agent.secret("github/app", &token).await.status, 401, "and stays so");
    let fresh = agent.token("github.repo.read").await;
    assert_eq!(agent.secret("github/app", &fresh).await.status, 200);
}
