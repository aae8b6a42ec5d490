//! A clone of a broker's virtual machine, which shares lock file and machine id with the original.

use keyward::base::Clock as _;

use super::{BY_ADMIN, BY_ITSELF, Scene};
use crate::support::postgres::ADMIN_PASSWORD;
use crate::support::process::{order_adoption, order_adoption_at, put_back};

impl Scene {
    async fn rotated(&self, action: &str) -> String {
        assert_eq!(self.act(action).await.status, 200);
        self.broker.rotate_due().await;
        self.shown().await["run"]["trouble"]["code"].as_str().unwrap_or_default().to_owned()
    }

    fn comment(&self, role: &str) -> String {
        self.postgres.sql(&format!("SELECT shobj_description('{role}'::regrole, 'pg_authid')"))
    }

    /// Has the role's mark be one of another copy, a thousand entries and `later_s` seconds later than it is.
    fn mark_by_another_copy(&self, later_s: i64) {
        let comment = self.comment("app");
        let [mark, ledger, seq, ms] = comment.trim_end_matches(']').split(' ').collect::<Vec<_>>()[..] else {
            panic!("{comment}");
        };
        let (seq, ms): (u64, i64) = (seq.parse().unwrap(), ms.parse().unwrap());
        let (seq, ms) = (seq + 1000, ms + later_s * 1000);
        self.postgres.sql(&format!("COMMENT ON ROLE app IS '{mark} {ledger} {seq} {ms}]'"));
    }

    fn verifier(&self) -> String {
        self.postgres.sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")
    }

    /// The broker goes on from what its data were, as a clone of then does.
    async fn becomes_clone_of(&mut self, before: &std::path::Path) {
        self.broker.stop().await;
        put_back(before, &self.broker.data());
        drop(std::fs::remove_file(self.broker.data().join("anchor")));
        drop(std::fs::remove_dir_all(self.broker.data().join("index")));
        self.broker.serve().await;
    }

    async fn data_of_now(&mut self) -> std::path::PathBuf {
        self.broker.stop().await;
        let now = self.broker.path().join("now");
        put_back(&self.broker.data(), &now);
        self.broker.serve().await;
        now
    }
}

#[tokio::test]
async fn a_clone_changes_no_password_after_the_original_has() {
    // Given a clone of a broker, and a role with a comment of its owner's
    let mut scene = Scene::start("", BY_ADMIN).await;
    scene.postgres.sql("COMMENT ON ROLE app IS 'ask the ''orders'' team'");
    assert_eq!(scene.rotated("rotate").await, "");
    let clone = scene.data_of_now().await;
    // When the original rotates, then the role's comment names its newest entry, and says the rest as before
    assert_eq!(scene.rotated("rotate").await, "");
    let (comment, verifier) = (scene.comment("app"), scene.verifier());
    assert!(comment.starts_with("ask the 'orders' team [keyward "), "{comment}");
    assert_eq!(comment.matches("keyward").count(), 1, "{comment}");
    // When the clone rotates, then it changes nothing, and raises an alarm
    scene.becomes_clone_of(&clone).await;
    assert_eq!(scene.rotated("rotate").await, "upstream_changed_by_copy");
    assert_eq!((scene.comment("app"), scene.verifier()), (comment, verifier.clone()));
    let metrics = scene.broker.operator().get("/metrics").await.text();
    assert!(metrics.contains("keyward_alarms_total{alarm=\"copy_active\"} 1"), "{metrics}");
    // When an operator has said on the host that the original has stopped, then it goes on
    order_adoption(&scene.broker.data());
    scene.broker.restart().await;
    assert_eq!(scene.broker.entries("data.adopted").await.last().unwrap()["event"]["by"], "host uid 0");
    scene.broker.clock.advance_s(120);
    assert_eq!(scene.rotated("retry").await, "");
    assert!(scene.shown().await["run"].is_null());
    assert_ne!(scene.verifier(), verifier);
}

#[tokio::test]
async fn a_role_that_may_not_change_its_comment_is_rotated_all_the_same() {
    let scene = Scene::start("", BY_ITSELF).await;
    assert_eq!(scene.rotated("rotate").await, "");
    assert_eq!(scene.comment("app"), "");
    assert!(scene.postgres.lets_in("app", &scene.read().await.0));
}

/// Tries of a test to see that a session waits.
const LOOKS: usize = 1000;

#[tokio::test]
async fn a_mark_that_is_left_before_the_change_is_made_is_seen() {
    // Given a broker whose change of a role waits for a lock
    let scene = Scene::start("", BY_ADMIN).await;
    assert_eq!(scene.rotated("rotate").await, "");
    let verifier = scene.verifier();
    let lock = "BEGIN; LOCK TABLE pg_authid IN SHARE MODE; SELECT pg_sleep(600)";
    let held = scene.postgres.session("postgres", ADMIN_PASSWORD, lock);
    let sees = |what: &str| {
        scene.postgres.sql(&format!("SELECT count(*) FROM pg_stat_activity WHERE {what}")) != "0"
    };
    assert!((0..LOOKS).any(|_| sees("wait_event = 'PgSleep'")));
    assert_eq!(scene.act("rotate").await.status, 200);
    // When another copy leaves its mark meanwhile
    let meanwhile = async {
        let mut looks = 0..LOOKS;
        while looks.next().is_some() && !sees("wait_event_type = 'Lock' AND query LIKE '%ALTER ROLE%'") {
            tokio::task::yield_now().await;
        }
        scene.mark_by_another_copy(0);
        scene.postgres.let_go(held);
    };
    tokio::join!(scene.broker.rotate_due(), meanwhile);
    // Then nothing is changed
    let trouble = scene.shown().await["run"]["trouble"].clone();
    assert_eq!(
        (&trouble["code"], scene.verifier()),
        (&"upstream_changed_by_copy".into(), verifier),
        "{trouble}"
    );
}

#[tokio::test]
async fn an_adoption_passes_over_a_mark_from_a_clock_that_is_ahead() {
    // Given a role where another copy acted whose clock is a day ahead
    let mut scene = Scene::start("", BY_ADMIN).await;
    assert_eq!(scene.rotated("rotate").await, "");
    scene.mark_by_another_copy(86_400);
    order_adoption(&scene.broker.data());
    scene.broker.restart().await;
    let verifier = scene.verifier();
    assert_eq!(scene.rotated("rotate").await, "upstream_changed_by_copy", "the adoption did not know of it");
    let detail = scene.shown().await["run"]["trouble"]["detail"].to_string();
    assert!(detail.starts_with("\"entry 1"), "{detail}");
    scene.broker.clock.advance_s(120);
    assert_eq!(scene.rotated("retry").await, "upstream_changed_by_copy", "a retry alone is no adoption");
    assert_eq!(scene.verifier(), verifier);
    // When the copy is adopted again, then it is passed over, and another one is not
    order_adoption(&scene.broker.data());
    scene.broker.restart().await;
    scene.broker.clock.advance_s(120);
    assert_eq!(scene.rotated("retry").await, "");
    assert_ne!(scene.verifier(), verifier);
    scene.mark_by_another_copy(86_400);
    assert_eq!(scene.rotated("rotate").await, "upstream_changed_by_copy");
}

#[tokio::test]
async fn an_order_to_adopt_counts_from_when_it_was_given() {
    // Given an order to adopt that waits for a start, and another copy that acts before the order, or after it
    let mut scene = Scene::start("", BY_ADMIN).await;
    assert_eq!(scene.rotated("rotate").await, "");
    for (ordered_after_s, trouble) in [(30, ""), (10, "upstream_changed_by_copy")] {
        let ordered_at = scene.broker.clock.now().plus_s(ordered_after_s);
        order_adoption_at(&scene.broker.data(), ordered_at);
        scene.mark_by_another_copy(20);
        // When the broker starts a minute later, then the order counts, and says nothing of what came after it
        scene.broker.clock.advance_s(60);
        scene.broker.restart().await;
        let adopted = scene.broker.entries("data.adopted").await;
        assert_eq!(adopted.last().unwrap()["event"]["ordered_at"], serde_json::json!(ordered_at));
        assert_eq!(scene.rotated("rotate").await, trouble, "{ordered_after_s}");
        // And an order that is there again, because the broker was killed before it removed it, is no new one
        order_adoption_at(&scene.broker.data(), ordered_at);
        scene.broker.restart().await;
        assert_eq!(scene.broker.entries("data.adopted").await.len(), adopted.len());
        assert!(!scene.broker.data().join("adopt").exists());
    }
}
