//! A decision holds only as long as what it was made on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::renewal::renew;
use crate::support::broker::{Caller, TestBroker};

/// Rounds of giving a role and taking it away under load.
const ROUNDS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rev_02_a_mint_decided_before_a_role_was_taken_away_never_commits_after_it() {
    let broker =
        Arc::new(TestBroker::start_with("[quota]\nmints_per_s = 100000\nmints_burst = 100000\n").await);
    broker.declare().await;
    let agent = Arc::new(broker.agent("a", &["publisher"]).await);
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
                    match (reply.status, reply.status == 200 || reply.code() == "capability_not_granted") {
                        (200, _) => given += 1,
                        (_, true) => refused += 1,
                        (503, _) => assert_eq!(reply.code(), "busy_conflict"),
                        _ => panic!("{}", reply.text()),
                    }
                }
                (given, refused)
            })
        })
        .collect();
    for _ in 0..ROUNDS {
        for roles in ["[]", "[\"publisher\"]"] {
            let text = format!("[[agent]]\nname = \"a\"\nroles = {roles}\n");
            assert_eq!(broker.apply(&text).await.status, 200);
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
        let touched = changes.into_iter().flatten().any(|change| change["name"] == "a");
        if item["kind"] == "declarations.applied" && touched {
            held = !held;
        }
        if item["kind"] == "token.minted" {
            assert!(held, "entry {} was minted after the role was taken away", item["seq"]);
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
    while let Ok(reply) = open.send("POST", "/oauth/token", &headers, form).await {
        if ![200, 503].contains(&reply.status) {
            assert_eq!(reply.code(), "certificate_unknown");
            return;
        }
    }
}

/// The whole ledger, page by page.
async fn all_entries(broker: &TestBroker) -> Vec<Value> {
    let (mut after, mut entries) = (0, Vec::new());
    loop {
        let page = broker.operator().get(&format!("/v1/ledger/entries?after={after}")).await.json();
        entries.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_after"].as_u64() {
            Some(next) => after = next,
            None => return entries,
        }
    }
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
            503 => assert_eq!(reply.code(), "busy_conflict"),
            _ => panic!("{}", reply.text()),
        }
    }
    let agents: Value = broker.operator().get("/v1/agents").await.json();
    assert_eq!(agents["items"].as_array().unwrap().len(), applied);
    assert!(applied > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_17_a_caller_that_hangs_up_leaves_ledger_and_state_in_step() {
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
