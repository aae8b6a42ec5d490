//! `keyward export`: declarations of what the broker has, of which a plan shows no change.

use keyward::base::limits::DECLARATION_BYTES_MAX;
use serde_json::json;

use crate::operators::{join, refused, standing};
use crate::support::broker::{Caller, DECLARATIONS, Reply, TestBroker};
use crate::support::process::Process;

/// Declarations with everything that a schedule, a driver and an owner can say.
const RICH: &str = r#"
[[capability]]
name = "orders.query"
access = "read"
delivery = "lease"
max_life_s = 14400
owner = "payments"

[[lease]]
capability = "orders.query"
per_agent = 5
[lease.upstream]
driver = "postgresql-dynamic"
host = "127.0.0.1"
database = "orders"
tls = "off"
member_of = ["order_readers"]
statements = ["GRANT \"x y\" TO {login}"]
admin_role = "keyward_admin"
admin_secret = "orders-db/admin"

[[rotation]]
secret = "orders-db/app"
every = "30d"
zone = "Europe/Berlin"
window = "01:00-05:00"
blackout = ["2026-12-24", "2026-12-30/2027-01-02"]
jitter = "90m"
grace = "12h"
[rotation.upstream]
driver = "postgresql"
host = "127.0.0.1"
database = "orders"
tls = "off"
role = "app"

[[rotation]]
secret = "billing/key"
cron = "0 3 1 * *"
[rotation.upstream]
driver = "http"
admin_secret = "orders-db/admin"
[rotation.upstream.apply]
method = "PUT"
url = "http://127.0.0.1:9/key"
bearer = "admin"
headers = { "x-team" = "a \"b\"" }
body = '{"key":"{{value}}"}'
[rotation.upstream.verify]
url = "http://127.0.0.1:9/me"
bearer = "value"

[[resource_server]]
name = "reports"
audience = "https://reports.example.com"
max_instances = 2
"#;

#[test]
fn a_plan_of_an_export_shows_no_change() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    for secret in ["orders-db/app", "orders-db/admin", "billing/key"] {
        process.good(&["secret", "put", secret], b"value");
    }
    process.good(&["apply", "-f", "-"], RICH.as_bytes());
    let exported = process.good(&["export"], b"");
    let text = String::from_utf8(exported.clone()).unwrap();
    // The agent that an invitation made is declared too.
    for part in [
        "[[agent]]\nname = \"a\"\nroles = [\"repo-reader\"]",
        "[rotation.upstream.verify]",
        "every = \"30d\"",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let planned = process.run_as("operator", &["plan", "--prune", "-f", "-"], &exported);
    let said = String::from_utf8_lossy(&planned.stderr).into_owned();
    assert!(
        planned.status.success() && planned.stdout.is_empty() && said.contains("no changes"),
        "{said}\n{text}"
    );
    // And a filter leaves the others out
    let agents = String::from_utf8(process.good(&["export", "--kind", "agent"], b"")).unwrap();
    assert!(agents.contains("[[agent]]") && !agents.contains("[[role]]"), "{agents}");
    let owned = process.json(&["export", "--owner", "payments"]);
    assert_eq!((&owned["objects"], &owned["left_out"]), (&json!(2), &json!(0)), "{owned}");
    let nonsense = process.run_as("operator", &["export", "--kind", "secret"], b"");
    assert_eq!(nonsense.status.code(), Some(2));
}

const STORED: &[u8] = b"stored-value";

async fn export(by: &Caller) -> Reply {
    by.post_json("/v1/export", &json!({})).await
}

#[tokio::test]
async fn auditors_and_security_operators_read_texts_of_upstreams() {
    // Given an upstream with literal texts, and stored values of secrets
    let broker = TestBroker::declared().await;
    let operator = broker.operator();
    for secret in ["orders-db/app", "orders-db/admin", "billing/key"] {
        let path = format!("/v1/secrets/{secret}");
        let stored = operator.put(&path, "application/octet-stream", STORED).await;
        assert!([200, 201].contains(&stored.status), "{}", stored.text());
    }
    let applied = broker.apply(RICH).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    // Then these roles read the URL, header, body and SQL, and no stored value
    for role in ["auditor", "security"] {
        let exported = export(&join(&broker, role, &standing(role, None)).await.caller).await;
        assert_eq!(exported.status, 200, "{}", exported.text());
        let text = exported.json()["text"].as_str().unwrap().to_owned();
        for part in ["http://127.0.0.1:9/key", "x-team", "{{value}}", "TO {login}"] {
            assert!(text.contains(part), "{role} {part}: {text}");
        }
        assert!(!text.contains("stored-value"), "{text}");
    }
    let approver = join(&broker, "ann", &standing("approver", None)).await.caller;
    refused(&export(&approver).await, 403, "operator_role_insufficient");
}

#[tokio::test]
async fn a_team_exports_only_objects_that_it_could_declare() {
    let broker = TestBroker::declared().await;
    let red = join(&broker, "rhea", &standing("admin", Some("red"))).await.caller;
    let own = "[[role]]\nname = \"red-role\"\ncapabilities = []\n[[agent]]\nname = \"red-bot\"\nroles = [\"red-role\"]\n";
    assert_eq!(
        red.post_json("/v1/apply", &json!({ "widen": true, "files": [{ "name": "a", "text": own }] }))
            .await
            .status,
        200
    );
    let exported = export(&red).await.json();
    assert_eq!((&exported["objects"], &exported["left_out"]), (&json!(2), &json!(0)));
    let text = exported["text"].as_str().unwrap();
    assert!(!text.contains("repo-reader") && text.contains("owner = \"red\""), "{text}");
    let again = json!({ "files": [{ "name": "a", "text": text }], "prune": true });
    assert_eq!(red.post_json("/v1/plan", &again).await.json()["changes"], json!([]), "{text}");
    // When an operator with the scope `all` gives the agent a role of nobody
    let joined = own.replace("[\"red-role\"]", "[\"red-role\", \"repo-reader\"]\nowner = \"red\"").replacen(
        "capabilities = []",
        "capabilities = []\nowner = \"red\"",
        1,
    );
    assert_eq!(broker.apply(&joined).await.status, 200);
    // Then the team cannot declare the agent, and the export says so
    let exported = export(&red).await.json();
    assert_eq!((&exported["objects"], &exported["left_out"]), (&json!(1), &json!(1)));
    let text = exported["text"].as_str().unwrap();
    assert!(text.contains("# agent red-bot is left out"), "{text}");
    let kept = json!({ "files": [{ "name": "a", "text": text }] });
    assert_eq!(red.post_json("/v1/plan", &kept).await.json()["changes"], json!([]), "{text}");
}

#[tokio::test]
async fn an_export_beyond_one_upload_is_refused() {
    let broker = TestBroker::declared().await;
    // Capabilities with long audiences: four applications of them are more than an upload may be.
    let path = "a".repeat(400);
    let capability = |number: usize| {
        format!(
            "[[capability]]\nname = \"c{number}\"\naccess = \"read\"\ndelivery = \"mint\"\n\
             audience = \"https://reports.example.com/{path}/{number}\"\nmax_life_s = 60\n"
        )
    };
    let mut refused = None;
    for part in 0..6 {
        let text: String = (part * 4000..(part + 1) * 4000).map(capability).collect();
        let applied = broker.apply(&text).await;
        assert_eq!(applied.status, 200, "{}", applied.text());
        let reply = export(&broker.operator()).await;
        if reply.status != 200 {
            refused = Some((reply.status, reply.code()));
            break;
        }
        assert!(part < 5 && reply.json()["text"].as_str().unwrap().len() <= DECLARATION_BYTES_MAX);
    }
    assert_eq!(refused, Some((409, "export_too_large".to_owned())));
}

#[tokio::test]
async fn an_export_can_be_applied_after_a_secret_became_high() {
    // Given a capability of an owner that delivers a secret of nobody
    let broker = TestBroker::declared().await;
    let owned = DECLARATIONS.replacen("max_life_s = 300", "max_life_s = 300\nowner = \"red\"", 1);
    assert_eq!(broker.apply(&owned).await.status, 200);
    let high = json!({ "sensitivity": "high" });
    let operator = broker.operator();
    assert_eq!(operator.post_json("/v1/secret-sensitivity/github/app", &high).await.status, 200);
    // When the declarations are exported and planned, then nothing changes
    let exported = export(&operator).await.json();
    let plan = async |text: &str| {
        let body = json!({ "files": [{ "name": "a", "text": text }], "prune": true });
        operator.post_json("/v1/plan", &body).await
    };
    let text = exported["text"].as_str().unwrap();
    let planned = plan(text).await;
    assert_eq!(planned.status, 200, "{}", planned.text());
    assert_eq!(planned.json()["changes"], json!([]), "{text}");
    // The twins: a changed capability of this owner, and another owner's
    for changed in [text.replace("max_life_s = 300", "max_life_s = 299"), text.replace("\"red\"", "\"blue\"")]
    {
        assert_ne!(changed, text);
        refused(&plan(&changed).await, 422, "declarations_invalid");
    }
}
