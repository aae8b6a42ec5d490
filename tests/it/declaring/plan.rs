//! What a plan shows, and its id.

use serde_json::{Value, json};

use crate::operators::{join, refused, standing, teams};
use crate::support::broker::{Caller, DECLARATIONS, Reply, TestBroker};

async fn plan(by: &Caller, text: &str, prune: bool) -> Reply {
    let body = json!({ "files": [{ "name": "a.toml", "text": text }], "prune": prune });
    by.post_json("/v1/plan", &body).await
}

async fn apply_plan(by: &Caller, text: &str, id: &Value) -> Reply {
    let body = json!({ "files": [{ "name": "a.toml", "text": text }], "prune": true, "plan": id });
    by.post_json("/v1/apply", &body).await
}

#[tokio::test]
async fn a_plan_shows_the_values_that_change() {
    let broker = TestBroker::declared().await;
    let agent = "[[agent]]\nname = \"a\"\nroles = [\"repo-reader\"]\n";
    assert_eq!(broker.apply(agent).await.status, 200);
    let text = format!(
        "{}\n[[agent]]\nname = \"a\"\nroles = [\"publisher\"]\nmax_instances = 3\n",
        DECLARATIONS
            .replace("max_life_s = 600", "max_life_s = 60\nowner = \"red\"")
            .replace("[\"reports.publish\", \"reports.read\"]", "[\"reports.publish\"]")
            .replace("max_life_s = 120", "max_life_s = 120\n")
            .replacen("https://reports.example.com", "https://other.example.com", 1)
    );
    let planned = plan(&broker.operator(), &text, false).await;
    assert_eq!(planned.status, 200, "{}", planned.text());
    let change = |name: &str| {
        let changes = planned.json()["changes"].as_array().unwrap().clone();
        changes.into_iter().find(|change| change["name"] == name).unwrap()
    };
    assert_eq!(
        change("a")["values"],
        json!([
            { "field": "roles", "added": ["publisher"], "removed": ["repo-reader"] },
            { "field": "max_instances", "from": "1", "to": "3" },
        ])
    );
    assert_eq!(
        change("publisher")["values"],
        json!([{ "field": "capabilities", "removed": ["reports.read"] }])
    );
    assert_eq!(
        change("reports.read")["values"],
        json!([{ "field": "max_life_s", "from": "600", "to": "60" }, { "field": "owner", "to": "red" }])
    );
    let audience = change("reports.publish");
    assert_eq!(audience["fields"], json!(["delivery"]));
    assert_eq!(audience["values"][0]["to"], "https://other.example.com");
    // When it is applied, then the entry says the same
    let applied = broker.apply(&text).await;
    assert_eq!(applied.json()["changes"], planned.json()["changes"]);
    let entries = broker.entries("declarations.applied").await;
    assert_eq!(entries.last().unwrap()["event"]["changes"], planned.json()["changes"]);
}

#[tokio::test]
async fn a_plan_and_its_entry_have_the_values_of_new_objects() {
    // Given declarations of objects that do not exist
    let broker = TestBroker::declared().await;
    let text = "[[capability]]\nname = \"red.read\"\naccess = \"read\"\ndelivery = \"reveal\"\nsecret = \"github/app\"\n\
                max_life_s = 60\nowner = \"red\"\n\
                [[role]]\nname = \"red-reader\"\ncapabilities = [\"red.read\", \"reports.read\"]\n\
                [[agent]]\nname = \"red-bot\"\nroles = [\"red-reader\"]\nmax_instances = 3\nowner = \"red\"\n\
                [[rotation]]\nsecret = \"red/key\"\nevery = \"30d\"\nupstream = { driver = \"generate\", alphabet = \"abcdef0123456789\" }\n";
    // When they are planned and applied
    let planned = plan(&broker.operator(), text, false).await;
    assert_eq!(planned.status, 200, "{}", planned.text());
    assert_eq!(broker.apply(text).await.status, 200);
    // Then each line has the values, except those that are never shown
    let values = |name: &str| {
        let changes = planned.json()["changes"].as_array().unwrap().clone();
        changes.into_iter().find(|change| change["name"] == name).unwrap()["values"].clone()
    };
    assert_eq!(
        values("red.read"),
        json!([
            { "field": "access", "to": "read" }, { "field": "delivery", "to": "reveal" },
            { "field": "secret", "to": "github/app" }, { "field": "max_life_s", "to": "60" },
            { "field": "owner", "to": "red" },
        ])
    );
    assert_eq!(
        values("red-reader"),
        json!([{ "field": "capabilities", "added": ["red.read", "reports.read"] }])
    );
    assert_eq!(
        values("red-bot"),
        json!([
            { "field": "roles", "added": ["red-reader"] }, { "field": "max_instances", "to": "3" },
            { "field": "owner", "to": "red" },
        ])
    );
    let rotation = values("red/key");
    for one in [
        json!({ "field": "upstream.alphabet" }),
        json!({ "field": "upstream.driver", "to": "generate" }),
        json!({ "field": "every", "to": "30d" }),
    ] {
        assert!(rotation.as_array().unwrap().contains(&one), "{one}: {rotation}");
    }
    let entries = broker.entries("declarations.applied").await;
    assert_eq!(entries.last().unwrap()["event"]["changes"], planned.json()["changes"]);
    // And an invitation that creates an agent records its values
    let (_broker, red, _) = teams().await;
    let invite = json!({ "roles": ["red-reader"], "uses": 2 });
    assert_eq!(red.post_json("/v1/agents/red-new/invitations", &invite).await.status, 201);
    let page = red.get("/v1/ledger/entries?limit=500").await.json();
    let invited = page["items"].as_array().unwrap().iter().find(|entry| entry["event"]["agent"] == "red-new");
    let event = &invited.unwrap()["event"];
    assert_eq!(
        (&event["created_with"], &event["max_instances"], &event["owner"]),
        (&json!(["red-reader"]), &json!(2), &json!("red"))
    );
}

#[tokio::test]
async fn a_plan_shows_what_agents_lose_and_what_is_live() {
    // Given two agents with an instance each; one of them has tokens
    let broker = TestBroker::declared().await;
    let reader = broker.agent("reader", &["repo-reader"]).await;
    broker.agent("both", &["repo-reader", "publisher"]).await;
    for _ in 0..2 {
        reader.token("github.repo.read").await;
    }
    broker.clock.advance_s(301);
    reader.token("github.repo.read").await;
    // When a plan removes the role of both, and one agent
    let text = DECLARATIONS.replace("[\"github.repo.read\"]", "[]")
        + "[[agent]]\nname = \"both\"\nroles = [\"repo-reader\", \"publisher\"]\n";
    let planned = plan(&broker.operator(), &text, true).await.json();
    // Then it says what each of them loses, and counts only what has not expired
    let lost = |name: &str| {
        let items = planned["losses"]["items"].as_array().unwrap();
        items.iter().find(|item| item["agent"] == name).unwrap().clone()
    };
    let live = |tokens: u32| json!({ "instances": 1, "tokens": tokens, "leases": 0 });
    for (name, removed, tokens) in [("reader", true, 1), ("both", false, 0)] {
        assert_eq!(
            lost(name),
            json!({
                "agent": name, "removed": removed, "capabilities": ["github.repo.read"], "redelivered": [],
                "secrets": ["github/app"], "live": live(tokens),
            })
        );
    }
    assert_eq!(planned["losses"]["agents"], 2);
    assert_eq!(planned["losses"]["live"], json!({ "instances": 2, "tokens": 1, "leases": 0 }));
    assert_eq!(planned["losses"]["tokens_complete"], true);
    // And a plan that takes nothing away has no losses
    let more = plan(&broker.operator(), "[[role]]\nname = \"more\"\ncapabilities = []\n", false).await.json();
    assert_eq!(more["losses"], Value::Null);
}

#[tokio::test]
async fn a_change_of_the_delivery_is_shown_to_those_who_keep_it() {
    let broker = TestBroker::declared().await;
    broker.agent("a", &["publisher"]).await;
    let text = DECLARATIONS.replacen("https://reports.example.com", "https://other.example.com", 1);
    let planned = plan(&broker.operator(), &text, false).await.json();
    let loss = &planned["losses"]["items"][0];
    assert_eq!((&loss["capabilities"], &loss["redelivered"]), (&json!([]), &json!(["reports.publish"])));
}

#[tokio::test]
async fn an_application_makes_the_changes_of_its_plan_or_none() {
    let broker = TestBroker::declared().await;
    broker.agent("known", &["repo-reader"]).await;
    let operator = broker.operator();
    let planned = plan(&operator, DECLARATIONS, true).await.json();
    assert_eq!(planned["changes"].as_array().unwrap().len(), 1, "{planned}");
    // When another agent comes, then the plan would remove it too, and is refused
    let newcomer = broker.agent("newcomer", &["repo-reader"]).await;
    refused(&apply_plan(&operator, DECLARATIONS, &planned["plan"]).await, 409, "plan_outdated");
    newcomer.token("github.repo.read").await;
    assert_eq!(operator.get("/v1/agents/known").await.status, 200);
    // And so are other files, and a nonsensical id
    let again = plan(&operator, DECLARATIONS, true).await.json();
    assert_ne!(again["plan"], planned["plan"]);
    let other = format!("{DECLARATIONS}\n# A comment\n");
    refused(&apply_plan(&operator, &other, &again["plan"]).await, 409, "plan_outdated");
    refused(&apply_plan(&operator, DECLARATIONS, &json!("x")).await, 409, "plan_outdated");
    // A token is no change of the plan
    newcomer.token("github.repo.read").await;
    let same = plan(&operator, DECLARATIONS, true).await.json();
    assert_eq!(same["plan"], again["plan"]);
    // When the plan of the present state is applied, then exactly its changes are made
    let applied = apply_plan(&operator, DECLARATIONS, &again["plan"]).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    assert_eq!(applied.json()["changes"], again["changes"]);
    assert_eq!(applied.json()["plan"], Value::Null);
    refused(&apply_plan(&operator, DECLARATIONS, &again["plan"]).await, 409, "plan_outdated");
}

#[tokio::test]
async fn a_repeated_application_of_a_plan_has_the_first_outcome() {
    let broker = TestBroker::declared().await;
    broker.agent("known", &["repo-reader"]).await;
    let operator = broker.operator();
    let planned = plan(&operator, DECLARATIONS, true).await.json();
    let body = json!({ "files": [{ "name": "a.toml", "text": DECLARATIONS }], "prune": true, "plan": planned["plan"] });
    let headers = [("content-type", "application/json"), ("idempotency-key", "\"k\"")];
    let body = body.to_string();
    let first = operator.send("POST", "/v1/apply", &headers, body.as_bytes()).await;
    let second = operator.send("POST", "/v1/apply", &headers, body.as_bytes()).await;
    assert_eq!((first.status, first.json()), (200, second.json()), "{}", first.text());
}

#[tokio::test]
async fn an_auditor_plans_and_exports_and_does_not_apply() {
    let broker = TestBroker::declared().await;
    let auditor = join(&broker, "eve", &standing("auditor", None)).await.caller;
    let planned = plan(&auditor, "", true).await;
    assert_eq!(planned.status, 200, "{}", planned.text());
    refused(&apply_plan(&auditor, "", &planned.json()["plan"]).await, 403, "operator_role_insufficient");
    let exported = auditor.post_json("/v1/export", &json!({})).await;
    assert_eq!(exported.status, 200, "{}", exported.text());
    assert_eq!(exported.text(), broker.operator().post_json("/v1/export", &json!({})).await.text());
    refused(
        &auditor.post_json("/v1/value-checks", &json!({ "text": "x" })).await,
        403,
        "operator_role_insufficient",
    );
}

#[tokio::test]
async fn a_team_is_told_the_number_of_other_agents_and_not_their_names() {
    // Given a role of the team that an agent of nobody holds, too
    let broker = TestBroker::declared().await;
    let red = join(&broker, "rhea", &standing("admin", Some("red"))).await.caller;
    let own = "[[capability]]\nname = \"red.call\"\naccess = \"read\"\ndelivery = \"mint\"\naudience = \"https://red\"\n\
               max_life_s = 60\n[[role]]\nname = \"red-role\"\ncapabilities = [\"red.call\"]\n";
    assert_eq!(
        red.post_json("/v1/apply", &json!({ "widen": true, "files": [{ "name": "a", "text": own }] }))
            .await
            .status,
        200
    );
    broker.agent("foreign", &["red-role"]).await;
    // When the team plans to narrow the role
    let planned = plan(&red, "[[role]]\nname = \"red-role\"\ncapabilities = []\n", false).await;
    // Then it learns that another agent loses something
    let losses = &planned.json()["losses"];
    assert_eq!((&losses["agents"], &losses["other_agents"]), (&json!(0), &json!(1)), "{losses}");
    assert!(!planned.text().contains("foreign"), "{}", planned.text());
}

#[tokio::test]
async fn an_application_grants_what_its_plan_grants_or_nothing() {
    // Given a plan that creates an agent with a role
    let broker = TestBroker::declared().await;
    let operator = broker.operator();
    let body = |plan: Option<&Value>| {
        let text = "[[agent]]\nname = \"a\"\nroles = [\"publisher\"]\n";
        let mut body = json!({ "files": [{ "name": "a.toml", "text": text }] });
        plan.into_iter().for_each(|plan| body["plan"] = plan.clone());
        body
    };
    let planned = operator.post_json("/v1/plan", &body(None)).await.json()["plan"].clone();
    // When the role has another capability, or a capability of it changes, then the plan is outdated
    let wider =
        DECLARATIONS.replace("[\"reports.publish\", ", "[\"github.repo.read\", \"reports.publish\", ");
    for changed in [wider, DECLARATIONS.replace("= 120", "= 60")] {
        assert_eq!(broker.apply(&changed).await.status, 200);
        refused(&operator.post_json("/v1/apply", &body(Some(&planned))).await, 409, "plan_outdated");
    }
    // The twin: all is as it was
    assert_eq!(broker.apply(DECLARATIONS).await.status, 200);
    let applied = operator.post_json("/v1/apply", &body(Some(&planned))).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
}

#[tokio::test]
async fn a_team_sees_the_number_and_not_the_names_of_lost_foreign_capabilities() {
    // Given an agent of a team with a capability of another owner
    let (broker, red, _) = teams().await;
    let text = "[[role]]\nname = \"red-reader\"\nowner = \"red\"\ncapabilities = [\"red.read\", \"github.repo.read\"]\n";
    assert_eq!(broker.apply(text).await.status, 200);
    // When the team plans to remove the agent
    let none = "[[role]]\nname = \"red-other\"\ncapabilities = []\n[[role]]\nname = \"red-reader\"\ncapabilities = []\n";
    let planned = plan(&red, none, false).await;
    // Then it sees its own names, and the number of the others
    let loss = planned.json()["losses"]["items"][0].clone();
    assert_eq!((&loss["agent"], &loss["capabilities"]), (&json!("red-bot"), &json!(["red.read"])), "{loss}");
    assert_eq!((&loss["secrets"], &loss["other_capabilities"]), (&json!(["red/app"]), &json!(1)), "{loss}");
    assert_eq!(loss["other_secrets"], 1, "{loss}");
    assert!(!planned.json()["losses"].to_string().contains("github"), "{}", planned.text());
}
