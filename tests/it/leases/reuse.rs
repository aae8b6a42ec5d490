//! Logins that an agent gets again although a new one could not live for half of the requested time.

use serde_json::{Value, json};

use super::{BY_ADMIN, Scene};
use crate::refusals::refused;
use crate::renewal::renew;
use crate::support::broker::TestBroker;
use crate::support::postgres::Postgres;

/// A broker whose agents have certificates of this life, in seconds, and two logins at most.
async fn scene(agent_life_s: u32) -> Scene {
    let settings = format!("[certificates]\nagent_life_s = {agent_life_s}\n");
    Scene::with(TestBroker::start_with(&settings).await, Postgres::start(), 2, BY_ADMIN).await
}

#[tokio::test]
async fn agent_with_a_short_certificate_gets_its_login_again() {
    // Given a certificate that ends before half of the usual life of a lease
    let mut scene = scene(1200).await;
    let first = scene.lease(&json!({})).await;
    let shortened = first.0["constrained"][0].as_str().unwrap();
    assert!(shortened.contains("the agent's certificate"), "{shortened}");
    // When the agent asks again, then it gets the same login, which ends with the certificate
    scene.broker.clock.advance_s(500);
    let again = scene.lease(&json!({})).await;
    assert_eq!((again.id(), &again.0["reused"]), (first.id(), &json!(true)));
    let shortened = again.0["constrained"][0].as_str().unwrap();
    let life = shortened.strip_prefix("life shortened from 3600 s to ").unwrap();
    assert!(
        ["699 s by the agent's certificate", "700 s by the agent's certificate"].contains(&life),
        "{shortened}"
    );
    refused(&scene.act(&first, "renew", &json!({})).await, 403, "certificate_expires_too_soon");
    // And after a renewal of the certificate, the login is extended up to its end
    scene.agent = renew(&scene.broker, &scene.agent).await;
    let renewed = scene.act(&first, "renew", &json!({})).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    assert!(renewed.json()["expires_at"].as_str().unwrap() > first.field("expires_at"));
    assert_eq!(scene.lease(&json!({})).await.id(), first.id());
    // The twin: once a new login would live more than twice as long, the agent gets a new one
    scene.broker.clock.advance_s(700);
    assert_eq!(scene.lease(&json!({})).await.id(), first.id(), "both would end with the certificate");
    scene.agent = renew(&scene.broker, &scene.agent).await;
    assert_ne!(scene.lease(&json!({})).await.id(), first.id());
}

#[tokio::test]
async fn agent_whose_life_a_policy_limits_gets_its_login_again() {
    // Given a policy that limits leases to less than half of their usual life
    let scene = scene(604_800).await;
    let limit = "[[policy]]\nname = \"short\"\nrule = '''\n@max_ttl(\"15m\")\n\
                 forbid (principal, action == Keyward::Action::\"lease\", resource);\n'''\n";
    let applied = scene.broker.apply(limit).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    // When the agent asks often, then it gets the same login while half of the limit is left
    let first = scene.lease(&json!({})).await;
    scene.broker.clock.advance_s(400);
    assert_eq!(scene.lease(&json!({})).await.id(), first.id());
    scene.broker.clock.advance_s(100);
    assert_ne!(scene.lease(&json!({})).await.id(), first.id());
}

#[tokio::test]
async fn reused_login_says_why_it_lives_shorter_than_requested() {
    // Given a login with the longest life of its capability
    let scene = scene(604_800).await;
    let constrained = async |body: Value| scene.lease(&body).await.0["constrained"].clone();
    let long = json!({ "life_s": 14401 });
    assert_eq!(
        constrained(long.clone()).await[0],
        "life shortened from 14401 s to 14400 s by the capability"
    );
    // When the same request is made again, then the response for the present login has the same reason
    scene.broker.clock.advance_s(100);
    assert_eq!(constrained(long).await[0], "life shortened from 14401 s to 14300 s by the capability");
    // And if a new login would live as long as requested, the reason is the age of the present one
    let aged = constrained(json!({ "life_s": 14400 })).await;
    assert!(aged[0].as_str().unwrap().contains("from 14400 s to 14300 s by the age of the login"), "{aged}");
    // The twins: a life that the login has, and no requested life
    assert_eq!(constrained(json!({ "life_s": 14300 })).await, json!(null));
    assert_eq!(constrained(json!({})).await, json!(null));
}
