//! Many at once: what fell due during a stop, and reads meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyward::base::limits::{CALENDAR_LINES_MAX, ROTATIONS_AT_ONCE_MAX, ROTATIONS_BEGUN_MAX};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{BY_ADMIN, BYTES, LOOPBACK, Scene};
use crate::support::broker::TestBroker;
use crate::support::postgres::ADMIN_PASSWORD;

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

/// Hazard ROT-09.
#[tokio::test]
async fn a_thousand_overdue_secrets_rotate_once_each_while_reads_go_on() {
    let mut broker = TestBroker::start().await;
    // The first value of a secret without one would not wait for its schedule.
    let operator = broker.operator();
    for index in 0..MANY {
        assert_eq!(operator.put(&format!("/v1/secrets/many/s{index}"), BYTES, b"first").await.status, 201);
    }
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
        assert!(begun <= ROTATIONS_BEGUN_MAX * (looks + 1), "spread out: {begun} after {} looks", looks + 1);
        looks += 1;
        if begun == MANY {
            break;
        }
        assert!(looks < MANY, "{begun} of them have begun");
        broker.clock.advance_s(10);
    }
    assert_eq!(looks, MANY / ROTATIONS_BEGUN_MAX, "as fast as is meant");
    broker.rotate_due().await;
    let all = broker.operator().get("/v1/rotations").await.json();
    for item in all["items"].as_array().unwrap() {
        // Each is in its grace after one rotation, and the next is to come.
        assert_eq!(
            (&item["run"]["stage"], item["run"]["failures"].as_u64()),
            (&Value::from("grace"), Some(0)),
            "{item}"
        );
    }
}

/// An upstream that answers nobody until so many ask at once, and counts how many did at most.
struct Crowd {
    port: u16,
    /// Who asks now, and the most that did.
    inside: Arc<watch::Sender<(usize, usize)>>,
}

impl Crowd {
    async fn start(answers_from: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inside = Arc::new(watch::Sender::new((0, 0)));
        let serving = Arc::clone(&inside);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inside = Arc::clone(&serving);
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let mut line = String::new();
                    while stream.read_line(&mut line).await.unwrap_or(0) > 2 {
                        line.clear();
                    }
                    inside.send_modify(|(now, most)| {
                        *now += 1;
                        *most = (*most).max(*now);
                    });
                    inside.subscribe().wait_for(|(_, most)| *most >= answers_from).await.unwrap();
                    inside.send_modify(|(now, _)| *now -= 1);
                    let said = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    stream.get_mut().write_all(said).await.unwrap();
                });
            }
        });
        Self { port, inside }
    }

    fn most(&self) -> usize {
        self.inside.borrow().1
    }
}

#[tokio::test]
async fn so_many_rotations_are_under_way_at_a_time_and_the_next_one_waits() {
    let broker = TestBroker::start_with(LOOPBACK).await;
    let crowd = Crowd::start(ROTATIONS_AT_ONCE_MAX).await;
    let mut declared = String::new();
    for index in 0..=ROTATIONS_AT_ONCE_MAX {
        let name = format!("crowd/s{index}");
        let put = broker.operator().put(&format!("/v1/secrets/{name}"), BYTES, b"first-value").await;
        assert_eq!(put.status, 201, "{}", put.text());
        let at = format!("http://127.0.0.1:{}", crowd.port);
        declared.push_str(&format!(
            "[[rotation]]\nsecret = \"{name}\"\n[rotation.upstream]\ndriver = \"http\"\n\
             verify = {{ url = \"{at}/me\", bearer = \"value\" }}\n\
             apply = {{ url = \"{at}/key\", body = '\"{{{{value}}}}\"' }}\n"
        ));
    }
    let applied = broker.apply(&declared).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    let all =
        async || broker.operator().get("/v1/rotations").await.json()["items"].as_array().unwrap().clone();
    for rotation in all().await {
        let path = format!("/v1/rotations/{}", rotation["secret"].as_str().unwrap());
        let begun = broker.operator().post_json(&path, &json!({ "action": "rotate" })).await;
        assert_eq!(begun.status, 200, "{}", begun.text());
    }
    broker.rotate_due().await;
    assert_eq!(crowd.most(), ROTATIONS_AT_ONCE_MAX);
    for rotation in all().await {
        assert!(rotation["last_at"].is_string() && rotation["run"].is_null(), "{rotation}");
    }
}

#[tokio::test]
async fn a_calendar_has_so_many_lines_and_the_latest_are_left_out() {
    let broker = TestBroker::start().await;
    let year_s = 366 * 24 * 3600;
    let declare = async |secret: &str, every_s: usize| {
        let stored = broker.operator().put(&format!("/v1/secrets/{secret}"), BYTES, b"first").await;
        assert_eq!(stored.status, 201, "{}", stored.text());
        let text = format!(
            "[[rotation]]\nsecret = \"{secret}\"\nevery = \"{every_s}s\"\nupstream = {{ driver = \"generate\" }}\n"
        );
        let applied = broker.apply(&text).await;
        assert_eq!(applied.status, 200, "{}", applied.text());
    };
    let calendar = async || {
        let page = broker.operator().get("/v1/rotation-calendar").await.json();
        let lines = page["items"].as_array().unwrap().iter();
        lines.map(|line| line["secret"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    declare("often", year_s / CALENDAR_LINES_MAX).await;
    assert_eq!(calendar().await, vec!["often"; CALENDAR_LINES_MAX], "at the limit");
    declare("once", year_s).await;
    assert_eq!(calendar().await, vec!["often"; CALENDAR_LINES_MAX], "one beyond it");
    let paused = json!({ "action": "pause" });
    assert_eq!(broker.operator().post_json("/v1/rotations/often", &paused).await.status, 200);
    assert_eq!(calendar().await, ["once"]);
}

/// Hazard ROT-08.
#[tokio::test(flavor = "multi_thread")]
async fn no_read_during_a_rotation_gets_a_value_that_fails() {
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
    let hang_up = "DO 'BEGIN LOOP PERFORM pg_stat_clear_snapshot(); \
         PERFORM pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE usename = ''keyward_admin'' AND wait_event_type = ''Lock''; \
         EXIT WHEN FOUND; END LOOP; END'";
    let mut hanging_up = scene.postgres.session("postgres", ADMIN_PASSWORD, hang_up);
    scene.act("rotate").await;
    scene.broker.rotate_due().await;
    assert!(hanging_up.wait().unwrap().success());
    let run = scene.shown().await["run"].clone();
    let code = run["trouble"]["code"].as_str().unwrap();
    assert!(
        run["stage"] == "prepared" && ["upstream_refused", "upstream_unreachable"].contains(&code),
        "{run}"
    );
    let refused = scene.agent.secret("orders-db/app", &token).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "secret_value_uncertain"),
        "{}",
        refused.text()
    );
    assert_eq!(refused.header("retry-after"), "5");
    scene.postgres.let_go(lock);
    scene.broker.clock.advance_s(60);
    scene.broker.rotate_due().await;
    let (value, version) = scene.read().await;
    assert_eq!(version, "2");
    assert!(scene.postgres.lets_in("app", &value));
}
