//! Policies: what they deny and limit, and what the agent is told.

mod approvals;
mod cases;
mod declared;
mod explain;
mod matrix;
mod past_reads;
mod remedies;
mod rollback;
mod simulate;
mod versions;
mod views;

use keyward::base::Timestamp;
use keyward::base::limits::NAMED_POLICIES_MAX;
use serde_json::{Value, json};

use crate::guides::fenced;
use crate::leases::Scene;
use crate::refusals::refused;
use crate::support::broker::{Agent, DECLARATIONS, Reply, TestBroker};

/// A Friday, 2027-01-15, 08:00 UTC.
const MORNING: Timestamp = Timestamp::from_s(1_800_000_000);

fn policy(name: &str, rule: &str) -> String {
    format!("[[policy]]\nname = \"{name}\"\nrule = '''\n{rule}\n'''\n")
}

const NO_NIGHTS: &str = "@reason(\"nobody is at work\")
forbid (principal, action == Keyward::Action::\"token\", resource)
when { resource.access == \"write\" }
unless { context.time.hour >= 8 && context.time.hour < 16 };";

async fn applied(broker: &TestBroker, text: &str) -> Reply {
    let reply = broker.apply(text).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

/// A broker at 08:00 with one policy, and an agent with the role `publisher`.
async fn broker_with(rule: &str) -> (TestBroker, Agent) {
    let broker = TestBroker::start_at(MORNING, "[certificates]\nagent_life_s = 604800\n").await;
    broker.declare().await;
    applied(&broker, &policy("no-nights", rule)).await;
    let agent = broker.agent("a", &["publisher"]).await;
    (broker, agent)
}

async fn ask(agent: &Agent, scope: &str) -> Reply {
    agent.ask(&format!("grant_type=client_credentials&scope={scope}")).await
}

#[tokio::test]
async fn a_policy_denies_with_its_name_and_reason() {
    // Given a policy against writes outside of working hours
    let (broker, agent) = broker_with(NO_NIGHTS).await;
    assert_eq!(ask(&agent, "reports.publish").await.status, 200, "at 08:00");
    broker.clock.advance_s(8 * 3600);
    // When the agent asks at 16:00, then it is told which policy denies it, and why
    let denied = ask(&agent, "reports.publish").await;
    refused(&denied, 403, "policy_denied");
    let said = denied.text();
    assert!(said.contains("policy `no-nights` denies the request: nobody is at work"), "{said}");
    assert!(said.contains("reports.publish"), "{said}");
    // And the ledger has the rule
    let entries = broker.entries("request.denied").await;
    let event = &entries.last().unwrap()["event"];
    assert_eq!((&event["code"], &event["action"]), (&json!("policy_denied"), &json!("mint")));
    assert_eq!(event["rules"], json!(["role publisher", "policy no-nights"]));
    // And other requests are as before
    assert_eq!(ask(&agent, "reports.read").await.status, 200);
}

#[tokio::test]
async fn a_capability_that_a_policy_denies_is_left_out() {
    let (broker, agent) = broker_with(NO_NIGHTS).await;
    broker.clock.advance_s(8 * 3600);
    let reply = ask(&agent, "reports.read%20reports.publish").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let token = reply.json();
    assert_eq!(token["scope"], "reports.read");
    let left_out = &token["left_out"][0];
    assert_eq!(
        (&left_out["capability"], &left_out["code"]),
        (&json!("reports.publish"), &json!("policy_denied"))
    );
    assert!(left_out["reason"].as_str().unwrap().contains("nobody is at work"), "{left_out}");
    let minted = broker.entries("token.minted").await;
    let rules = &minted.last().unwrap()["event"]["rules"];
    assert_eq!(*rules, json!(["role publisher", "policy no-nights"]));
}

#[tokio::test]
async fn the_shortest_life_of_matching_policies_applies() {
    let limit = "@max_ttl(\"1m\") @reason(\"from outside\") forbid (principal, action, resource) when { context has source };";
    let (broker, agent) = broker_with(limit).await;
    let longer = "@max_ttl(\"90s\") forbid (principal, action, resource);";
    applied(&broker, &policy("longer", longer)).await;
    let token = ask(&agent, "reports.read").await.json();
    assert_eq!(token["expires_in"], 60, "{token}");
    let constrained = token["constrained"][0].as_str().unwrap();
    assert!(constrained.contains("from 300 s to 60 s by policy `no-nights`: from outside"), "{constrained}");
    let at_the_limit =
        agent.ask("grant_type=client_credentials&scope=reports.read&expires_in=60").await.json();
    assert_eq!((&at_the_limit["expires_in"], &at_the_limit["constrained"]), (&json!(60), &Value::Null));
    let minted = broker.entries("token.minted").await;
    let event = &minted.last().unwrap()["event"];
    assert_eq!(event["rules"], json!(["role publisher", "policy longer", "policy no-nights"]));
}

#[tokio::test]
async fn an_entry_names_few_policies_and_those_that_deny_first() {
    // Given more policies that match than an entry names, the last of which by name denies
    let (broker, agent) =
        broker_with("forbid (principal, action, resource) when { resource.access == \"write\" };").await;
    let limit = "@max_ttl(\"1m\") forbid (principal, action, resource);";
    let limits: String =
        (0..NAMED_POLICIES_MAX).map(|number| policy(&format!("l-{number}"), limit)).collect();
    applied(&broker, &limits).await;
    refused(&ask(&agent, "reports.publish").await, 403, "policy_denied");
    let denied = broker.entries("request.denied").await.last().unwrap()["event"]["rules"].clone();
    let names: Vec<&str> = denied.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    assert_eq!((names[1], names.last()), ("policy no-nights", Some(&"1 further policies")), "{names:?}");
    assert_eq!(names.len(), 2 + NAMED_POLICIES_MAX);
    // And a request that they only limit names as many as there are
    assert_eq!(ask(&agent, "reports.read").await.status, 200);
    let minted = broker.entries("token.minted").await.last().unwrap()["event"]["rules"].clone();
    assert_eq!(minted.as_array().unwrap().len(), 1 + NAMED_POLICIES_MAX, "{minted}");
}

#[tokio::test]
async fn a_policy_that_cannot_be_evaluated_denies() {
    let overflow =
        "forbid (principal, action, resource) when { context.time.unix_s * 9223372036854775807 > 0 };";
    let (broker, agent) = broker_with(overflow).await;
    let denied = ask(&agent, "reports.read").await;
    refused(&denied, 403, "policy_failed");
    assert!(denied.text().contains("policy `no-nights`"), "{}", denied.text());
    let event = broker.entries("request.denied").await.last().unwrap()["event"].clone();
    assert_eq!(event["rules"], json!(["role publisher", "policy no-nights: cannot be evaluated"]));
}

#[tokio::test]
async fn a_policy_without_a_grant_grants_nothing() {
    let (broker, _) =
        broker_with("forbid (principal, action == Keyward::Action::\"lease\", resource);").await;
    let agent = broker.agent("b", &["repo-reader"]).await;
    refused(&ask(&agent, "reports.read").await, 400, "capability_not_granted");
}

#[tokio::test]
async fn a_repeated_request_is_judged_by_the_present_policies() {
    let (broker, agent) = broker_with("@max_ttl(\"1h\") forbid (principal, action, resource);").await;
    let again = async || {
        let headers =
            [("content-type", "application/x-www-form-urlencoded"), ("idempotency-key", "0123456789abcdef")];
        let form = b"grant_type=client_credentials&scope=reports.read";
        agent.caller.send("POST", "/oauth/token", &headers, form).await
    };
    let first = again().await;
    assert_eq!(
        (first.status, again().await.json()["token_id"].clone()),
        (200, first.json()["token_id"].clone())
    );
    applied(&broker, &policy("no-nights", "@max_ttl(\"1m\") forbid (principal, action, resource);")).await;
    let longer = again().await;
    refused(&longer, 403, "policy_denied");
    assert!(longer.text().contains("limits the life to 60 s"), "{}", longer.text());
    applied(&broker, &policy("no-nights", "forbid (principal, action, resource);")).await;
    refused(&again().await, 403, "policy_denied");
}

#[tokio::test]
async fn a_policy_denies_reading_a_secret_with_a_token_from_before() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let token = agent.token("github.repo.read").await;
    let limit = "@max_ttl(\"1m\") forbid (principal, action, resource);";
    applied(&broker, &policy("short", limit)).await;
    assert_eq!(agent.secret("github/app", &token).await.status, 200, "a young token");
    broker.clock.advance_s(66);
    let old = agent.secret("github/app", &token).await;
    refused(&old, 403, "policy_denied");
    assert!(old.text().contains("limits the life to 60 s, and the token is older"), "{}", old.text());
    let fresh = agent.token("github.repo.read").await;
    assert_eq!(agent.secret("github/app", &fresh).await.status, 200);
    let denies = "forbid (principal, action == Keyward::Action::\"read_secret\", resource) when { resource.delivery == \"reveal\" };";
    applied(&broker, &policy("short", denies)).await;
    refused(&agent.secret("github/app", &fresh).await, 403, "policy_denied");
    let entries = broker.entries("request.denied").await;
    let event = &entries.last().unwrap()["event"];
    assert_eq!((&event["action"], &event["secret"]), (&json!("reveal"), &json!("github/app")));
    assert_eq!(event["rules"], json!(["role repo-reader", "policy short"]));
}

#[tokio::test]
async fn policies_judge_leases_and_their_renewals() {
    let scene = Scene::start().await;
    let lease_rule = |effect: &str| {
        policy(
            "leases",
            &format!("{effect} forbid (principal, action == Keyward::Action::\"lease\", resource);"),
        )
    };
    let before = scene.lease(&json!({ "life_s": 1200 })).await;
    // A limit shortens new leases, and the agent does not get a login again that lives longer
    applied(&scene.broker, &lease_rule("@max_ttl(\"10m\")")).await;
    let limited = scene.lease(&json!({ "life_s": 1200 })).await;
    assert_ne!(limited.id(), before.id());
    assert!(
        limited.0["constrained"][0].as_str().unwrap().contains("to 600 s by policy `leases`"),
        "{}",
        limited.0
    );
    assert_eq!(scene.lease(&json!({ "life_s": 600 })).await.id(), limited.id(), "it is within the limit");
    // The life counts from the issue on
    scene.broker.clock.advance_s(60);
    let renewal = scene.act(&before, "renew", &json!({ "life_s": 1200 })).await;
    refused(&renewal, 403, "policy_denied");
    assert!(renewal.text().contains("the lease already lives so long"), "{}", renewal.text());
    // A lease lives at least 60 seconds
    applied(&scene.broker, &lease_rule("@max_ttl(\"59s\")")).await;
    refused(&scene.ask(&json!({ "fresh": true })).await, 403, "policy_denied");
    applied(&scene.broker, &lease_rule("")).await;
    for reply in [scene.ask(&json!({})).await, scene.act(&limited, "renew", &json!({})).await] {
        refused(&reply, 403, "policy_denied");
    }
    let path = format!("/v1/leases/{}/renew", before.id());
    refused(&scene.broker.operator().post_json(&path, &json!({})).await, 403, "policy_denied");
}

#[tokio::test]
async fn the_snapshot_of_a_decision_covers_policies_and_environments() {
    let (broker, agent) = broker_with(NO_NIGHTS).await;
    let mut seen = Vec::new();
    for text in [
        String::new(),
        policy("more", "forbid (principal, action, resource) when { resource.access == \"write\" };"),
        "[[environment]]\nname = \"production\"\n".to_owned(),
        DECLARATIONS.replacen("max_life_s = 600", "max_life_s = 600\nenvironment = \"production\"", 1),
    ] {
        if !text.is_empty() {
            applied(&broker, &text).await;
        }
        assert_eq!(ask(&agent, "reports.read").await.status, 200);
        let minted = broker.entries("token.minted").await.last().unwrap()["event"]["snapshot"].clone();
        let declared =
            broker.entries("declarations.applied").await.last().unwrap()["event"]["snapshot"].clone();
        assert_eq!(minted, declared);
        assert!(!seen.contains(&minted));
        seen.push(minted);
    }
}

#[tokio::test]
async fn an_environment_binds_its_capabilities() {
    let (mut broker, mut agent) =
        broker_with("forbid (principal, action == Keyward::Action::\"lease\", resource);").await;
    let text = format!(
        "[[environment]]\nname = \"production\"\n{}{}",
        DECLARATIONS.replacen("max_life_s = 120", "max_life_s = 120\nenvironment = \"production\"", 1),
        policy("production", "forbid (principal, action, resource in Keyward::Environment::\"production\");")
    );
    applied(&broker, &text).await;
    refused(&ask(&agent, "reports.publish").await, 403, "policy_denied");
    assert_eq!(ask(&agent, "reports.read").await.status, 200);
    // After a restart the policies are as they were
    broker.restart().await;
    agent.caller.address = broker.agents();
    refused(&ask(&agent, "reports.publish").await, 403, "policy_denied");
    assert_eq!(ask(&agent, "reports.read").await.status, 200);
    broker.take_snapshot().await;
    broker.restart().await;
    agent.caller.address = broker.agents();
    refused(&ask(&agent, "reports.publish").await, 403, "policy_denied");
}

#[tokio::test]
async fn the_examples_of_the_page_apply_and_do_what_it_says() {
    let broker = TestBroker::start_at(MORNING, "").await;
    let (demands, others): (Vec<String>, Vec<String>) = fenced("reference/policy.md", "toml")
        .into_iter()
        .partition(|example| example.contains("@decision(\"require_approval\")"));
    for example in &others {
        applied(&broker, example).await;
    }
    let agent = broker.agent("deploy-bot", &[]).await;
    let token = ask(&agent, "web.deploy").await;
    assert_eq!((token.status, &token.json()["expires_in"]), (200, &json!(300)), "{}", token.text());
    for example in &demands {
        applied(&broker, example).await;
    }
    refused(&ask(&agent, "web.deploy").await, 400, "approval_required");
    broker.clock.advance_s(12 * 3600);
    let denied = ask(&agent, "web.deploy").await;
    refused(&denied, 403, "policy_denied");
    let page = std::fs::read_to_string(crate::readme::root().join("docs/reference/policy.md")).unwrap();
    let said = denied.json()["error_description"].as_str().unwrap_or_default().to_owned();
    assert!(!said.is_empty() && page.contains(&said), "{}", denied.text());
}
