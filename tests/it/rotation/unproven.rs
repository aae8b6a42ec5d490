//! A process that took the port of a PostgreSQL server, and knows no password.

use serde_json::{Value, json};

use super::{BY_ITSELF, BYTES, FIRST, READING};
use crate::support::broker::TestBroker;
use crate::support::false_postgres::{ALL, Asks, FalsePostgres};

const ROTATION: &str = "/v1/rotations/orders-db/app";

async fn shown(broker: &TestBroker) -> Value {
    broker.operator().get(ROTATION).await.json()
}

#[tokio::test]
async fn a_server_without_a_scram_signature_is_not_believed() {
    // Given a rotation at such a process, with TLS and without
    for has_tls in [false, true] {
        let server = FalsePostgres::start(has_tls).await;
        let broker = TestBroker::start().await;
        let operator = broker.operator();
        operator.put("/v1/secrets/orders-db/app", BYTES, FIRST.as_bytes()).await;
        let upstream = server.declared() + BY_ITSELF;
        let text =
            format!("{READING}\n[[rotation]]\nsecret = \"orders-db/app\"\n[rotation.upstream]\n{upstream}\n");
        let applied = broker.apply(&text).await;
        assert_eq!(applied.status, 200, "{}", applied.text());
        // When it is rotated, however the process lets the broker in
        let mut action = "rotate";
        for asks in ALL {
            server.asks(asks);
            let begun = operator.post_json(ROTATION, &json!({ "action": action })).await;
            assert_eq!(begun.status, 200, "{asks:?}: {}", begun.text());
            broker.rotate_due().await;
            // Then nothing is believed, nothing is executed and the rotation stays where it was
            let run = shown(&broker).await["run"].clone();
            let at = format!("{asks:?}, TLS {has_tls}: {run}");
            assert_eq!(
                (&run["stage"], &run["trouble"]["code"]),
                (&json!("begun"), &json!("upstream_not_authenticated")),
                "{at}"
            );
            action = "retry";
            broker.clock.advance_s(1800);
            if matches!(asks, Asks::ScramOfOneIteration) {
                assert!(!server.heard().contains(",p="), "{}", server.heard());
                assert_eq!(run["trouble"]["detail"], "fewer than 4096 SCRAM iterations", "{at}");
            }
        }
        // And the password was not told, nor a hash of it, nor a proof that it is cheap to try passwords against
        let heard = server.heard();
        assert!(!heard.contains(FIRST) && !heard.contains("md5") && !heard.contains("ALTER"), "{heard:?}");
    }
}
