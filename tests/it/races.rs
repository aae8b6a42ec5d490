//! A decision holds only as long as what it was made on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyward::base::encoding::base64url;
use keyward::pki::{EnrolmentCode, PeerCertificate, certificate_from_pem, new_key_and_request, read_request};
use serde_json::{Value, json};

use crate::operators::{join, standing};
use crate::renewal::renew;
use crate::support::broker::{Caller, DECLARATIONS, TestBroker};
use crate::support::waiting::{Patience, until};

/// Rounds of giving a role and taking it away under load.
const ROUNDS: usize = 12;

/// Hazard REV-02.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mint_decided_before_a_role_was_removed_does_not_commit() {
    let agent = |roles: &str| format!("[[agent]]\nname = \"a\"\nroles = {roles}\n");
    mints_against("a", DECLARATIONS, "capability_not_granted", [agent("[]"), agent("[\"publisher\"]")]).await;
}

/// Hazard REV-02.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mint_decided_before_a_role_lost_a_capability_does_not_commit() {
    let role = |held: &str| format!("[[role]]\nname = \"publisher\"\ncapabilities = {held}\n");
    mints_against(
        "publisher",
        DECLARATIONS,
        "capability_not_granted",
        [role("[]"), role("[\"reports.read\"]")],
    )
    .await;
}

/// Hazard POL-12.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mint_decided_before_a_policy_denied_it_does_not_commit() {
    let policy = |action: &str| {
        format!(
            "[[policy]]\nname = \"stop\"\nrule = 'forbid (principal, action == Keyward::Action::\"{action}\", resource);'\n"
        )
    };
    mints_against("stop", &policy("lease"), "policy_denied", [policy("token"), policy("lease")]).await;
}

/// Mints by agent `a` while `declarations` of `name` take away what they need, and give it back. `before` is declared first.
async fn mints_against(name: &str, before: &str, refusal: &'static str, declarations: [String; 2]) {
    let broker =
        Arc::new(TestBroker::start_with("[quota]\nmints_per_s = 100000\nmints_burst = 100000\n").await);
    broker.declare().await;
    let agent = Arc::new(broker.agent("a", &["publisher"]).await);
    assert_eq!(broker.apply(before).await.status, 200);
    let stop = Arc::new(AtomicBool::new(false));
    let minters: Vec<_> = (0..8)
        .map(|_| {
            let (agent, stop) = (Arc::clone(&agent), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut open = agent.caller.connect().await.unwrap();
                let (mut given, mut refused) = (0, 0);
                while !stop.load(Ordering::Relaxed) {
                    let headers = [("content-type", "application/x-www-form-urlencoded")];
                    let form = b"grant_type=client_credentials&scope=reports.read";
                    let reply = open.send("POST", "/oauth/token", &headers, form).await.unwrap();
                    match (reply.status, reply.status == 200 || reply.code() == refusal) {
                        (200, _) => given += 1,
                        (_, true) => refused += 1,
                        (503, _) => assert_eq!(reply.code(), "modified_concurrently"),
                        _ => panic!("{}", reply.text()),
                    }
                }
                (given, refused)
            })
        })
        .collect();
    for _ in 0..ROUNDS {
        for text in &declarations {
            assert_eq!(broker.apply(text).await.status, 200);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let (mut given, mut refused) = (0, 0);
    for minter in minters {
        let (some, others) = minter.await.unwrap();
        given += some;
        refused += others;
    }
    assert!(given > 0 && refused > 0, "the race was none: {given} given, {refused} refused");

    let mut held = true;
    let mut minted = 0;
    for item in all_entries(&broker).await {
        let changes = item["event"]["changes"].as_array();
        let touched = changes
            .into_iter()
            .flatten()
            .any(|change| change["name"] == name && change["action"] == "update");
        if item["kind"] == "declarations.applied" && touched {
            held = !held;
        }
        if item["kind"] == "token.minted" {
            assert!(held, "entry {} was minted after it was taken away", item["seq"]);
            minted += 1;
        }
    }
    assert_eq!(minted, given, "answers and ledger agree");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mint_decided_on_a_certificate_never_commits_after_it_was_replaced() {
    let broker =
        Arc::new(TestBroker::start_with("[quota]\nmints_per_s = 100000\nmints_burst = 100000\n").await);
    broker.declare().await;
    let mut agent = broker.agent("a", &["publisher"]).await;
    for _ in 0..ROUNDS {
        let minters: Vec<_> =
            (0..4).map(|_| tokio::spawn(mint_until_refused(agent.caller.clone()))).collect();
        let next = renew(&broker, &agent).await;
        assert_eq!(next.caller.get("/v1/whoami").await.status, 200);
        for minter in minters {
            minter.await.unwrap();
        }
        agent = next;
    }
    let (mut current, mut next, mut minted) = (Value::Null, Value::Null, 0);
    for item in all_entries(&broker).await {
        match item["kind"].as_str().unwrap() {
            "instance.enrolled" => current = Value::Null,
            "certificate.recorded" if current.is_null() => current = item["event"]["thumbprint"].clone(),
            "certificate.recorded" => next = item["event"]["thumbprint"].clone(),
            "certificate.promoted" => current = next.clone(),
            "token.minted" => {
                assert_eq!(item["event"]["certificate"], current, "entry {}", item["seq"]);
                minted += 1;
            }
            _ => {}
        }
    }
    assert!(minted > 0, "the race was none");
}

/// Asks for tokens over one connection until they are refused, or it is cut.
async fn mint_until_refused(caller: Caller) {
    let mut open = caller.connect().await.unwrap();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let form = b"grant_type=client_credentials&scope=reports.read";
    let patience = Patience::new();
    while let Ok(reply) = open.send("POST", "/oauth/token", &headers, form).await {
        if ![200, 503].contains(&reply.status) {
            assert_eq!(reply.code(), "certificate_unknown");
            return;
        }
        patience.try_again();
    }
}

/// Renewals of each of two keys of one instance, at the same time.
const RENEWALS: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repeated_renewal_gets_the_certificate_of_its_own_key() {
    let broker = TestBroker::start_with("[quota]\nmints_per_s = 100000\nmints_burst = 100000\n").await;
    broker.declare().await;
    let agent = broker.agent("a", &["publisher"]).await;
    let requests = [(); 2].map(|()| new_key_and_request().unwrap().1);
    let renewing: Vec<_> = requests
        .iter()
        .cycle()
        .take(6)
        .map(|request| {
            let (caller, request) = (agent.caller.clone(), request.clone());
            tokio::spawn(async move {
                let own = read_request(&request).unwrap().digest();
                let body = json!({ "csr": base64url(&request) });
                for _ in 0..RENEWALS {
                    let reply = caller.post_json("/v1/renew", &body).await;
                    if reply.status == 503 {
                        assert_eq!(reply.code(), "modified_concurrently");
                        continue;
                    }
                    let certificate = certificate_from_pem(reply.json()["certificate"].as_str().unwrap());
                    let given = PeerCertificate::parse(&certificate.unwrap()).unwrap();
                    assert_eq!(given.key(), own);
                }
            })
        })
        .collect();
    for one in renewing {
        one.await.unwrap();
    }
}

/// The whole ledger, page by page.
pub(crate) async fn all_entries(broker: &TestBroker) -> Vec<Value> {
    let (mut after, mut entries) = (0, Vec::new());
    loop {
        let page = broker.operator().get(&format!("/v1/ledger/entries?after={after}")).await.json();
        entries.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_after"].as_u64() {
            Some(next) => {
                assert!(next > after, "a page after the one before");
                after = next;
            }
            None => return entries,
        }
    }
}

/// Goes on suspending an agent that nobody is over one connection, until that is refused or cut.
async fn suspend_until_refused(caller: Caller) {
    let Ok(mut open) = caller.connect().await else { return };
    let headers = [("content-type", "application/json")];
    let patience = Patience::new();
    while let Ok(reply) = open.send("POST", "/v1/agents/nobody/suspend", &headers, b"{}").await {
        if ![200, 503].contains(&reply.status) {
            return;
        }
        patience.try_again();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_act_of_an_operator_commits_after_its_revocation_or_demotion() {
    let broker = TestBroker::declared().await;
    broker.apply("[[agent]]\nname = \"nobody\"\nroles = []\n").await;
    for round in 0..ROUNDS {
        let name = format!("operator-{round}");
        let operator = join(&broker, &name, &standing("security", None)).await;
        let (admin, path) = (broker.operator(), format!("/v1/operators/{name}"));
        assert_eq!(admin.post_json("/v1/agents/nobody/resume", &json!({})).await.status, 200);
        let busy: Vec<_> =
            (0..8).map(|_| tokio::spawn(suspend_until_refused(operator.caller.clone()))).collect();
        // They are under way.
        until(async || admin.get("/v1/agents/nobody").await.json()["state"] == "suspended").await;
        let ended = if round % 2 == 0 {
            admin.post_json(&format!("{path}/revoke"), &json!({})).await
        } else {
            let auditor = standing("auditor", None).to_string();
            admin.put(&format!("{path}/role"), "application/json", auditor.as_bytes()).await
        };
        assert_eq!(ended.status, 200, "{}", ended.text());
        for one in busy {
            one.await.unwrap();
        }
    }
    let mut over = BTreeSet::new();
    for item in all_entries(&broker).await {
        let event = &item["event"];
        match item["kind"].as_str().unwrap() {
            "subject.revoked" | "subject.suspended" if event["subject"]["kind"] == "operator" => {
                over.insert(event["subject"]["name"].to_string());
            }
            "operator.placed" => {
                over.insert(event["operator"].to_string());
            }
            "subject.revoked" | "subject.suspended" | "subject.resumed" => {
                assert!(!over.contains(&event["by"].to_string()), "entry {}", item["seq"]);
            }
            _ => {}
        }
    }
    assert_eq!(over.len(), ROUNDS);
}

/// Hazard ENR-07.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_enrols_by_a_code_after_whoever_made_it_was_taken_away() {
    let settings = "[quota]\nenrolments_per_s = 100000\nenrolments_burst = 100000\n";
    let broker = Arc::new(TestBroker::start_with(settings).await);
    broker.declare().await;
    for round in 0..ROUNDS {
        let name = format!("operator-{round}");
        let operator = join(&broker, &name, &standing("admin", None)).await;
        let invited = json!({ "roles": ["publisher"], "uses": 100 });
        let path = format!("/v1/agents/fleet-{round}/invitations");
        let code = operator.caller.post_json(&path, &invited).await.json()["code"].clone();
        let enrolling: Vec<_> = (0..8)
            .map(|_| {
                let (broker, text) = (Arc::clone(&broker), code.as_str().unwrap().to_owned());
                tokio::spawn(async move {
                    let code = EnrolmentCode::parse(&text).unwrap();
                    let patience = Patience::new();
                    loop {
                        let (_, request) = new_key_and_request().unwrap();
                        match broker.redeem(&code, &request).await.status {
                            201 | 503 => patience.try_again(),
                            _ => return,
                        }
                    }
                })
            })
            .collect();
        let path = format!("/v1/agents/fleet-{round}");
        let instances = async || broker.operator().get(&path).await.json()["instances"].clone();
        until(async || !instances().await.as_array().unwrap().is_empty()).await;
        let revoked = broker.operator().post_json(&format!("/v1/operators/{name}/revoke"), &json!({})).await;
        assert_eq!(revoked.status, 200, "{}", revoked.text());
        for one in enrolling {
            one.await.unwrap();
        }
    }
    let (mut over, mut codes) = (BTreeSet::new(), BTreeSet::new());
    for item in all_entries(&broker).await {
        let event = &item["event"];
        match item["kind"].as_str().unwrap() {
            "agent.invited" => {
                codes.insert((event["operator"].to_string(), event["code"].to_string()));
            }
            "subject.revoked" => {
                let ended = event["subject"]["name"].to_string();
                over.extend(codes.iter().filter(|(by, _)| *by == ended).map(|(_, code)| code.clone()));
            }
            "instance.enrolled" => {
                assert!(!over.contains(&event["code"].to_string()), "entry {}", item["seq"])
            }
            _ => {}
        }
    }
    assert_eq!(over.len(), ROUNDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_applications_at_once_are_one_after_the_other() {
    let broker = Arc::new(TestBroker::declared().await);
    let tries: Vec<_> = (0..16)
        .map(|i| {
            let broker = Arc::clone(&broker);
            tokio::spawn(async move {
                let text = format!("[[agent]]\nname = \"agent-{i}\"\nroles = [\"publisher\"]\n");
                broker.apply(&text).await
            })
        })
        .collect();
    let mut applied = 0;
    for one in tries {
        let reply = one.await.unwrap();
        match reply.status {
            200 => applied += 1,
            503 => assert_eq!(reply.code(), "modified_concurrently"),
            // Two applications of an operator are under way already.
            429 => assert_eq!(reply.code(), "operator_too_many_heavy_requests"),
            _ => panic!("{}", reply.text()),
        }
    }
    let agents: Value = broker.operator().get("/v1/agents").await.json();
    assert_eq!(agents["items"].as_array().unwrap().len(), applied);
    assert!(applied > 0);
}

/// Hazard HTTP-17.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_hangs_up_leaves_ledger_and_state_in_step() {
    use tokio::io::AsyncWriteExt;
    let broker = TestBroker::start_with("[quota]\nmints_per_s = 1000\nmints_burst = 1000\n").await;
    broker.declare().await;
    let agent = broker.agent("a", &["publisher"]).await;
    let body = "grant_type=client_credentials&scope=reports.read";
    let request = format!(
        "POST /oauth/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for _ in 0..40 {
        let stream = tokio::net::TcpStream::connect(agent.caller.address).await.unwrap();
        let name = tokio_rustls::rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&agent.caller.config));
        let mut stream = connector.connect(name, stream).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        drop(stream);
    }
    agent.token("reports.read").await;
    let minted = broker.entries("token.minted").await;
    let tokens: std::collections::BTreeSet<_> =
        minted.iter().map(|item| item["event"]["token"].as_str().unwrap().to_owned()).collect();
    assert_eq!(tokens.len(), minted.len(), "each recorded once");
}
