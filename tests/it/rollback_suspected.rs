//! Credentials that only a later ledger has issued tell that the ledger is an older copy.

use crate::renewal::renew;
use crate::support::broker::{Agent, DECLARATIONS, TestBroker};
use crate::support::process::put_back;
use crate::support::waiting::until;

/// The broker on its older ledger, index and anchor, and agents that were enrolled since.
struct RolledBack {
    broker: TestBroker,
    a: Agent,
    token: String,
    reports: Agent,
    report_token: String,
    late: Agent,
}

async fn rolled_back() -> RolledBack {
    let mut broker = TestBroker::declared().await;
    let server = "[[resource_server]]\nname = \"reports\"\naudience = \"https://reports.example.com\"\n";
    assert_eq!(broker.apply(&format!("{DECLARATIONS}{server}")).await.status, 200);
    let a = broker.agent("a", &["repo-reader", "publisher"]).await;
    let reports = broker.agent("reports", &[]).await;
    let before = broker.path().join("before");
    broker.stop().await;
    put_back(&broker.data(), &before);
    broker.serve().await;
    let at = |broker: &TestBroker, agent: Agent| {
        let caller = broker.caller(broker.agents(), Some(&agent.certificate), Some(&agent.key));
        Agent { caller, ..agent }
    };
    let late = broker.agent("late", &["repo-reader"]).await;
    let a = at(&broker, a);
    for _ in 0..20 {
        a.token("github.repo.read").await;
    }
    let (token, report_token) = (a.token("github.repo.read").await, a.token("reports.read").await);
    broker.stop().await;
    put_back(&before, &broker.data());
    broker.serve().await;
    let (a, reports, late) = (at(&broker, a), at(&broker, reports), at(&broker, late));
    RolledBack { broker, a, token, reports, report_token, late }
}

const SUSPECTED: &str = "keyward_alarms_total{alarm=\"rollback_suspected\"} 1\n";

#[tokio::test]
async fn a_token_beyond_the_head_is_refused_and_raises_one_alarm() {
    let bed = rolled_back().await;
    for _ in 0..3 {
        let refused = bed.a.secret("github/app", &bed.token).await;
        assert_eq!((refused.status, refused.code().as_str()), (401, "token_unrecorded"));
    }
    let form = format!("token={}", bed.report_token);
    let path = "/oauth/introspect";
    let said = bed.reports.caller.post(path, "application/x-www-form-urlencoded", form.as_bytes()).await;
    assert_eq!(said.text(), "{\"active\":false}");
    let revoked =
        bed.a.caller.post("/oauth/revoke", "application/x-www-form-urlencoded", form.as_bytes()).await;
    assert_eq!(revoked.status, 200);
    assert!(bed.broker.metric(SUSPECTED).await);
    let alarms = bed.broker.entries("alarm.rollback-suspected").await;
    assert_eq!(alarms.len(), 1);
    let (credential, agent) = (&alarms[0]["event"]["credential"], &alarms[0]["event"]["agent"]);
    assert_eq!((credential.as_str(), agent.as_str()), (Some("token"), Some("a")));
    assert_eq!(alarms[0]["event"]["source"], "127.0.0.1");
    // And a token of this ledger is taken.
    let token = bed.a.token("github.repo.read").await;
    assert_eq!(bed.a.secret("github/app", &token).await.status, 200);
}

#[tokio::test]
async fn a_certificate_without_a_record_is_refused_and_raises_an_alarm() {
    let bed = rolled_back().await;
    for address in [bed.broker.admins(), bed.broker.agents()] {
        let caller = bed.broker.caller(address, Some(&bed.late.certificate), Some(&bed.late.key));
        assert!(caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    }
    until(async || bed.broker.metric(SUSPECTED).await).await;
    let alarms = bed.broker.entries("alarm.rollback-suspected").await;
    assert_eq!(alarms.len(), 1);
    assert_eq!(alarms[0]["event"]["subject"], "spiffe://keyward.test/agent/late");
    assert_eq!(alarms[0]["event"]["agent"], "late");
    assert_eq!(alarms[0]["event"]["source"], "127.0.0.1");
}

#[tokio::test]
async fn a_replaced_or_forged_certificate_raises_no_alarm() {
    let mut broker = TestBroker::declared().await;
    let old = broker.agent("a", &["repo-reader"]).await;
    let new = renew(&broker, &old).await;
    assert_eq!(new.caller.get("/v1/whoami").await.status, 200);
    let other = TestBroker::declared().await;
    let forged = other.agent("late", &["repo-reader"]).await;
    for (certificate, key) in [(&old.certificate, &old.key), (&forged.certificate, &forged.key)] {
        let caller = broker.caller(broker.agents(), Some(certificate), Some(key));
        assert!(caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    }
    // A stop waits for nothing that is being looked for; what was found would have been recorded.
    broker.restart().await;
    assert!(broker.entries("alarm.rollback-suspected").await.is_empty());
}
