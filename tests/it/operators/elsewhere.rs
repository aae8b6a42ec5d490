//! Certificates of programs that are used from outside their networks.

use keyward::base::encoding::base64url;
use keyward::base::limits::{OPERATOR_LIFE_MIN_S, SOURCE_NOTE_PAUSE_S, SOURCE_NOTES_PER_CALLER_MAX};
use keyward::pki::new_key_and_request;
use serde_json::{Value, json};

use super::{ELSEWHERE, HERE, Operator, change, join, profile, refused};
use crate::support::broker::TestBroker;

const KIND: &str = "alarm.operator-elsewhere";

/// A service that is bound to another network after it has joined.
async fn displaced(broker: &TestBroker) -> Operator {
    let invited = json!({ "kind": "service", "networks": [HERE], "life_s": OPERATOR_LIFE_MIN_S });
    let service = join(broker, "prometheus", &invited).await;
    assert_eq!(change(&broker.operator(), "prometheus", &profile(&[ELSEWHERE])).await.status, 200);
    service
}

async fn peers(broker: &TestBroker) -> Vec<Value> {
    broker.entries(KIND).await.iter().map(|entry| entry["event"]["peer"].clone()).collect()
}

#[tokio::test]
async fn late_certificate_from_elsewhere_raises_the_alarm() {
    // Given a service that is used from elsewhere after its certificate expired
    let broker = TestBroker::declared().await;
    let service = displaced(&broker).await;
    broker.clock.advance_s(u32::try_from(OPERATOR_LIFE_MIN_S).unwrap());
    // When it sends a request, then it is refused as from elsewhere, with the alarm
    refused(&service.caller.get("/metrics").await, 403, "operator_outside_network");
    assert_eq!(peers(&broker).await, ["127.0.0.1"]);
    // And so is a renewal.
    broker.clock.advance_s(u32::try_from(SOURCE_NOTE_PAUSE_S).unwrap());
    let (_, request) = new_key_and_request().unwrap();
    let renewal = service.caller.post_json("/v1/renew", &json!({ "csr": base64url(&request) })).await;
    refused(&renewal, 403, "operator_outside_network");
    assert_eq!(peers(&broker).await, ["127.0.0.1", "127.0.0.1"]);
}

#[tokio::test]
async fn misconfigured_program_hides_no_other_use_from_elsewhere() {
    // Given a scraper in a wrong network, which raises the alarm
    let broker = TestBroker::declared().await;
    let service = displaced(&broker).await;
    for _ in 0..3 {
        refused(&service.caller.get("/metrics").await, 403, "operator_outside_network");
    }
    assert_eq!(peers(&broker).await, ["127.0.0.1"]);
    // When its certificate is used from another address, then this is an alarm of its own
    let used_from = async |last: u8| {
        let mut connection = service.caller.connect_from([127, 0, 0, last]).await.unwrap();
        connection.send("GET", "/metrics", &[], b"").await.unwrap()
    };
    refused(&used_from(2).await, 403, "operator_outside_network");
    assert_eq!(peers(&broker).await, ["127.0.0.1", "127.0.0.2"]);
    // And many addresses raise a limited number of alarms.
    for last in 3..=u8::try_from(SOURCE_NOTES_PER_CALLER_MAX).unwrap() + 3 {
        refused(&used_from(last).await, 403, "operator_outside_network");
    }
    assert_eq!(peers(&broker).await.len(), SOURCE_NOTES_PER_CALLER_MAX);
}
