//! A process that took the port of a `MariaDB` server and shows its certificate learns no password, and no file.

use serde_json::{Value, json};

use super::FIRST;
use crate::rotation::BYTES;
use crate::support::broker::TestBroker;
use crate::support::false_mariadb::{Does, FalseMariaDb};

const ROTATION: &str = "/v1/rotations/orders-db/app";

#[tokio::test]
async fn a_false_mariadb_learns_no_password_and_no_file() {
    // Given a rotation at such a process
    let server = FalseMariaDb::start().await;
    let broker = TestBroker::start().await;
    let operator = broker.operator();
    operator.put("/v1/secrets/orders-db/app", BYTES, FIRST.as_bytes()).await;
    let text = format!(
        "[[rotation]]\nsecret = \"orders-db/app\"\n[rotation.upstream]\n{}user = \"app\"\n",
        server.declared()
    );
    let applied = broker.apply(&text).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    // When it is rotated, for each method that the process asks for
    let mut action = "rotate";
    for (does, code, detail) in [
        (Does::OffersNoTls, "upstream_handshake_failed", json!("no_tls")),
        (Does::AsksForThePassword, "upstream_not_authenticated", json!("mysql_clear_password")),
        (Does::AsksForTheOldHash, "upstream_not_authenticated", json!("mysql_old_password")),
        (Does::AsksForAnUnknownMethod, "upstream_not_authenticated", json!("another method")),
        (Does::AsksForAFile, "upstream_unreachable", Value::Null),
        (Does::SendsRowsWithoutEnd, "upstream_unreachable", Value::Null),
        (Does::AnnouncesAHugePacket, "upstream_unreachable", Value::Null),
    ] {
        server.does(does);
        let begun = operator.post_json(ROTATION, &json!({ "action": action })).await;
        assert_eq!(begun.status, 200, "{does:?}: {}", begun.text());
        broker.rotate_due().await;
        // Then the rotation stays where it was, and says why
        let run = operator.get(ROTATION).await.json()["run"].clone();
        assert_eq!(run["stage"], "begun", "{does:?}: {run}");
        assert_eq!(
            (&run["trouble"]["code"], &run["trouble"]["detail"]),
            (&json!(code), &detail),
            "{does:?}: {run}"
        );
        action = "retry";
        broker.clock.advance_s(1800);
    }
    // And the password was not told
    let heard = server.heard();
    assert!(heard.contains("app") && !heard.contains(FIRST), "{heard:?}");
}
