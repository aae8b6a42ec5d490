//! Many at once, with the server restarted in the middle.

use std::io::Write;

use serde_json::json;

use super::{BY_ADMIN, Scene};

const PER_AGENT: u32 = 200;

/// Issues and revokes `count` logins, some at a time, and restarts PostgreSQL while logins are made and
/// while they end: nothing is left of any.
async fn storm(count: usize) {
    let mut scene = Scene::start_with(PER_AGENT, BY_ADMIN).await;
    // More than all logins of one agent may have at once.
    scene.postgres.sql("ALTER SYSTEM SET max_connections = 1100");
    scene.postgres.stop();
    scene.postgres.run();
    let (mut made, mut failed, mut waves) = (0, 0, 0);
    while made < count {
        waves += 1;
        assert!(waves < count, "{made} logins were made in {waves} waves");
        let wave: Vec<_> = (0..20)
            .map(|_| {
                let (caller, body) =
                    (scene.agent.caller.clone(), json!({ "capability": "orders.query", "fresh": true }));
                tokio::spawn(async move { caller.post_json("/v1/leases", &body).await })
            })
            .collect();
        // In the middle of a wave, twice: logins that are being created then are not confirmed.
        if made >= count / 2 && failed == 0 {
            scene.postgres.stop();
            scene.postgres.run();
            failed = 1;
        }
        for asked in wave {
            let reply = asked.await.unwrap();
            let is_cut = reply.status == 503 && reply.code().starts_with("upstream_");
            assert!(reply.status == 200 || is_cut, "{}", reply.text());
            made += usize::from(reply.status == 200);
        }
        let issued = scene.broker.operator().post_json("/v1/lease-endings", &json!({ "all": true })).await;
        assert_eq!(issued.status, 200, "{}", issued.text());
        if made >= count / 2 && failed == 1 {
            scene.postgres.stop();
            scene.broker.end_due_leases().await;
            scene.postgres.run();
            failed = 2;
        }
        // Nobody has more than there may be outstanding, however slow the server is.
        for _ in 0..50 {
            if scene.listed().await.len() < PER_AGENT as usize / 2 {
                break;
            }
            scene.broker.end_due_leases().await;
            scene.broker.clock.advance_s(120);
        }
        scene.broker.clock.advance_s(20);
    }
    assert_eq!(failed, 2, "the server was restarted");
    for _ in 0..50 {
        scene.broker.end_due_leases().await;
        if scene.listed().await.is_empty() {
            break;
        }
        scene.broker.clock.advance_s(120);
    }
    assert_eq!(scene.listed().await, Vec::<serde_json::Value>::new());
    assert_eq!(scene.logins(), "");
    let line = format!(
        "{made} logins issued and revoked, PostgreSQL restarted twice in the middle: no role is left\n"
    );
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_logins_across_a_server_restart_leave_nothing_behind() {
    storm(200).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "five thousand logins: scripts/soak"]
async fn soak_leases_leave_nothing_behind() {
    storm(5000).await;
}
