//! Operators that are bound to an owner contain what the owner has, and nothing else.

use serde_json::{Value, json};

use super::{agent, contain, contained, lift, operator};
use crate::operators::{join, refused, standing};
use crate::support::broker::TestBroker;

const TEAMS: &str = "
[[agent]]
name = \"pay-bot\"
roles = [\"publisher\"]
owner = \"payments\"

[[agent]]
name = \"mail-bot\"
roles = [\"publisher\"]
owner = \"mail\"
";

#[tokio::test]
async fn the_present_owner_of_a_subject_lifts_its_containment() {
    let broker = TestBroker::declared().await;
    assert_eq!(broker.apply(TEAMS).await.status, 200);
    let before = join(&broker, "before", &standing("security", Some("payments"))).await.caller;
    let after = join(&broker, "after", &standing("security", Some("mail"))).await.caller;
    // Given a contained agent that got another owner
    let incident = contained(&broker.operator(), agent("pay-bot")).await;
    let moved = TEAMS.replace("\"payments\"", "\"mail\"");
    assert_eq!(broker.apply(&moved).await.status, 200);
    let path = format!("/v1/incidents/{incident}");
    // Then the operator of the former owner does not see the incident, and that of the present owner lifts it
    refused(&lift(&before, &incident).await, 404, "incident_unknown");
    refused(&before.get(&path).await, 404, "incident_unknown");
    assert_eq!(before.get("/v1/incidents").await.json()["items"], json!([]));
    let again = contain(&after, agent("pay-bot")).await.json();
    assert_eq!(again["incident"], incident.as_str());
    let shown = after.get(&path).await.json();
    assert_eq!((&shown["owner"], &shown["reach"]["accepted"]), (&"mail".into(), &0.into()), "{shown}");
    assert_eq!(lift(&after, &incident).await.status, 200);
}

#[tokio::test]
async fn an_operator_with_an_owner_contains_what_the_owner_has() {
    let broker = TestBroker::declared().await;
    assert_eq!(broker.apply(TEAMS).await.status, 200);
    let admin = broker.operator();
    let bound = join(&broker, "bound", &standing("security", Some("payments"))).await.caller;
    // Its own agent, and its own owner, which spares its own certificate
    let own = contained(&bound, agent("pay-bot")).await;
    let owner = contain(&bound, json!({ "kind": "owner", "name": "payments" })).await.json();
    assert_eq!(owner["spares_caller"], true, "{owner}");
    assert_eq!(bound.get("/v1/whoami").await.status, 200);
    assert_eq!(lift(&bound, owner["incident"].as_str().unwrap()).await.status, 200);
    // Objects of others do not exist for it
    refused(&contain(&bound, agent("mail-bot")).await, 404, "subject_unknown");
    let unlike = contain(&bound, agent("none-bot")).await.text().replace("none-bot", "mail-bot");
    let like = contain(&bound, agent("mail-bot")).await;
    let detail = |text: &str| serde_json::from_str::<Value>(text).unwrap()["detail"].clone();
    assert_eq!(detail(&unlike), detail(&like.text()));
    // What no owner has needs the scope `all`
    for subject in [
        operator("admin"),
        operator("nobody"),
        json!({ "kind": "token", "id": format!("tok_{}", "0".repeat(26)) }),
        json!({ "kind": "network", "name": "10.0.0.0/8" }),
        json!({ "kind": "owner", "name": "mail" }),
        json!({ "kind": "everything" }),
    ] {
        refused(&contain(&bound, subject).await, 403, "operator_scope_insufficient");
    }
    // And so do incidents of others
    let foreign = contained(&admin, agent("mail-bot")).await;
    refused(&lift(&bound, &foreign).await, 404, "incident_unknown");
    refused(&bound.get(&format!("/v1/incidents/{foreign}")).await, 404, "incident_unknown");
    let listed = bound.get("/v1/incidents").await.json();
    let mut listed: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|one| one["incident"].as_str().unwrap()).collect();
    let mut expected = vec![owner["incident"].as_str().unwrap(), own.as_str()];
    // Ids of the same millisecond are in no order.
    listed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    assert_eq!(lift(&bound, &own).await.status, 200);
    assert_eq!(lift(&admin, &foreign).await.status, 200);
}
