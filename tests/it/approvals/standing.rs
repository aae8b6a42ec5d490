//! What approvers see of an approval that was given: votes that do not count any more, remaining uses, and valid tokens.

use serde_json::json;

use super::*;
use crate::approval_keys::accept_on_host;
use crate::refusals::refused;

async fn shown(by: &Caller, id: &str) -> Value {
    let reply = by.get(&format!("/v1/approvals/{id}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// The ids of the valid tokens in an answer.
fn valid(answer: &Value) -> Vec<String> {
    let tokens = answer["valid_tokens"].as_array().map(Vec::as_slice).unwrap_or_default();
    tokens.iter().map(|one| one["token"].as_str().unwrap().to_owned()).collect()
}

fn group(operator: &str) -> String {
    format!("[[approver_group]]\nname = \"leads\"\noperators = [\"{operator}\"]\n")
}

/// Opens a request for several tokens; its id.
async fn open(agent: &Agent, uses: u32) -> String {
    let body =
        json!({ "capabilities": ["reports.publish"], "reason": "x", "uses": uses, "grant_life_s": 3600 });
    let opened = agent.caller.post_json("/v1/approvals", &body).await;
    opened.json()["approval"].as_str().unwrap_or_else(|| panic!("{}", opened.text())).to_owned()
}

/// Gets a token with the approval; its id.
async fn used(agent: &Agent, id: &str) -> String {
    let token = ask_with(agent, "reports.publish", id).await;
    assert_eq!(token.status, 200, "{}", token.text());
    token.json()["token_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn vote_that_does_not_count_any_more_is_shown_with_its_reason() {
    let rule = policy("leads", "@decision(\"require_approval\")\n@approvers(\"leads\")", "reports.publish");
    for (what, why) in [
        ("suspend", "operator_inactive"),
        ("role", "role_changed"),
        ("person", "person_changed"),
        ("key", "key_replaced"),
        ("remove", "key_removed"),
        ("scope", "scope_changed"),
        ("agent", "agent_person_changed"),
        ("group", "group_changed"),
    ] {
        // Given a request that ann approved
        let broker = broker_with(&format!("{}{rule}", group("ann"))).await;
        let agent = agent(&broker, "a").await;
        let ann = Approver::join(&broker, "ann", "approver", "ann@corp.example").await;
        let id = needed(&agent, "reports.publish").await;
        ann.approves(&id).await;
        let by = broker.operator();
        let before = shown(&by, &id).await;
        assert_eq!(
            (&before["votes"][0]["lapsed"], &before["demands"][0]["approved"]),
            (&Value::Null, &json!(1))
        );
        // When the vote loses its basis
        let place = async |role: &str, owner: Value| {
            let body = json!({ "role": role, "owner": owner }).to_string();
            by.put("/v1/operators/ann/role", "application/json", body.as_bytes()).await.status
        };
        let post = async |path: &str| by.post_json(path, &json!({})).await.status;
        let status = match what {
            "suspend" => post("/v1/operators/ann/suspend").await,
            "role" => place("auditor", Value::Null).await,
            "scope" => place("approver", json!("payments")).await,
            "remove" => post("/v1/operators/ann/approval-key/remove").await,
            "person" => {
                let profile = json!({ "networks": [], "life_s": null, "person": "eve@corp.example" });
                change(&by, "ann", &profile).await.status
            }
            "key" => {
                accepted_key(&broker, "ann", &ann.caller).await;
                200
            }
            "agent" => {
                let text =
                    "[[agent]]\nname = \"a\"\nroles = [\"publisher\"]\nperson = \"ann@corp.example\"\n";
                broker.apply(text).await.status
            }
            _ => broker.apply(&group("eve")).await.status,
        };
        assert_eq!(status, 200, "{what}");
        // Then it is shown with the reason, and the approval with it
        let after = shown(&by, &id).await;
        assert_eq!(
            after["votes"][0]["lapsed"],
            json!([{ "policy": "leads", "why": why }]),
            "{what}: {after}"
        );
        assert_eq!((&after["state"], &after["demands"][0]["approved"]), (&json!("approved"), &json!(0)));
        assert_ne!(ask_with(&agent, "reports.publish", &id).await.status, 200, "{what}");
    }
}

#[tokio::test]
async fn vote_with_a_replaced_key_is_listed_with_the_keys_and_repeated() {
    let (broker, agent, ann) = scene().await;
    let id = needed(&agent, "reports.publish").await;
    ann.approves(&id).await;
    let listed = async || ann.caller.get("/v1/approval-key").await.json();
    let before = listed().await;
    assert_eq!(before["approvals"][0]["approval"], json!(id), "{before}");
    assert_eq!(
        (&before["approvals"][0]["state"], &before["approvals"][0]["agent"]),
        (&json!("approved"), &json!("a"))
    );
    assert_eq!(before["approvals"][0]["fingerprint"], before["keys"][0]["fingerprint"]);
    // When another key is accepted, then the approval is one with another key
    let key = accepted_key(&broker, "ann", &ann.caller).await;
    let after = listed().await;
    assert_eq!(after["approvals"][0]["fingerprint"], before["keys"][0]["fingerprint"], "{after}");
    assert_ne!(after["keys"][0]["fingerprint"], before["keys"][0]["fingerprint"]);
    // And the answer to a repeated acceptance names it, too
    let fingerprint = after["keys"][0]["fingerprint"].as_str().unwrap();
    let again = accept_on_host(&broker, "ann", fingerprint).await.json();
    assert_eq!(again["approvals"][0]["approval"], json!(id), "{again}");
    // When ann approves it again, then it counts
    Approver { caller: ann.caller.clone(), key }.approves(&id).await;
    assert_eq!(listed().await["approvals"][0]["fingerprint"], after["keys"][0]["fingerprint"]);
    // When the keys are removed, then the answer names it; and not after the end of the request
    let removed = broker.operator().post_json("/v1/operators/ann/approval-key/remove", &json!({})).await;
    assert_eq!(removed.json()["approvals"][0]["approval"], json!(id), "{}", removed.text());
    let lapsed = async || {
        let votes = shown(&ann.caller, &id).await["votes"].take();
        votes.as_array().unwrap().iter().filter(|vote| vote["lapsed"].is_array()).count()
    };
    assert!(lapsed().await > 0);
    assert_eq!(ann.deny(&id).await.status, 200);
    assert_eq!(lapsed().await, 0, "no vote has to count any more");
    assert_eq!(listed().await["approvals"], Value::Null);
}

#[tokio::test]
async fn denial_names_the_tokens_that_it_leaves_valid() {
    let (broker, agent, ann) = scene().await;
    let id = open(&agent, 3).await;
    assert_eq!(shown(&ann.caller, &id).await["uses_left"], 0, "nobody has approved it");
    ann.approves(&id).await;
    let first = used(&agent, &id).await;
    broker.clock.advance_s(10);
    let second = used(&agent, &id).await;
    // Given two tokens, of which one is revoked
    let found = shown(&ann.caller, &id).await;
    assert_eq!((&found["uses"], &found["uses_left"]), (&json!(2), &json!(1)), "{found}");
    assert_eq!(valid(&found), [first.clone(), second.clone()], "{found}");
    let revoked = broker.operator().post_json(&format!("/v1/tokens/{first}/revoke"), &json!({})).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    // When ann denies the request, twice, then the answer names the other one with its end
    for unchanged in [Value::Null, json!(true)] {
        let denied = ann.deny(&id).await.json();
        assert_eq!((&denied["state"], &denied["unchanged"]), (&json!("denied"), &unchanged), "{denied}");
        assert_eq!(valid(&denied), std::slice::from_ref(&second), "{denied}");
        let minted = broker.entries("token.minted").await;
        assert_eq!(denied["valid_tokens"][0]["expires_at"], minted[1]["event"]["expires_at"]);
    }
    // And after its end it names none
    broker.clock.advance_s(120);
    assert!(valid(&ann.deny(&id).await.json()).is_empty());
    assert!(valid(&shown(&ann.caller, &id).await).is_empty());
}

#[tokio::test]
async fn denial_of_a_used_approval_says_that_its_tokens_are_valid() {
    let (broker, agent, ann) = scene().await;
    let id = needed(&agent, "reports.publish").await;
    ann.approves(&id).await;
    let token = used(&agent, &id).await;
    let refusal = ann.deny(&id).await;
    refused(&refusal, 409, "approval_already_ended");
    for part in ["1 of its tokens can be used until", "keyward token revoke", "admin or security"] {
        assert!(refusal.text().contains(part), "{part}: {}", refusal.text());
    }
    assert_eq!(valid(&shown(&ann.caller, &id).await), [token]);
    // Without a valid token the refusal says nothing of tokens
    broker.clock.advance_s(120);
    let later = ann.deny(&id).await;
    assert!(!later.text().contains("can be used until"), "{}", later.text());
}

#[tokio::test]
async fn request_names_the_group_that_it_escalates_to() {
    let text = "[[approver_group]]\nname = \"leads\"\noperators = [\"ann\"]\nescalate_after = \"30m\"\nescalate_to = \"directors\"\n\
        [[approver_group]]\nname = \"directors\"\noperators = [\"bob\"]\n";
    let rule = policy("leads", "@decision(\"require_approval\")\n@approvers(\"leads\")", "reports.publish");
    let broker = broker_with(&format!("{text}{rule}")).await;
    let agent = super::agent(&broker, "a").await;
    let id = needed(&agent, "reports.publish").await;
    let demand = shown(&broker.operator(), &id).await["demands"][0].take();
    assert_eq!(
        (&demand["escalates_to"], &demand["group"]),
        (&json!("directors"), &json!("leads")),
        "{demand}"
    );
    assert_eq!(demand["escalates_at"], json!(MORNING.plus_s(1800).to_string()));
}
