//! What the schedule does about the broker's signing keys by itself.

use keyward::base::limits::{AUTHORITY_LEAD_S, LEEWAY_S, TOKEN_KEY_LEAD_S, TOKEN_LIFE_MAX_S};
use keyward::keyring::Family;
use serde_json::json;

use crate::signing_keys::{DAY_S, good, held, knowing, post, published, renew};
use crate::support::broker::TestBroker;

const LEAD_S: u32 = TOKEN_KEY_LEAD_S as u32;

#[tokio::test]
async fn token_keys_follow_their_schedule_with_an_overlap() {
    let mut broker = TestBroker::start_with("[tokens]\nkey_life_s = 86400\n").await;
    let first = published(&broker).await;
    broker.clock.advance_s(DAY_S - LEAD_S - 1);
    broker.look_after().await;
    assert_eq!(published(&broker).await, first, "an hour before its time there is one");
    broker.clock.advance_s(1);
    broker.look_after().await;
    assert_eq!(published(&broker).await.len(), 2);
    broker.restart().await;
    broker.clock.advance_s(LEAD_S);
    broker.look_after().await;
    let both = published(&broker).await;
    assert_eq!((both.len(), both[1] == first[0]), (2, true), "the new one signs, the old one verifies");
    broker.clock.advance_s(u32::try_from(TOKEN_LIFE_MAX_S + LEEWAY_S).unwrap());
    broker.look_after().await;
    assert_eq!(published(&broker).await, both[..1]);
    broker.look_after().await;
    assert_eq!(published(&broker).await, both[..1], "nothing is due twice");
}

/// Hazard KEY-12.
#[tokio::test]
async fn the_schedule_revokes_unused_key_generations_and_removes_their_keys() {
    let broker = TestBroker::start_with("[tokens]\nkey_life_s = 86400\n").await;
    good(&broker, "/v1/token-keys").await;
    good(&broker, "/v1/authorities").await;
    let known = broker.nobody(broker.agents()).get("/v1/authority").await.text();
    let force = json!({ "force": true });
    assert_eq!(post(&broker, "/v1/token-keys/2/activate").await.status, 200);
    assert_eq!(broker.operator().post_json("/v1/authorities/2/activate", &force).await.status, 200);
    broker.clock.advance_s(3604);
    broker.look_after().await;
    assert_eq!((held(&broker, Family::Token), held(&broker, Family::Authority)), (vec![1, 2], vec![1, 2]));
    broker.clock.advance_s(1);
    broker.look_after().await;
    assert_eq!((held(&broker, Family::Token), held(&broker, Family::Authority)), (vec![2], vec![1, 2]));

    // The longest life of a certificate, and the longest grace in which it can be renewed.
    broker.clock.advance_s(14 * DAY_S - 3601);
    broker.look_after().await;
    assert_eq!(held(&broker, Family::Authority), [1, 2]);
    broker.clock.advance_s(1);
    broker.look_after().await;
    assert_eq!(held(&broker, Family::Authority), [2]);
    let counting = broker.caller_knowing(&known, broker.agents(), None).get("/v1/authority").await.text();
    assert_eq!((known.matches("BEGIN").count(), counting.matches("BEGIN").count()), (2, 1));
}

#[tokio::test]
async fn the_schedule_rotates_the_authority_without_effect_on_renewals() {
    let certificates = "[certificates]\nagent_life_s = 604800\nauthority_life_s = 2592000\n";
    let broker = TestBroker::start_with(certificates).await;
    broker.declare().await;
    let mut agent = broker.agent("a", &["repo-reader"]).await;
    let mut known = broker.authority_pem();
    let (lead, mut seen) = (AUTHORITY_LEAD_S / i64::from(DAY_S), Vec::new());
    for day in 1..=45 {
        broker.clock.advance_s(DAY_S);
        broker.look_after().await;
        if day % 5 == 0 {
            (agent, known) = renew(&broker, &agent, &known).await;
        }
        let keys = held(&broker, Family::Authority);
        if seen.last().is_none_or(|(_, before)| *before != keys) {
            seen.push((day, keys));
        }
    }
    assert_eq!(
        seen,
        [(1, vec![1]), (30 - lead, vec![1, 2]), (45, vec![2])],
        "two weeks before, and two weeks and a moment after"
    );
    assert_eq!(knowing(&broker, &agent, &known).get("/v1/whoami").await.status, 200);
    let counting = broker.caller_knowing(&known, broker.agents(), None).get("/v1/authority").await.text();
    assert_eq!(counting.matches("BEGIN").count(), 1);
}

#[tokio::test]
async fn a_key_that_cannot_be_prepared_keeps_no_other_from_being_revoked() {
    let broker = TestBroker::start_with("[tokens]\nkey_life_s = 86400\n").await;
    good(&broker, "/v1/token-keys").await;
    good(&broker, "/v1/token-keys/2/activate").await;
    assert_eq!(published(&broker).await.len(), 2);
    // The next key is due too, and the keyring's file cannot be written.
    let in_the_way = broker.data().join("keyring.new");
    std::fs::create_dir(&in_the_way).unwrap();
    broker.clock.advance_s(DAY_S);
    broker.look_after().await;
    assert_eq!(published(&broker).await.len(), 1, "the former key is revoked");
    std::fs::remove_dir(&in_the_way).unwrap();
    broker.look_after().await;
    assert_eq!(published(&broker).await.len(), 2, "and the next key is prepared");
}
