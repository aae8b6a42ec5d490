//! Quotas of operators, and heavy requests: how many are under way, and who is answered meanwhile.

use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use keyward::base::limits::{
    ADMIN_THREADS, HEAVY_PER_OPERATOR_MAX, HEAVY_REQUESTS_MAX, JOB_END_WAIT_S, JOB_THREADS,
    LISTENER_END_WAIT_S,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::client::TlsStream;

use crate::refusals::refused;
use crate::support::broker::{Caller, TestBroker};
use crate::support::host::ask;

/// More than any wait for a request to arrive takes.
const LOOKS_MAX: usize = 1000;

/// A plan that is under way: its body has not come yet.
async fn begun(operator: &Caller) -> TlsStream<TcpStream> {
    let before = under_way(operator).await;
    let mut stream = operator.open().await.unwrap();
    let head = "POST /v1/plan HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 12\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    for _ in 0..LOOKS_MAX {
        if under_way(operator).await > before {
            return stream;
        }
    }
    panic!("the request was never taken on");
}

async fn under_way(operator: &Caller) -> usize {
    let text = operator.get("/metrics").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix("keyward_heavy_requests "));
    line.unwrap().parse().unwrap()
}

async fn ended(mut stream: TlsStream<TcpStream>) -> String {
    stream.write_all(b"{\"files\":[]}").await.unwrap();
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer).await);
    answer
}

#[tokio::test]
async fn an_operator_has_two_heavy_requests_under_way_and_revokes_all_the_same() {
    let broker = TestBroker::declared().await;
    broker.agent("a", &["publisher"]).await;
    let operator = broker.operator();
    let mut under_way = Vec::new();
    for _ in 0..HEAVY_PER_OPERATOR_MAX {
        under_way.push(begun(&operator).await);
    }
    let plan = json!({ "files": [{ "name": "a.toml", "text": "" }] });
    let beyond = operator.post_json("/v1/plan", &plan).await;
    refused(&beyond, 429, "operator_too_many_heavy_requests");
    assert_eq!(beyond.header("retry-after"), "1");
    refused(&operator.get("/v1/rotation-calendar").await, 429, "operator_too_many_heavy_requests");
    refused(&operator.get("/v1/ledger/entries").await, 429, "operator_too_many_heavy_requests");

    let revoked = operator.post_json("/v1/agents/a/revoke", &json!({})).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    assert_eq!(operator.get("/livez").await.status, 200);

    for stream in under_way {
        assert!(ended(stream).await.contains("file_count_invalid"), "the body came, and was judged");
    }
    assert_eq!(operator.post_json("/v1/plan", &plan).await.status, 200);
    const { assert!(HEAVY_PER_OPERATOR_MAX < HEAVY_REQUESTS_MAX) };
}

#[tokio::test]
async fn an_operator_beyond_its_quota_waits_and_revokes_all_the_same() {
    let broker = TestBroker::start_with("[quota]\noperations_per_s = 1\noperations_burst = 2\n").await;
    let operator = broker.operator();
    assert_eq!(operator.get("/v1/whoami").await.status, 200);
    assert_eq!(operator.get("/v1/agents").await.status, 200);
    let beyond = operator.get("/v1/agents").await;
    refused(&beyond, 429, "rate_limited");
    assert_eq!(beyond.header("retry-after"), "2");
    // There is no such agent: it was looked for.
    refused(&operator.post_json("/v1/agents/a/revoke", &json!({})).await, 404, "subject_unknown");
    refused(&operator.post_json("/v1/operators/b/suspend", &json!({})).await, 404, "operator_unknown");
    broker.clock.advance_s(1);
    assert_eq!(operator.get("/v1/agents").await.status, 200);
}

/// Keeps all threads of a runtime busy until it is dropped.
struct Busy(Arc<(Mutex<bool>, Condvar)>);

impl Busy {
    fn all_of(runtimes: &[Handle]) -> Self {
        let latch = Arc::new((Mutex::new(false), Condvar::new()));
        let (tell, told) = mpsc::channel();
        let mut threads = 0;
        for runtime in runtimes {
            for _ in 0..runtime.metrics().num_workers() {
                let (latch, tell) = (Arc::clone(&latch), tell.clone());
                threads += 1;
                runtime.spawn(async move {
                    tell.send(()).unwrap();
                    let mut released = latch.0.lock().unwrap();
                    while !*released {
                        released = latch.1.wait(released).unwrap();
                    }
                });
            }
        }
        for _ in 0..threads {
            told.recv_timeout(Duration::from_secs(30)).expect("a thread that is free");
        }
        Self(latch)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_revocation_and_stop_work_while_all_threads_for_agents_are_busy() {
    let mut broker = TestBroker::declared().await;
    broker.agent("a", &["publisher"]).await;
    broker.agent("b", &["publisher"]).await;
    let operator = broker.operator();
    let _plans = (begun(&operator).await, begun(&operator).await);
    let [agents, admins, jobs] = broker.runtimes();
    assert_eq!((admins.metrics().num_workers(), jobs.metrics().num_workers()), (ADMIN_THREADS, JOB_THREADS));
    const { assert!(LISTENER_END_WAIT_S < JOB_END_WAIT_S) };
    let _busy = Busy::all_of(&[agents]);

    let nobody = broker.nobody(broker.admins());
    assert_eq!(nobody.get("/livez").await.status, 200);
    assert_eq!(nobody.get("/readyz").await.status, 200);
    let revoked = operator.post_json("/v1/agents/a/revoke", &json!({})).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    on_host_revoked(&broker, "b").await;
    // Without a word from the threads that are busy: they are still, when this has returned.
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_and_the_host_are_answered_while_operator_threads_are_busy() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["publisher"]).await;
    let [_, admins, jobs] = broker.runtimes();
    let _busy = Busy::all_of(&[admins, jobs]);
    assert_eq!(broker.nobody(broker.agents()).get("/livez").await.status, 200);
    agent.token("reports.publish").await;
    on_host_revoked(&broker, "a").await;
}

/// Breaks the glass for a revocation of `agent`.
async fn on_host_revoked(broker: &TestBroker, agent: &str) {
    let (socket, path) = (broker.config.listen.host.clone(), format!("/v1/agents/{agent}/revoke"));
    let asked = tokio::task::spawn_blocking(move || ask(&socket, "POST", &path, &Value::Null));
    let revoked = asked.await.unwrap();
    assert_eq!(revoked.status, 200, "{}", revoked.text());
}
