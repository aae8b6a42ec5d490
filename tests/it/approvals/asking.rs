//! How approvals are opened, grouped, listed and withdrawn.

use keyward::base::limits::{
    APPROVAL_DEMANDS_MAX, APPROVAL_GRANT_S_MAX, APPROVAL_GRANT_S_MIN, APPROVAL_PENDING_S,
    APPROVAL_POLICIES_MAX, APPROVAL_USES_MAX, APPROVALS_PENDING_MAX,
};
use serde_json::json;

use super::*;
use crate::refusals::refused;

#[tokio::test]
async fn a_denied_token_request_opens_one_approval() {
    let (broker, agent, ann) = scene().await;
    // When the agent asks for a token that needs an approval
    let reply = ask(&agent, "reports.publish").await;
    // Then it gets the approval's id and address
    refused(&reply, 400, "approval_required");
    let body = reply.json();
    let id = body["approval_id"].as_str().unwrap();
    assert_eq!(body["approval_uri"], json!(format!("/v1/approvals/{id}")));
    assert_eq!(state(&agent, id).await, "pending");
    // And the same request finds the same approval, and another one opens its own
    assert_eq!(needed(&agent, "reports.publish").await, id);
    let other = agent.ask("grant_type=client_credentials&scope=reports.publish&expires_in=30").await;
    assert_ne!(other.json()["approval_id"], json!(id), "{}", other.text());
    // And operators see what is asked, by its id and by its code
    let shown = ann.caller.get(&format!("/v1/approvals/{id}")).await.json();
    let code = shown["user_code"].as_str().unwrap().to_lowercase();
    assert_eq!(ann.caller.get(&format!("/v1/approvals/{code}")).await.json(), shown);
    assert_eq!(shown["request"]["agent"], "spiffe://keyward.test/agent/a");
    assert_eq!(shown["request"]["capabilities"], json!([{ "name": "reports.publish", "access": "write" }]));
    assert_eq!(shown["demands"][0]["reason"], "production");
    assert_eq!((&shown["agent"], &shown["source"]), (&json!("a"), &json!("127.0.0.1")));
    // And the ledger has both openings, and no denial
    assert_eq!(broker.entries("approval.requested").await.len(), 2);
    assert!(broker.entries("request.denied").await.is_empty());
    // And a request that needs no approval gets its token
    assert_eq!(ask(&agent, "reports.read").await.status, 200);
}

#[tokio::test]
async fn refusal_that_needs_an_approval_can_be_explained() {
    let (_broker, agent, _) = scene().await;
    // When a request needs an approval, then its decision is the one that opened the approval
    let first = ask(&agent, "reports.publish").await.json();
    let id = first["approval_id"].as_str().unwrap();
    let decision = first["decision_id"].as_str().unwrap().to_owned();
    // And so it is of the same request again, of one that names the pending approval, and of the approval
    let again = ask(&agent, "reports.publish").await.json();
    let pending = ask_with(&agent, "reports.publish", id).await.json();
    let shown = agent.caller.get(&format!("/v1/approvals/{id}")).await.json();
    for body in [again, pending, shown] {
        assert_eq!(body["decision_id"], json!(decision), "{body}");
    }
    let explained = agent.caller.get(&format!("/v1/decisions/{decision}")).await;
    assert_eq!(explained.status, 200, "{}", explained.text());
    let explained = explained.json();
    assert_eq!((&explained["outcome"], &explained["approval"]), (&json!("approval"), &json!(id)));
    // An approval that the agent asked for has one, too
    let body = json!({ "capabilities": ["reports.publish"], "reason": "x" });
    let asked = agent.caller.post_json("/v1/approvals", &body).await.json();
    let decision = asked["decision_id"].as_str().unwrap();
    assert_eq!(agent.caller.get(&format!("/v1/decisions/{decision}")).await.status, 200);
}

#[tokio::test]
async fn an_agent_lists_its_own_requests() {
    let (broker, agent, ann) = scene().await;
    let first = needed(&agent, "reports.publish").await;
    broker.clock.advance_s(1);
    let body = json!({ "capabilities": ["reports.publish"], "reason": "quarterly report" });
    let second = agent.caller.post_json("/v1/approvals", &body).await.json();
    assert_eq!(ann.deny(&first).await.status, 200);
    // Then the newest is the first, with its reason and its capabilities, and ended ones are there
    let listed = agent.caller.get("/v1/approvals").await.json();
    let ids: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|one| one["approval"].as_str().unwrap()).collect();
    assert_eq!(ids, [second["approval"].as_str().unwrap(), first.as_str()]);
    let newest = &listed["items"][0];
    assert_eq!(newest["capabilities"], json!(["reports.publish"]));
    assert_eq!((&newest["reason"], &newest["state"]), (&json!("quarterly report"), &json!("pending")));
    assert_eq!(listed["items"][1]["state"], "denied");
    // And another agent sees none of them
    let other = super::agent(&broker, "b").await;
    assert_eq!(other.caller.get("/v1/approvals").await.json()["items"], json!([]));
}

#[tokio::test]
async fn identical_requests_at_the_same_time_open_one_approval() {
    let (_broker, agent, _) = scene().await;
    let asking = (0..20).map(|_| needed(&agent, "reports.publish"));
    let mut ids = futures_of(asking).await;
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

async fn futures_of<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|cx| {
        all.retain_mut(|one| match one.as_mut().poll(cx) {
            std::task::Poll::Ready(value) => {
                done.push(value);
                false
            }
            std::task::Poll::Pending => true,
        });
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

#[tokio::test]
async fn so_many_requests_of_an_agent_are_pending() {
    let (broker, agent, ann) = scene().await;
    let ask_for = async |life_s: usize| {
        agent.ask(&format!("grant_type=client_credentials&scope=reports.publish&expires_in={life_s}")).await
    };
    for life_s in 0..APPROVALS_PENDING_MAX {
        refused(&ask_for(20 + life_s).await, 400, "approval_required");
    }
    // Then a further one fails, also when it is repeated, and the fix names requests of the agent and the verb
    let beyond = ask_for(90).await;
    refused(&beyond, 429, "too_many_approvals");
    let body = beyond.json();
    assert_eq!((&body["retryable"], beyond.header("retry-after")), (&json!(false), ""));
    let own = agent.caller.get("/v1/approvals").await.json()["items"].take();
    let oldest = own.as_array().unwrap().last().unwrap()["approval"].as_str().unwrap().to_owned();
    let fix = body["fix"].as_str().unwrap();
    assert!(fix.contains(&format!("`keyward request withdraw {oldest}`")), "{fix}");
    // Another instance of the agent has none to withdraw
    applied(
        &broker,
        "[[agent]]\nname = \"a\"\nroles = [\"publisher\"]\nperson = \"dev@corp.example\"\nmax_instances = 2\n",
    )
    .await;
    let other = ask(&broker.agent("a", &[]).await, "reports.publish").await;
    refused(&other, 429, "too_many_approvals");
    assert!(other.json()["fix"].as_str().unwrap().contains("other instances"), "{}", other.text());
    // An identical one is among them
    refused(&ask_for(20).await, 400, "approval_required");
    // A decision about one of them makes room
    let listed =
        ann.caller.get("/v1/approvals?state=pending&agent=a&capability=reports.publish").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), APPROVALS_PENDING_MAX);
    let id = listed["items"][0]["approval"].as_str().unwrap();
    assert_eq!(ann.deny(id).await.status, 200);
    refused(&ask_for(90).await, 400, "approval_required");
    // And so does their end
    advance(&broker, APPROVAL_PENDING_S);
    refused(&ask(&agent, "reports.publish").await, 400, "approval_required");
}

#[tokio::test]
async fn an_agent_asks_before_it_requests_a_token() {
    let (_broker, agent, ann) = scene().await;
    let body =
        json!({ "capabilities": ["reports.publish"], "reason": "quarterly report", "grant_life_s": 1800 });
    let reply = agent.caller.post_json("/v1/approvals", &body).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let asked = reply.json();
    let id = asked["approval"].as_str().unwrap();
    assert_eq!(reply.header("location"), format!("/v1/approvals/{id}"));
    let shown = ann.caller.get(&format!("/v1/approvals/{id}")).await.json();
    assert_eq!(shown["request"]["reason"], "quarterly report");
    assert_eq!(shown["request"]["uses"], APPROVAL_USES_MAX);
    // One that needs no approval is refused
    let plain = json!({ "capabilities": ["reports.read"], "reason": "x" });
    refused(&agent.caller.post_json("/v1/approvals", &plain).await, 409, "approval_not_needed");
    let none = json!({ "capabilities": ["absent.capability"], "reason": "x" });
    refused(&agent.caller.post_json("/v1/approvals", &none).await, 400, "capability_not_granted");
}

#[tokio::test]
async fn numbers_of_a_request_have_their_limits() {
    let (_broker, agent, _) = scene().await;
    let asked = async |field: &str, value: u32| {
        let mut body = json!({ "capabilities": ["reports.publish"], "reason": "x" });
        body[field] = value.into();
        agent.caller.post_json("/v1/approvals", &body).await
    };
    for (field, good, bad) in [
        ("uses", 1, 0),
        ("uses", APPROVAL_USES_MAX, APPROVAL_USES_MAX + 1),
        ("grant_life_s", APPROVAL_GRANT_S_MIN, APPROVAL_GRANT_S_MIN - 1),
        ("grant_life_s", APPROVAL_GRANT_S_MAX, APPROVAL_GRANT_S_MAX + 1),
    ] {
        assert_eq!(asked(field, good).await.status, 202, "{field} {good}");
        refused(&asked(field, bad).await, 400, "approval_request_invalid");
    }
    refused(&asked("life_s", 1).await, 400, "expires_in_invalid");
}

#[tokio::test]
async fn an_agent_withdraws_its_request() {
    let (broker, agent, ann) = scene().await;
    let id = needed(&agent, "reports.publish").await;
    let other = super::agent(&broker, "b").await;
    let path = format!("/v1/approvals/{id}/withdraw");
    refused(&other.caller.post_json(&path, &json!({})).await, 400, "approval_of_another_agent");
    for _ in 0..2 {
        let withdrawn = agent.caller.post_json(&path, &json!({})).await;
        assert_eq!((withdrawn.status, &withdrawn.json()["state"]), (200, &json!("withdrawn")));
    }
    assert_eq!(broker.entries("approval.withdrawn").await.len(), 1);
    refused(&ann.approve(&id).await, 409, "approval_already_ended");
    refused(&ask_with(&agent, "reports.publish", &id).await, 400, "approval_withdrawn");
    refused(&other.caller.get(&format!("/v1/approvals/{id}")).await, 400, "approval_of_another_agent");
}

#[tokio::test]
async fn operators_see_the_approvals_of_their_owner() {
    let (broker, red, blue) = crate::operators::teams().await;
    applied(&broker, &policy("second", BY_SECOND, "red.call")).await;
    let role = "[[role]]\nname = \"red-caller\"\ncapabilities = [\"red.call\"]\n[[agent]]\nname = \"red-bot\"\nroles = [\"red-reader\", \"red-caller\"]\nperson = \"dev@corp.example\"\n";
    let reply = red
        .post_json("/v1/apply", &json!({ "widen": true, "files": [{ "name": "a.toml", "text": role }] }))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let agent = broker.agent("red-bot", &[]).await;
    let id = needed(&agent, "red.call").await;
    let path = format!("/v1/approvals/{id}");
    assert_eq!(red.get(&path).await.status, 200);
    refused(&blue.get(&path).await, 404, "approval_unknown");
    let listed = blue.get("/v1/approvals").await.json();
    assert!(listed["items"].as_array().unwrap().is_empty(), "{listed}");
    let voted = blue.post_json(&format!("{path}/votes"), &json!({ "verdict": "deny" })).await;
    refused(&voted, 404, "approval_unknown");
}

#[tokio::test]
async fn operator_with_an_owner_sees_no_request_in_the_entry_of_a_vote() {
    // Given a request for a capability of the owner, in an environment of nobody, and its vote
    let (broker, red, _) = crate::operators::teams().await;
    let place = "[[environment]]\nname = \"staging-east\"\n";
    applied(&broker, &format!("{place}{}", policy("second", BY_SECOND, "red.call"))).await;
    let call = "[[capability]]\nname = \"red.call\"\naccess = \"write\"\ndelivery = \"mint\"\n\
                audience = \"https://red.example.com\"\nmax_life_s = 120\nenvironment = \"staging-east\"\n\
                [capability.parameters]\naccount = { type = \"text\" }\n";
    let role = "[[role]]\nname = \"red-caller\"\ncapabilities = [\"red.call\"]\n[[agent]]\nname = \"red-bot\"\nroles = [\"red-reader\", \"red-caller\"]\nperson = \"dev@corp.example\"\n";
    let text = format!("{call}{role}");
    let files = json!({ "widen": true, "files": [{ "name": "a.toml", "text": text }] });
    let reply = red.post_json("/v1/apply", &files).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let agent = broker.agent("red-bot", &[]).await;
    let body = json!({
        "capabilities": ["red.call"], "reason": "x", "parameters": { "red.call": { "account": "p-4711" } },
    });
    let id = agent.caller.post_json("/v1/approvals", &body).await.json()["approval"].clone();
    let ann = Approver::join(&broker, "ann", "approver", "ann@corp.example").await;
    ann.approves(id.as_str().unwrap()).await;
    // When the operator reads the entry of the vote, then it is without the request
    let path = "/v1/ledger/entries?kind=approval.approved";
    let seen = red.get(path).await.json();
    let event = &seen["items"][0]["event"];
    assert_eq!((&event["approval"], &event["by"]), (&id, &json!("ann")), "{seen}");
    assert!(event["signature"].is_string() && event["canonical_request"].is_null(), "{seen}");
    assert!(!seen.to_string().contains("p-4711") && !seen.to_string().contains("staging-east"), "{seen}");
    // The twin: an operator with the scope `all` sees it
    let whole = broker.operator().get(path).await.text();
    assert!(whole.contains("p-4711") && whole.contains("staging-east"), "{whole}");
}

#[tokio::test]
async fn a_list_of_approvals_has_pages() {
    let (broker, agent, ann) = scene().await;
    for life_s in [20, 30, 40] {
        let form = format!("grant_type=client_credentials&scope=reports.publish&expires_in={life_s}");
        refused(&agent.ask(&form).await, 400, "approval_required");
        broker.clock.advance_s(1);
    }
    let first = ann.caller.get("/v1/approvals?limit=2").await.json();
    let lives = |page: &Value| -> Vec<i64> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["request"]["life_s"].as_i64().unwrap())
            .collect()
    };
    assert_eq!(lives(&first), [40, 30], "the newest first");
    let after = first["next_after"].as_str().unwrap();
    let second = ann.caller.get(&format!("/v1/approvals?limit=2&after={after}")).await.json();
    assert_eq!((lives(&second), &second["next_after"]), (vec![20], &Value::Null));
    for query in ["state=odd", "limit=0", "agent=A", "x=1", "limit=1&limit=2"] {
        assert_eq!(ann.caller.get(&format!("/v1/approvals?{query}")).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn so_many_policies_can_demand_approval_of_a_request() {
    let many = |count: usize| -> String {
        (0..count).map(|number| policy(&format!("p{number:02}"), BY_SECOND, "reports.publish")).collect()
    };
    let broker = broker_with(&many(APPROVAL_DEMANDS_MAX)).await;
    let agent = super::agent(&broker, "a").await;
    refused(&ask(&agent, "reports.publish").await, 400, "approval_required");
    applied(&broker, &many(APPROVAL_DEMANDS_MAX + 1)).await;
    refused(&ask(&agent, "reports.publish").await, 403, "approval_too_many_demands");
}

#[tokio::test]
async fn a_request_names_so_many_policies_that_matched() {
    let limits: String = (0..APPROVAL_POLICIES_MAX)
        .map(|number| policy(&format!("l{number:02}"), "@max_ttl(\"1m\")", "reports.publish"))
        .collect();
    let text = format!("{}{limits}", policy("second", BY_SECOND, "reports.publish"));
    let broker = broker_with(&text).await;
    let agent = super::agent(&broker, "a").await;
    let ann = Approver::join(&broker, "ann", "approver", "ann@corp.example").await;
    let id = needed(&agent, "reports.publish").await;
    let shown = ann.caller.get(&format!("/v1/approvals/{id}")).await.json();
    assert_eq!(shown["policies"].as_array().unwrap().len(), APPROVAL_POLICIES_MAX);
    ann.approves(&id).await;
    let token = ask_with(&agent, "reports.publish", &id).await;
    assert_eq!((token.status, &token.json()["expires_in"]), (200, &json!(60)), "{}", token.text());
}
