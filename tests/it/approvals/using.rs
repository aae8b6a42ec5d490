//! How approvals are used, and why they are not.

use keyward::base::limits::{APPROVAL_PENDING_S, APPROVAL_UNUSED_S};
use serde_json::json;

use super::*;
use crate::refusals::refused;

#[tokio::test]
async fn an_approval_gives_one_token() {
    let (broker, agent, ann) = scene().await;
    let id = needed(&agent, "reports.publish").await;
    refused(&ask_with(&agent, "reports.publish", &id).await, 400, "approval_pending");
    ann.approves(&id).await;
    // The request without the approval finds it
    assert_eq!(needed(&agent, "reports.publish").await, id);
    let token = ask_with(&agent, "reports.publish", &id).await;
    assert_eq!(token.status, 200, "{}", token.text());
    refused(&ask_with(&agent, "reports.publish", &id).await, 400, "approval_used");
    // The entry of the token names the approval, and that of the vote has its proof
    let minted = broker.entries("token.minted").await;
    assert_eq!(minted.last().unwrap()["event"]["approval"], json!(id));
    let approved = broker.entries("approval.approved").await;
    let event = &approved[0]["event"];
    assert_eq!((&event["by"], &event["complete"]), (&json!("ann"), &json!(true)));
    assert!(event["signature"].is_string() && event["approval_key"].is_string(), "{event}");
}

#[tokio::test]
async fn fifty_uses_at_the_same_time_give_the_allowed_number() {
    for uses in [1, 7] {
        let (broker, agent, ann) = scene().await;
        let body = json!({ "capabilities": ["reports.publish"], "reason": "x", "uses": uses });
        let id = agent.caller.post_json("/v1/approvals", &body).await.json()["approval"]
            .as_str()
            .unwrap()
            .to_owned();
        ann.approves(&id).await;
        let agent = std::sync::Arc::new(agent);
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (agent, id) = (std::sync::Arc::clone(&agent), id.clone());
            asking.spawn(async move {
                let reply = ask_with(&agent, "reports.publish", &id).await;
                (reply.status, reply.code())
            });
        }
        let answers = asking.join_all().await;
        let given = answers.iter().filter(|(status, _)| *status == 200).count();
        assert_eq!(given, uses, "{answers:?}");
        let others = answers.iter().filter(|(status, _)| *status != 200);
        for (_, code) in others {
            assert!(["approval_used", "rate_limited"].contains(&code.as_str()), "{answers:?}");
        }
        let minted = broker.entries("token.minted").await;
        assert_eq!(minted.iter().filter(|entry| entry["event"]["approval"] == json!(id)).count(), uses);
    }
}

#[tokio::test]
async fn an_approval_has_its_times() {
    let (broker, agent, ann) = scene().await;
    let id = needed(&agent, "reports.publish").await;
    ann.approves(&id).await;
    advance(&broker, APPROVAL_UNUSED_S - 1);
    assert_eq!(state(&agent, &id).await, "approved");
    broker.clock.advance_s(1);
    refused(&ask_with(&agent, "reports.publish", &id).await, 400, "approval_expired");
    // A request that nobody approves
    let id = needed(&agent, "reports.publish").await;
    advance(&broker, APPROVAL_PENDING_S - 1);
    assert_eq!(state(&agent, &id).await, "pending");
    broker.clock.advance_s(1);
    assert_eq!(state(&agent, &id).await, "expired");
    refused(&ask_with(&agent, "reports.publish", &id).await, 400, "approval_expired");
}

#[tokio::test]
async fn the_time_of_a_grant_begins_with_its_first_use() {
    let (broker, agent, ann) = scene().await;
    let body = json!({ "capabilities": ["reports.publish"], "reason": "x", "grant_life_s": 600 });
    let id =
        agent.caller.post_json("/v1/approvals", &body).await.json()["approval"].as_str().unwrap().to_owned();
    ann.approves(&id).await;
    advance(&broker, APPROVAL_UNUSED_S - 10);
    let first = ask_with(&agent, "reports.publish", &id).await;
    assert_eq!((first.status, &first.json()["expires_in"]), (200, &json!(120)), "{}", first.text());
    broker.clock.advance_s(550);
    // A token does not outlive the grant
    let late = ask_with(&agent, "reports.publish", &id).await;
    assert_eq!((late.status, &late.json()["expires_in"]), (200, &json!(50)), "{}", late.text());
    assert!(
        late.json()["constrained"][0].as_str().unwrap().contains("time of the approval"),
        "{}",
        late.text()
    );
    broker.clock.advance_s(45);
    refused(&ask_with(&agent, "reports.publish", &id).await, 400, "approval_expired");
    broker.clock.advance_s(5);
    refused(&ask_with(&agent, "reports.publish", &id).await, 400, "approval_expired");
}

#[tokio::test]
async fn another_request_than_the_approved_one_is_refused() {
    let (broker, agent, ann) = scene().await;
    let id = needed(&agent, "reports.publish").await;
    ann.approves(&id).await;
    for (form, says) in [
        ("scope=reports.publish&expires_in=30", "the life"),
        ("scope=reports.publish%20reports.read", "the capabilities"),
        ("scope=reports.read", "the capabilities"),
    ] {
        let reply = agent.ask(&format!("grant_type=client_credentials&{form}&approval={id}")).await;
        refused(&reply, 400, "approval_request_differs");
        assert!(reply.text().contains(says), "{form}: {}", reply.text());
    }
    let other = super::agent(&broker, "b").await;
    refused(&ask_with(&other, "reports.publish", &id).await, 400, "approval_of_another_agent");
    refused(
        &ask_with(&agent, "reports.publish", "appr_00000000000000000000000040").await,
        400,
        "approval_unknown",
    );
    // The approval is not used up by refusals
    assert_eq!(ask_with(&agent, "reports.publish", &id).await.status, 200);
}

#[tokio::test]
async fn changed_policies_end_an_approval() {
    let two = "@decision(\"require_approval\")\n@quorum(\"2\")";
    for (text, says) in [
        (policy("third", "@max_ttl(\"1m\")", "reports.publish"), "now also matching `third`"),
        (policy("second", two, "reports.publish"), "changed `second`"),
        (policy("second", BY_SECOND, "reports.read"), "no longer matching `second`"),
    ] {
        let (broker, agent, ann) = scene().await;
        let id = needed(&agent, "reports.publish").await;
        ann.approves(&id).await;
        applied(&broker, &text).await;
        let reply = ask_with(&agent, "reports.publish", &id).await;
        refused(&reply, 409, "approval_rules_changed");
        assert!(reply.text().contains(says), "{}", reply.text());
        // Given a policy that denies, then the denial comes first
        applied(&broker, &policy("stop", "@reason(\"closed\")", "reports.publish")).await;
        refused(&ask_with(&agent, "reports.publish", &id).await, 403, "policy_denied");
    }
}

#[tokio::test]
async fn the_votes_of_operators_that_lost_their_right_do_not_count() {
    for what in ["role", "suspend", "revoke", "contain", "person", "key"] {
        let (broker, agent, ann) = scene().await;
        let id = needed(&agent, "reports.publish").await;
        ann.approves(&id).await;
        let by = broker.operator();
        let done = match what {
            "role" => {
                by.put("/v1/operators/ann/role", "application/json", b"{\"role\":\"auditor\",\"owner\":null}")
                    .await
            }
            "contain" => {
                let body = json!({ "subject": { "kind": "operator", "name": "ann" }, "reason": "x" });
                by.post_json("/v1/incidents", &body).await
            }
            "person" => {
                change(&by, "ann", &json!({ "networks": [], "life_s": null, "person": "eve@corp.example" }))
                    .await
            }
            "key" => by.post_json("/v1/operators/ann/approval-key/remove", &json!({})).await,
            other => by.post_json(&format!("/v1/operators/ann/{other}"), &json!({})).await,
        };
        assert_eq!(done.status, 200, "{what}: {}", done.text());
        refused(&ask_with(&agent, "reports.publish", &id).await, 400, "approver_ineligible");
    }
}

#[tokio::test]
async fn a_contained_agent_uses_no_approval() {
    let (broker, agent, ann) = scene().await;
    let id = needed(&agent, "reports.publish").await;
    ann.approves(&id).await;
    let body = json!({ "subject": { "kind": "agent", "name": "a" }, "reason": "x" });
    assert_eq!(broker.operator().post_json("/v1/incidents", &body).await.status, 200);
    let refusal = agent
        .caller
        .attempt(
            "POST",
            "/oauth/token",
            &[("content-type", "application/x-www-form-urlencoded")],
            format!("grant_type=client_credentials&scope=reports.publish&approval={id}").as_bytes(),
        )
        .await;
    assert!(refusal.is_err() || refusal.unwrap().status == 401);
    assert!(broker.entries("token.minted").await.is_empty());
}

#[tokio::test]
async fn approvals_survive_a_restart_in_each_state() {
    let (mut broker, agent, ann) = scene().await;
    let open = async |agent: &Agent, life_s: u32| {
        let form = format!("grant_type=client_credentials&scope=reports.publish&expires_in={life_s}");
        agent.ask(&form).await.json()["approval_id"].as_str().unwrap().to_owned()
    };
    let (pending, approved) = (open(&agent, 20).await, open(&agent, 30).await);
    let (denied, used) = (open(&agent, 40).await, open(&agent, 50).await);
    ann.approves(&approved).await;
    assert_eq!(ann.deny(&denied).await.status, 200);
    ann.approves(&used).await;
    let form = |life_s: u32, id: &str| {
        format!("grant_type=client_credentials&scope=reports.publish&expires_in={life_s}&approval={id}")
    };
    assert_eq!(agent.ask(&form(50, &used)).await.status, 200);
    broker.take_snapshot().await;
    for _ in 0..2 {
        broker.restart().await;
        let again = Agent {
            caller: broker.caller(broker.agents(), Some(&agent.certificate), Some(&agent.key)),
            certificate: agent.certificate.clone(),
            key: agent.key.clone(),
        };
        for (id, expected) in
            [(&pending, "pending"), (&approved, "approved"), (&denied, "denied"), (&used, "used")]
        {
            assert_eq!(state(&again, id).await, expected);
        }
        refused(&again.ask(&form(50, &used)).await, 400, "approval_used");
        refused(&again.ask(&form(40, &denied)).await, 400, "approval_denied");
        refused(&again.ask(&form(20, &pending)).await, 400, "approval_pending");
    }
    let again = Agent {
        caller: broker.caller(broker.agents(), Some(&agent.certificate), Some(&agent.key)),
        certificate: agent.certificate.clone(),
        key: agent.key.clone(),
    };
    assert_eq!(again.ask(&form(30, &approved)).await.status, 200);
}

#[tokio::test]
async fn a_repeated_request_gets_its_token_again_and_no_further_use() {
    let (broker, agent, ann) = scene().await;
    let id = needed(&agent, "reports.publish").await;
    ann.approves(&id).await;
    let form = format!("grant_type=client_credentials&scope=reports.publish&approval={id}");
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("idempotency-key", "one")];
    let first = agent.caller.send("POST", "/oauth/token", &headers, form.as_bytes()).await;
    let second = agent.caller.send("POST", "/oauth/token", &headers, form.as_bytes()).await;
    assert_eq!((first.status, second.status), (200, 200), "{}", second.text());
    assert_eq!(first.json()["token_id"], second.json()["token_id"]);
    // After a denial of the approval it is not signed again
    assert_eq!(broker.entries("token.minted").await.len(), 1);
    applied(&broker, &policy("second", "@decision(\"require_approval\")\n@quorum(\"2\")", "reports.publish"))
        .await;
    let third = agent.caller.send("POST", "/oauth/token", &headers, form.as_bytes()).await;
    refused(&third, 409, "approval_rules_changed");
}

#[tokio::test]
async fn an_approval_is_for_the_instance_that_asked() {
    let (broker, agent, ann) = scene().await;
    applied(
        &broker,
        "[[agent]]\nname = \"a\"\nroles = [\"publisher\"]\nperson = \"dev@corp.example\"\nmax_instances = 2\n",
    )
    .await;
    let other = broker.agent("a", &[]).await;
    let id = needed(&agent, "reports.publish").await;
    // Given another instance of the agent, then it opens its own request, and uses no other
    assert_ne!(needed(&other, "reports.publish").await, id);
    ann.approves(&id).await;
    refused(&ask_with(&other, "reports.publish", &id).await, 400, "approval_of_another_agent");
    refused(&other.caller.get(&format!("/v1/approvals/{id}")).await, 400, "approval_of_another_agent");
    assert_eq!(ask_with(&agent, "reports.publish", &id).await.status, 200);
}

#[tokio::test]
async fn another_secret_of_a_capability_ends_its_approval() {
    let broker = broker_with(&policy("second", BY_SECOND, "github.repo.read")).await;
    let text = "[[agent]]\nname = \"a\"\nroles = [\"repo-reader\"]\nperson = \"dev@corp.example\"\n";
    applied(&broker, text).await;
    let agent = broker.agent("a", &[]).await;
    let ann = Approver::join(&broker, "ann", "approver", "ann@corp.example").await;
    let id = needed(&agent, "github.repo.read").await;
    let shown = ann.caller.get(&format!("/v1/approvals/{id}")).await.json();
    assert_eq!(shown["request"]["capabilities"][0]["secret"], "github/app");
    ann.approves(&id).await;
    let kind = "application/octet-stream";
    assert_eq!(broker.operator().put("/v1/secrets/prod/db", kind, b"value").await.status, 201);
    let moved =
        crate::support::broker::DECLARATIONS.replace("secret = \"github/app\"", "secret = \"prod/db\"");
    applied(&broker, &moved).await;
    refused(&ask_with(&agent, "github.repo.read", &id).await, 400, "approval_request_differs");
}

#[tokio::test]
async fn a_request_that_waited_is_repeated_by_its_idempotency_key() {
    let (broker, agent, ann) = scene().await;
    let id = needed(&agent, "reports.publish").await;
    ann.approves(&id).await;
    let form = "grant_type=client_credentials&scope=reports.publish";
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("idempotency-key", "one"),
        ("prefer", "respond-async"),
    ];
    let send = async || agent.caller.send("POST", "/oauth/token", &headers, form.as_bytes()).await;
    let (first, second) = (send().await, send().await);
    assert_eq!((first.status, second.status), (200, 200), "{} {}", first.text(), second.text());
    assert_eq!(first.json()["token_id"], second.json()["token_id"]);
    assert_eq!(broker.entries("token.minted").await.len(), 1);
}
