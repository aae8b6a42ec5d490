//! Policies as operators list and read them.

use serde_json::json;

use super::{MORNING, NO_NIGHTS, applied, policy};
use crate::operators::{join, standing, teams};
use crate::refusals::refused;
use crate::support::broker::TestBroker;

const PLACED: &str = "[[environment]]\nname = \"production\"\n\n[[capability]]\nname = \"web.deploy\"\naccess = \"write\"\n\
                      delivery = \"mint\"\naudience = \"https://deploy.example.com\"\nmax_life_s = 3600\n\
                      environment = \"production\"\n";

#[tokio::test]
async fn readers_of_declared_objects_read_policies() {
    // Given two policies, and an operator of each role that reads declared objects
    let broker = TestBroker::start_at(MORNING, "").await;
    broker.declare().await;
    let limit = "@max_ttl(\"5m\") forbid (principal in Keyward::Role::\"publisher\", \
                 action == Keyward::Action::\"lease\", resource in Keyward::Environment::\"production\");";
    applied(&broker, &format!("{PLACED}{}{}", policy("no-nights", NO_NIGHTS), policy("short", limit))).await;
    for role in ["security", "approver", "auditor"] {
        let by = join(&broker, &format!("of-{role}"), &standing(role, None)).await.caller;
        // When it lists them, then it has effect, head and reason of each, without the rules
        let listed = by.get("/v1/policies").await.json();
        assert_eq!(
            listed["items"],
            json!([
                { "name": "no-nights", "owner": null, "effect": "deny", "actions": ["token"], "principal": null,
                  "resource": null, "reason": "nobody is at work" },
                { "name": "short", "owner": null, "effect": "limit-life", "max_life_s": 300, "actions": ["lease"],
                  "principal": "role publisher", "resource": "environment production" },
            ])
        );
        // And the rule of one as it was declared
        let shown = by.get("/v1/policies/no-nights").await.json();
        assert_eq!(shown["rule"].as_str().unwrap().trim(), NO_NIGHTS);
    }
    refused(&broker.operator().get("/v1/policies/absent").await, 404, "policy_unknown");
    // And a capability shows its environment
    let page = broker.operator().get("/v1/capabilities?after=web.deplox").await.json();
    assert_eq!(page["items"][0]["environment"], "production", "{page}");
}

#[tokio::test]
async fn an_operator_with_an_owner_reads_the_policies_of_its_owner() {
    let (broker, red, blue) = teams().await;
    let text = policy("red-stop", "forbid (principal, action, resource);");
    let body = json!({ "files": [{ "name": "a.toml", "text": text }] });
    assert_eq!(red.post_json("/v1/apply", &body).await.status, 200);
    applied(&broker, &policy("all-short", "@max_ttl(\"5m\") forbid (principal, action, resource);")).await;
    let names = |listed: &serde_json::Value| -> Vec<String> {
        let items = listed["items"].as_array().unwrap().iter();
        items.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&red.get("/v1/policies").await.json()), ["red-stop"]);
    assert!(names(&blue.get("/v1/policies").await.json()).is_empty());
    assert_eq!(names(&broker.operator().get("/v1/policies").await.json()), ["all-short", "red-stop"]);
    refused(&blue.get("/v1/policies/red-stop").await, 404, "policy_unknown");
}
