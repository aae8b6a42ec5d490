//! Many at once: what fell due during a stop, and reads meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::{BY_ADMIN, BYTES, Scene};
use crate::support::broker::TestBroker;

/// Secrets that are all overdue.
const MANY: usize = 1000;

fn many() -> String {
    let one = |index: usize| {
        format!(
            "[[rotation]]\nsecret = \"many/s{index}\"\nevery = \"6h\"\ngrace = \"1h\"\nupstream = {{ driver = \"generate\" }}\n"
        )
    };
    let reading = "[[capability]]\nname = \"many.read\"\naccess = \"read\"\ndelivery = \"reveal\"\nsecret = \"many/s0\"\nmax_life_s = 3600\n[[role]]\nname = \"many\"\ncapabilities = [\"many.read\"]\n";
    let all: String = (0..MANY).map(one).collect();
    format!("{reading}{all}")
}

#[tokio::test]
async fn rot_09_a_thousand_overdue_secrets_rotate_once_each_spread_out_while_reads_go_on() {
    let mut broker = TestBroker::start().await;
    assert_eq!(broker.operator().put("/v1/secrets/many/s0", BYTES, b"first").await.status, 201);
    let applied = broker.apply(&many()).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    let agent = broker.agent("many-bot", &["many"]).await;
    // A stop in which everything fell due, most of it more than once.
    broker.stop().await;
    broker.clock.advance_s(11 * 3600);
    broker.serve().await;
    let agent_again = broker.caller(broker.agents(), Some(&agent.certificate), Some(&agent.key));
    let agent = crate::support::broker::Agent { caller: agent_again, ..agent };
    let mut looks = 0;
    loop {
        broker.rotate_due().await;
        let token = agent.token("many.read").await;
        let read = agent.secret("many/s0", &token).await;
        assert!(read.status == 200 && !read.body.is_empty(), "{}", read.text());
        let all = broker.operator().get("/v1/rotations").await.json();
        let items = all["items"].as_array().unwrap();
        let begun = items.iter().filter(|item| !item["run"].is_null() || !item["last_at"].is_null()).count();
        assert!(begun <= 25 * (looks + 1), "spread out: {begun} after {} looks", looks + 1);
        looks += 1;
        if begun == MANY {
            break;
        }
        broker.clock.advance_s(10);
    }
    assert_eq!(looks, MANY / 25, "as fast as is meant");
    broker.rotate_due().await;
    let all = broker.operator().get("/v1/rotations").await.json();
    for item in all["items"].as_array().unwrap() {
        // Each is in its grace after one rotation, and the next is to come.
        assert_eq!(
            (&item["run"]["stage"], item["run"]["failures"].as_u64()),
            (&Value::from("draining"), Some(0)),
            "{item}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rot_08_no_read_during_a_rotation_gets_a_value_that_fails() {
    let scene = Arc::new(Scene::start("", BY_ADMIN).await);
    let over = Arc::new(AtomicBool::new(false));
    let reading = tokio::spawn({
        let (scene, over) = (Arc::clone(&scene), Arc::clone(&over));
        async move {
            let mut reads = 0;
            while !over.load(Ordering::Acquire) {
                let before = scene.shown().await;
                let (value, _) = scene.read().await;
                let after = scene.shown().await;
                // A value that was read while nothing was under way, before and after, is the one.
                if before["last_at"] == after["last_at"] && before["run"].is_null() && after["run"].is_null()
                {
                    assert!(scene.postgres.lets_in("app", &value), "read {reads}");
                }
                assert!(!value.is_empty());
                reads += 1;
            }
            reads
        }
    });
    for round in 2..6 {
        scene.act("rotate").await;
        scene.broker.rotate_due().await;
        assert_eq!(scene.read().await.1, round.to_string());
    }
    over.store(true, Ordering::Release);
    assert!(reading.await.unwrap() > 0);
}

#[tokio::test]
async fn while_no_value_is_known_to_work_reads_wait_and_are_told() {
    let scene = Scene::start("", BY_ADMIN).await;
    // Upstream hangs up in the middle of being told: whether it took the value is not known.
    let token = scene.agent.token("orders.read").await;
    let lock = scene.postgres.hold("app");
    scene.act("rotate").await;
    scene.broker.rotate_due().await;
    let run = scene.shown().await["run"].clone();
    assert_eq!(
        (run["stage"].as_str(), run["trouble"]["code"].as_str()),
        (Some("prepared"), Some("upstream_slow")),
        "{run}"
    );
    let refused = scene.agent.secret("orders-db/app", &token).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "secret_swapping"), "{}", refused.text());
    assert_eq!(refused.header("retry-after"), "5");
    scene.postgres.let_go(lock);
    scene.broker.clock.advance_s(60);
    scene.broker.rotate_due().await;
    let (value, version) = scene.read().await;
    assert_eq!(version, "2");
    assert!(scene.postgres.lets_in("app", &value));
}
