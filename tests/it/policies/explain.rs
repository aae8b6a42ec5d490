//! Explanations of decisions, for operators and for agents.

use keyward::base::limits::{EXPLANATIONS_BURST, EXPLANATIONS_PER_S};
use serde_json::{Value, json};

use super::{NO_NIGHTS, applied, ask, broker_with, policy};
use crate::operators::{join, standing, teams};
use crate::refusals::refused;
use crate::support::broker::{Agent, DECLARATIONS, Reply, TestBroker};

fn decision(reply: &Reply) -> String {
    reply.json()["decision_id"].as_str().unwrap().to_owned()
}

async fn explained(broker: &TestBroker, decision: &str) -> Value {
    let reply = broker.operator().get(&format!("/v1/decisions/{decision}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

async fn own(agent: &Agent, decision: &str) -> Reply {
    agent.caller.get(&format!("/v1/decisions/{decision}")).await
}

#[tokio::test]
async fn a_denial_is_explained_by_each_rule_and_the_change_that_would_allow() {
    // Given a denial by one of four policies
    let (broker, agent) = broker_with(NO_NIGHTS).await;
    for (name, rule) in [
        ("of-leases", "forbid (principal, action == Keyward::Action::\"lease\", resource);"),
        ("of-reports", "forbid (principal, action, resource == Keyward::Capability::\"reports.read\");"),
        ("of-readers", "forbid (principal in Keyward::Role::\"repo-reader\", action, resource);"),
        (
            "of-long",
            "forbid (principal, action, resource) when { context has requested_life_s && context.requested_life_s > 900 };",
        ),
    ] {
        applied(&broker, &policy(name, rule)).await;
    }
    broker.clock.advance_s(8 * 3600);
    let denied = agent.ask("grant_type=client_credentials&scope=reports.publish&expires_in=120").await;
    refused(&denied, 403, "policy_denied");
    // When an operator asks, then the explanation has each rule and why it did not match
    let answer = explained(&broker, &decision(&denied)).await;
    assert_eq!(
        (&answer["action"], &answer["outcome"], &answer["code"], &answer["life_s"]),
        (&json!("token"), &json!("deny"), &json!("policy_denied"), &json!(120))
    );
    assert_eq!(answer["rules"], json!(["role publisher", "policy no-nights"]));
    let capability = &answer["capabilities"][0];
    assert_eq!(capability["held_by"], json!(["publisher"]));
    let results: Vec<(&str, &str)> = capability["policies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["policy"].as_str().unwrap(), one["result"].as_str().unwrap()))
        .collect();
    assert_eq!(
        results,
        [
            ("no-nights", "denies"),
            ("of-long", "condition"),
            ("of-leases", "other-action"),
            ("of-readers", "other-principal"),
            ("of-reports", "other-resource"),
        ]
    );
    assert_eq!(answer["now"]["same_declarations"], true);
    assert_eq!(
        (&answer["change"]["kind"], &answer["change"]["name"]),
        (&json!("change-policy"), &json!("no-nights"))
    );
    // And the agent sees the policy that denies it, and no other
    let answer = own(&agent, &decision(&denied)).await.json();
    let policies = answer["capabilities"][0]["policies"].as_array().unwrap();
    assert_eq!((policies.len(), &policies[0]["policy"]), (1, &json!("no-nights")));
    assert!(answer.get("rules").is_none() && answer.get("seq").is_none(), "{answer}");
}

#[tokio::test]
async fn the_role_that_an_agent_lacks_is_named_to_operators_only() {
    let (broker, _) = broker_with(NO_NIGHTS).await;
    let reader = broker.agent("b", &["repo-reader"]).await;
    let denied = ask(&reader, "reports.publish").await;
    refused(&denied, 400, "capability_not_granted");
    let answer = explained(&broker, &decision(&denied)).await;
    assert_eq!(answer["capabilities"][0]["other_roles"], json!(["publisher"]));
    assert_eq!(
        (&answer["change"]["kind"], &answer["change"]["name"]),
        (&json!("hold-role"), &json!("publisher"))
    );
    let told = own(&reader, &decision(&denied)).await.text();
    assert!(!told.contains("publisher"), "{told}");
    // And a name of nothing looks the same to the agent, as does one that policies deny with each role
    applied(&broker, &policy("stop", "forbid (principal, action, resource);")).await;
    let mut answers = Vec::new();
    for name in ["reports.publish", "absent.read", "github.repo.write"] {
        let mut answer = own(&reader, &decision(&ask(&reader, name).await)).await.json();
        answer["decision"] = Value::Null;
        answers.push(answer);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(
        (&answers[0]["capabilities"], &answers[0]["change"]["kind"]),
        (&json!([]), &json!("hold-role"))
    );
}

#[tokio::test]
async fn explanations_of_an_agent_are_limited() {
    let (broker, agent) = broker_with(NO_NIGHTS).await;
    let minted = decision(&ask(&agent, "reports.read").await);
    for _ in 0..EXPLANATIONS_BURST {
        assert_eq!(own(&agent, &minted).await.status, 200);
    }
    assert_eq!(own(&agent, &minted).await.status, 429);
    broker.clock.advance_s(EXPLANATIONS_PER_S);
    assert_eq!(own(&agent, &minted).await.status, 200);
}

#[tokio::test]
async fn an_operator_with_an_owner_sees_no_policies_and_roles_of_others() {
    // Given policies of two owners and one of nobody, of which only one of another owner's could not match
    let (broker, red, blue) = teams().await;
    let text = policy("blue-rule", "forbid (principal, action, resource);");
    let body = json!({ "files": [{ "name": "a.toml", "text": text }], "widen": true });
    assert_eq!(blue.post_json("/v1/apply", &body).await.status, 200);
    let text = policy("red-rule", "forbid (principal, action == Keyward::Action::\"lease\", resource);");
    let body = json!({ "files": [{ "name": "a.toml", "text": text }], "widen": true });
    assert_eq!(red.post_json("/v1/apply", &body).await.status, 200);
    let of_nobody =
        policy("of-leases", "forbid (principal, action == Keyward::Action::\"lease\", resource);");
    let short = policy("short", "@max_ttl(\"30s\") forbid (principal, action, resource);");
    applied(&broker, &format!("{of_nobody}{short}")).await;
    let agent = broker.agent("red-bot", &[]).await;
    let minted = decision(&ask(&agent, "red.read").await);
    // When the operator of `red` asks, then it sees its own policy, and the one of nobody that matches
    let names = |answer: &Value| -> Vec<String> {
        let policies = answer["capabilities"][0]["policies"].as_array().unwrap().iter();
        policies.map(|one| one["policy"].as_str().unwrap().to_owned()).collect()
    };
    let reply = red.get(&format!("/v1/decisions/{minted}")).await;
    assert_eq!(names(&reply.json()), ["short", "red-rule"], "{}", reply.text());
    assert!(!reply.text().contains("blue"), "{}", reply.text());
    // The twin: an operator of all sees each of them
    assert_eq!(names(&explained(&broker, &minted).await).len(), 4);
}

#[tokio::test]
async fn grants_leases_and_readings_are_explained() {
    let (broker, agent) = broker_with("@max_ttl(\"1m\") forbid (principal, action, resource);").await;
    let minted = ask(&agent, "reports.read%20absent.read").await;
    let answer = explained(&broker, &decision(&minted)).await;
    assert_eq!((&answer["outcome"], &answer["now"]["outcome"]), (&json!("constrain"), &json!("constrain")));
    assert_eq!(answer["capabilities"][0]["policies"][0]["result"], "limits-life");
    assert!(answer.get("change").is_none(), "{answer}");
}

#[tokio::test]
async fn a_denial_for_what_the_entry_does_not_say_stays_one() {
    let (broker, agent) = broker_with(NO_NIGHTS).await;
    let form = "grant_type=client_credentials&scope=reports.read&resource=https%3A%2F%2Fother.example.com";
    let denied = agent.ask(form).await;
    refused(&denied, 400, "audience_mismatch");
    let answer = explained(&broker, &decision(&denied)).await;
    assert_eq!(
        (&answer["now"]["outcome"], &answer["now"]["code"]),
        (&json!("deny"), &json!("audience_mismatch"))
    );
}

#[tokio::test]
async fn a_decision_of_earlier_declarations_is_decided_again() {
    let (broker, agent) = broker_with(NO_NIGHTS).await;
    broker.clock.advance_s(8 * 3600);
    let denied = ask(&agent, "reports.publish").await;
    let before = explained(&broker, &decision(&denied)).await;
    applied(
        &broker,
        &policy("no-nights", "forbid (principal, action == Keyward::Action::\"lease\", resource);"),
    )
    .await;
    let answer = explained(&broker, &decision(&denied)).await;
    assert_eq!(answer["rules"], before["rules"], "as the entry says");
    assert_eq!(
        (&answer["now"]["same_declarations"], &answer["now"]["outcome"], &answer["outcome"]),
        (&json!(false), &json!("allow"), &json!("deny"))
    );
}

#[tokio::test]
async fn a_decision_is_explained_to_its_agent_and_to_operators_who_see_its_entry() {
    let (broker, red, blue) = teams().await;
    let agent = broker.agent("red-bot", &[]).await;
    let other = broker.agent("blue-bot", &[]).await;
    let minted = decision(&ask(&agent, "red.read").await);
    assert_eq!(own(&agent, &minted).await.status, 200);
    refused(&own(&other, &minted).await, 404, "decision_unknown");
    let path = format!("/v1/decisions/{minted}");
    assert_eq!(red.get(&path).await.status, 200);
    refused(&blue.get(&path).await, 404, "decision_unknown");
    let approver = join(&broker, "amy", &standing("approver", None)).await.caller;
    refused(&approver.get(&path).await, 403, "operator_role_insufficient");
    let absent = "/v1/decisions/dec_00000000000000000000000000";
    refused(&broker.operator().get(absent).await, 404, "decision_unknown");
    refused(&broker.operator().get("/v1/decisions/x").await, 400, "id_not_canonical");
}

#[tokio::test]
async fn roles_in_the_facts_of_a_request_are_not_shown_to_other_owners() {
    let (broker, red, _) = teams().await;
    let agent = broker.agent("red-bot", &[]).await;
    assert_eq!(ask(&agent, "red.read").await.status, 200);
    let whole = broker.entries("token.minted").await;
    assert!(whole.last().unwrap()["event"]["facts"]["roles"].is_array(), "{whole:?}");
    let shown = red.get("/v1/ledger/entries?kind=token.minted").await.text();
    assert!(shown.contains("red-bot") && !shown.contains("\"facts\""), "{shown}");
}

#[tokio::test]
async fn an_old_decision_is_explained_by_the_rules_of_then() {
    // Given a denial by a policy, which was changed, and a role that was removed since
    let (mut broker, agent) = broker_with(NO_NIGHTS).await;
    broker.clock.advance_s(8 * 3600);
    let denied = ask(&agent, "reports.publish").await;
    refused(&denied, 403, "policy_denied");
    let id = decision(&denied);
    assert_eq!(explained(&broker, &id).await.get("then"), None, "the declarations are the same");
    let entry = broker.entries("declarations.applied").await.last().unwrap()["seq"].clone();
    applied(
        &broker,
        &policy("no-nights", "forbid (principal, action == Keyward::Action::\"lease\", resource);"),
    )
    .await;
    let longer = DECLARATIONS.replace("max_life_s = 120", "max_life_s = 60");
    applied(&broker, &longer).await;
    // When it is explained, also after a restart, then by the rules of then and by the present ones
    for _ in 0..2 {
        let answer = explained(&broker, &id).await;
        let of_then = &answer["then"]["capabilities"][0];
        assert_eq!((&answer["then"]["seq"], &of_then["held_by"]), (&entry, &json!(["publisher"])));
        assert_eq!(of_then["policies"][0]["result"], "denies", "{answer}");
        let of_now = &answer["capabilities"][0]["policies"][0];
        assert_eq!((&of_now["policy"], &of_now["result"]), (&json!("no-nights"), &json!("other-action")));
        assert_eq!(
            (&answer["now"]["outcome"], &answer["now"]["same_declarations"]),
            (&json!("allow"), &json!(false))
        );
        broker.restart().await;
    }
}

#[tokio::test]
async fn a_request_that_names_an_audience_or_an_action_is_decided_again() {
    // Given denials because of the audience, and because of the action that a detail names
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["publisher"]).await;
    let other = "grant_type=client_credentials&scope=reports.read&resource=https://other.example.com";
    let detail =
        json!([{ "type": "keyward_capability", "capability": "reports.publish", "actions": ["read"] }]);
    let mut action = form_urlencoded::Serializer::new("grant_type=client_credentials".to_owned());
    action.append_pair("authorization_details", &detail.to_string());
    for (form, code) in [(other, "audience_mismatch"), (&*action.finish(), "capability_action_mismatch")] {
        let denied = agent.ask(form).await;
        assert_eq!(denied.code(), code, "{}", denied.text());
        // When they are explained, then the same request is decided now
        let answer = explained(&broker, &decision(&denied)).await;
        assert_eq!((&answer["now"]["outcome"], &answer["now"]["code"]), (&json!("deny"), &json!(code)));
        let reasons = answer["now"]["reasons"].to_string();
        assert!(!reasons.contains("the entry does not have"), "{reasons}");
    }
    // And the entry has no audience and no capability that are not declared
    let denied = broker.entries("request.denied").await;
    let targets: Vec<&Value> = denied.iter().map(|entry| &entry["event"]["facts"]["target"]).collect();
    let expected = [json!({ "other_resource": true }), json!({ "actions": { "reports.publish": "read" } })];
    assert_eq!(targets, expected.iter().collect::<Vec<_>>());
    // And a simulation replays them
    let files = json!([{ "name": "draft.toml", "text": DECLARATIONS.replace("access = \"write\"", "access = \"read\"") }]);
    let body = json!({ "files": files, "since": "1d" });
    let reply = broker.operator().post_json("/v1/simulations", &body).await.json();
    let changes = reply["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{reply}");
    assert_eq!(
        (&changes[0]["capability"], &changes[0]["change"]),
        (&json!("reports.publish"), &json!("newly-allowed"))
    );
}
