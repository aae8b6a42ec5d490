//! Who can approve, and how votes end a request.

use keyward::wire::ApprovalKeyAcceptance;
use serde_json::json;

use super::*;
use crate::refusals::refused;

/// An agent `a` that acts for `ann@corp.example`.
async fn agent_of_ann(broker: &TestBroker) -> Agent {
    let text = "[[agent]]\nname = \"a\"\nroles = [\"publisher\"]\nperson = \"ann@corp.example\"\n";
    applied(broker, text).await;
    broker.agent("a", &[]).await
}

#[tokio::test]
async fn a_second_person_is_never_the_person_of_the_agent() {
    let broker = broker_with(&policy("second", BY_SECOND, "reports.publish")).await;
    let agent = agent_of_ann(&broker).await;
    let id = needed(&agent, "reports.publish").await;
    // Given the person of the agent with two operator names, and in another spelling
    for (name, person) in
        [("ann", "ann@corp.example"), ("ann-2", "Ann@Corp.example"), ("ann-3", "Ann Li <ann@corp.example>")]
    {
        let ann = Approver::join(&broker, name, "admin", person).await;
        refused(&ann.approve(&id).await, 403, "approver_is_requester");
    }
    // Then another person can approve
    Approver::join(&broker, "bob", "security", "bob@corp.example").await.approves(&id).await;
    assert_eq!(ask_with(&agent, "reports.publish", &id).await.status, 200);
    // And the entries of refused votes name the approval and its agent, and are found by it
    let denied = broker.entries("operator.denied").await;
    assert_eq!(denied.len(), 3, "{denied:?}");
    for entry in denied {
        let event = &entry["event"];
        assert_eq!((&event["subject"], &event["agent"]), (&json!(format!("approval/{id}")), &json!("a")));
    }
    let found = broker.operator().get(&format!("/v1/ledger/entries?approval={id}")).await.json();
    let kinds: Vec<&str> =
        found["items"].as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap()).collect();
    for kind in ["approval.requested", "operator.denied", "approval.approved", "token.minted"] {
        assert!(kinds.contains(&kind), "{kind}: {found}");
    }
}

#[tokio::test]
async fn a_confirmation_is_by_the_person_of_the_agent_alone() {
    let confirm = policy("confirm", "@decision(\"require_confirmation\")", "reports.publish");
    let broker = broker_with(&confirm).await;
    let agent = agent_of_ann(&broker).await;
    let id = needed(&agent, "reports.publish").await;
    let bob = Approver::join(&broker, "bob", "admin", "bob@corp.example").await;
    refused(&bob.approve(&id).await, 403, "approver_is_not_the_person");
    Approver::join(&broker, "ann", "approver", "ann@corp.example").await.approves(&id).await;
    assert_eq!(ask_with(&agent, "reports.publish", &id).await.status, 200);
    // An agent of nobody gets no approval: nobody is known to be that person, or another one
    for text in [confirm, policy("confirm", BY_SECOND, "reports.publish")] {
        applied(&broker, &text).await;
        let nobodys = broker.agent(&format!("b{}", text.len()), &["publisher"]).await;
        refused(&ask(&nobodys, "reports.publish").await, 403, "approval_without_person");
    }
}

#[tokio::test]
async fn confirmation_and_second_person_are_never_the_same_vote() {
    let text = [
        policy("confirm", "@decision(\"require_confirmation\")", "reports.publish"),
        policy("second", BY_SECOND, "reports.publish"),
    ];
    let broker = broker_with(&text.concat()).await;
    let agent = agent_of_ann(&broker).await;
    let id = needed(&agent, "reports.publish").await;
    let ann = Approver::join(&broker, "ann", "approver", "ann@corp.example").await;
    let bob = Approver::join(&broker, "bob", "approver", "bob@corp.example").await;
    assert_eq!(ann.approve(&id).await.json()["state"], "pending");
    assert_eq!(bob.approve(&id).await.json()["state"], "approved");
}

#[tokio::test]
async fn a_quorum_counts_persons() {
    let two = "@decision(\"require_approval\")\n@quorum(\"2\")";
    let broker = broker_with(&policy("two", two, "reports.publish")).await;
    let agent = super::agent(&broker, "a").await;
    let id = needed(&agent, "reports.publish").await;
    let bob = Approver::join(&broker, "bob", "approver", "bob@corp.example").await;
    assert_eq!(bob.approve(&id).await.json()["state"], "pending");
    // The same vote again changes nothing
    let again = bob.approve(&id).await.json();
    assert_eq!((&again["state"], &again["unchanged"]), (&json!("pending"), &json!(true)));
    let second = Approver::join(&broker, "bob-2", "approver", "bob@corp.example").await;
    refused(&second.approve(&id).await, 409, "approver_already_voted");
    let ann = Approver::join(&broker, "ann", "approver", "ann@corp.example").await;
    ann.approves(&id).await;
    assert_eq!(broker.entries("approval.approved").await.len(), 2);
    let eve = Approver::join(&broker, "eve", "approver", "eve@corp.example").await;
    refused(&eve.approve(&id).await, 409, "approval_already_ended");
}

#[tokio::test]
async fn a_group_approves_and_escalates_after_its_time() {
    let text = "[[approver_group]]\nname = \"leads\"\noperators = [\"ann\"]\nescalate_after = \"30m\"\nescalate_to = \"directors\"\n\
        [[approver_group]]\nname = \"directors\"\noperators = [\"bob\"]\n";
    let rule = policy("leads", "@decision(\"require_approval\")\n@approvers(\"leads\")", "reports.publish");
    let broker = broker_with(&format!("{text}{rule}")).await;
    let agent = super::agent(&broker, "a").await;
    let bob = Approver::join(&broker, "bob", "approver", "bob@corp.example").await;
    let ann = Approver::join(&broker, "ann", "approver", "ann@corp.example").await;
    let id = needed(&agent, "reports.publish").await;
    refused(&bob.approve(&id).await, 403, "approver_not_in_group");
    ann.approves(&id).await;
    assert_eq!(ask_with(&agent, "reports.publish", &id).await.status, 200);
    // After half an hour the other group can approve, too
    let id = needed(&agent, "reports.publish").await;
    broker.clock.advance_s(1799);
    refused(&bob.approve(&id).await, 403, "approver_not_in_group");
    broker.clock.advance_s(1);
    bob.approves(&id).await;
    // And not once the group has changed
    applied(&broker, "[[approver_group]]\nname = \"directors\"\noperators = [\"eve\"]\n").await;
    refused(&ask_with(&agent, "reports.publish", &id).await, 400, "approver_ineligible");
}

#[tokio::test]
async fn only_people_with_an_accepted_key_approve() {
    let (broker, agent, ann) = scene().await;
    let id = needed(&agent, "reports.publish").await;
    let shown = ann.caller.get(&format!("/v1/approvals/{id}")).await.json();
    let (digest, rules) = (shown["digest"].as_str().unwrap(), shown["rules"].as_str().unwrap());
    // Given an operator without a key
    let bob = Approver::join(&broker, "bob", "approver", "bob@corp.example").await;
    let removed = broker.operator().post_json("/v1/operators/bob/approval-key/remove", &json!({})).await;
    assert_eq!(removed.status, 200, "{}", removed.text());
    refused(&bob.vote(&id, digest, rules).await, 403, "approval_key_missing");
    // Given a signature of another operator, and one of other bytes
    let forged = Approver { caller: ann.caller.clone(), key: bob.key };
    refused(&forged.vote(&id, digest, rules).await, 403, "approval_signature_invalid");
    let path = format!("/v1/approvals/{id}/votes");
    let unsigned = json!({ "verdict": "approve", "digest": digest, "rules": rules });
    refused(&ann.caller.post_json(&path, &unsigned).await, 400, "approval_vote_incomplete");
    let odd = json!({ "verdict": "approve", "digest": digest, "rules": rules, "signature": "?" });
    refused(&ann.caller.post_json(&path, &odd).await, 403, "approval_signature_invalid");
    // Given a vote about another request
    refused(&ann.vote(&id, &"0".repeat(64), rules).await, 409, "approval_vote_differs");
    refused(&ann.vote(&id, digest, &"0".repeat(64)).await, 409, "approval_vote_differs");
    assert_eq!(state(&agent, &id).await, "pending");
}

#[tokio::test]
async fn an_operator_without_a_person_denies_and_does_not_approve() {
    let (broker, agent, ann) = scene().await;
    let id = needed(&agent, "reports.publish").await;
    let without = json!({ "networks": [], "life_s": null, "person": null });
    assert_eq!(change(&broker.operator(), "ann", &without).await.status, 200);
    let refusal = ann.approve(&id).await;
    assert!(
        ["approver_without_person", "approval_key_missing"].contains(&refusal.code().as_str()),
        "{}",
        refusal.text()
    );
    assert_eq!(ann.deny(&id).await.json()["state"], "denied");
    refused(&ask_with(&agent, "reports.publish", &id).await, 400, "approval_denied");
    let denied = broker.entries("approval.denied").await;
    assert_eq!(denied[0]["event"]["by"], "ann");
}

#[tokio::test]
async fn approve_and_deny_at_the_same_time_end_in_one_state() {
    for _ in 0..10 {
        let (broker, agent, ann) = scene().await;
        let bob = Approver::join(&broker, "bob", "approver", "bob@corp.example").await;
        let id = needed(&agent, "reports.publish").await;
        let (approved, denied) = tokio::join!(ann.approve(&id), bob.deny(&id));
        // A denial also ends an approval that nobody has used
        assert_eq!(denied.status, 200, "{}", denied.text());
        assert!([200, 409].contains(&approved.status), "{}", approved.text());
        assert_eq!(state(&agent, &id).await, "denied");
        refused(&ask_with(&agent, "reports.publish", &id).await, 400, "approval_denied");
    }
}

#[tokio::test]
async fn reason_of_a_denial_is_for_the_agent_only_if_it_is_told() {
    for tells in [false, true] {
        let (mut broker, agent, ann) = scene().await;
        let id = needed(&agent, "reports.publish").await;
        let body = json!({ "verdict": "deny", "reason": "not during the freeze", "tell_agent": tells });
        let path = format!("/v1/approvals/{id}/votes");
        if tells {
            // A vote that tells nothing is refused
            let without = json!({ "verdict": "deny", "tell_agent": true });
            refused(&ann.caller.post_json(&path, &without).await, 400, "approval_vote_incomplete");
            let approves = json!({ "verdict": "approve", "reason": "x", "tell_agent": true });
            refused(&ann.caller.post_json(&path, &approves).await, 400, "approval_vote_incomplete");
        }
        let denied = ann.caller.post_json(&path, &body).await;
        assert_eq!(denied.status, 200, "{}", denied.text());
        // Operators see it in any case
        let shown = ann.caller.get(&format!("/v1/approvals/{id}")).await.json();
        assert_eq!(shown["votes"][0]["reason"], "not during the freeze", "{shown}");
        let own = agent.caller.get(&format!("/v1/approvals/{id}")).await.json();
        let expected = if tells { json!("not during the freeze") } else { Value::Null };
        assert_eq!(own["denial_reason"], expected, "{own}");
        let entries = broker.entries("approval.denied").await;
        assert_eq!(entries[0]["event"]["told_agent"] == true, tells, "{entries:?}");
        // Also after a restart
        broker.restart().await;
        let caller = broker.caller(broker.agents(), Some(&agent.certificate), Some(&agent.key));
        let own = caller.get(&format!("/v1/approvals/{id}")).await.json();
        assert_eq!(own["denial_reason"], expected, "{own}");
    }
}

#[tokio::test]
async fn operator_is_told_before_the_vote_that_it_would_not_count() {
    let broker = broker_with(&policy("second", BY_SECOND, "reports.publish")).await;
    let agent = agent_of_ann(&broker).await;
    let id = needed(&agent, "reports.publish").await;
    let path = format!("/v1/approvals/{id}");
    let refused_vote = async |caller: &Caller| caller.get(&path).await.json()["refused_vote"].take();
    let join = async |name: &str, role: &str| {
        let body = json!({ "role": role, "owner": null, "person": format!("{name}@corp.example") });
        crate::operators::join(&broker, name, &body).await.caller
    };
    assert_eq!(refused_vote(&join("olga", "auditor").await).await, "operator_role_insufficient");
    assert_eq!(refused_vote(&join("eve", "approver").await).await, "approval_key_missing");
    let ann = Approver::join(&broker, "ann", "approver", "ann@corp.example").await;
    assert_eq!(refused_vote(&ann.caller).await, "approver_is_requester");
    let bob = Approver::join(&broker, "bob", "approver", "bob@corp.example").await;
    assert_eq!(refused_vote(&bob.caller).await, Value::Null);
    // The vote and its announcement agree
    refused(&ann.approve(&id).await, 403, "approver_is_requester");
    bob.approves(&id).await;
    assert_eq!(refused_vote(&bob.caller).await, Value::Null, "the same vote changes nothing");
    let carl = Approver::join(&broker, "carl", "approver", "carl@corp.example").await;
    assert_eq!(refused_vote(&carl.caller).await, "approval_already_ended");
    // A list does not say it
    let listed = bob.caller.get("/v1/approvals").await.json();
    assert_eq!(listed["items"][0]["refused_vote"], Value::Null);
}

#[tokio::test]
async fn other_roles_do_not_vote() {
    let (broker, agent, _) = scene().await;
    let id = needed(&agent, "reports.publish").await;
    let auditor = crate::operators::join(&broker, "olga", &json!({ "role": "auditor", "owner": null })).await;
    assert_eq!(auditor.caller.get(&format!("/v1/approvals/{id}")).await.status, 200);
    let path = format!("/v1/approvals/{id}/votes");
    let vote = auditor.caller.post_json(&path, &json!({ "verdict": "deny" })).await;
    refused(&vote, 403, "operator_role_insufficient");
}

#[tokio::test]
async fn groups_are_planned_exported_and_pruned_like_the_rest() {
    let group = "[[approver_group]]\nname = \"leads\"\noperators = [\"ann\"]\noperators_of = \"payments\"\n";
    let rule = policy("leads", "@decision(\"require_approval\")\n@approvers(\"leads\")", "reports.publish");
    let broker = broker_with(&format!("{group}{rule}")).await;
    let by = broker.operator();
    let exported = by.post_json("/v1/export", &json!({})).await.json()["text"].as_str().unwrap().to_owned();
    assert!(exported.contains("[[approver_group]]") && exported.contains("operators_of"), "{exported}");
    let unchanged = broker.apply(&exported).await;
    assert!(unchanged.json()["changes"].as_array().unwrap().is_empty(), "{}", unchanged.text());
    // A policy cannot name a group that does not exist, and a group that a policy names stays
    let unknown = policy("p", "@decision(\"require_approval\")\n@approvers(\"leadz\")", "reports.publish");
    let planned =
        by.post_json("/v1/plan", &json!({ "files": [{ "name": "a.toml", "text": unknown }] })).await;
    refused(&planned, 422, "declarations_invalid");
    assert!(planned.text().contains("did you mean `leads`?"), "{}", planned.text());
    let declared = format!("{}{rule}", crate::support::broker::DECLARATIONS);
    let prune = json!({ "files": [{ "name": "a.toml", "text": declared }], "prune": true });
    let pruned = by.post_json("/v1/apply", &prune).await;
    refused(&pruned, 422, "declarations_invalid");
    for (text, says) in [
        ("[[approver_group]]\nname = \"g\"\n", "no approver"),
        (
            "[[approver_group]]\nname = \"g\"\noperators = [\"a\"]\nescalate_after = \"30m\"\n",
            "need each other",
        ),
        (
            "[[approver_group]]\nname = \"g\"\noperators = [\"a\"]\nescalate_after = \"1s\"\nescalate_to = \"leads\"\n",
            "not a length",
        ),
    ] {
        let planned =
            by.post_json("/v1/plan", &json!({ "files": [{ "name": "a.toml", "text": text }] })).await;
        refused(&planned, 422, "declarations_invalid");
        assert!(planned.text().contains(says), "{}", planned.text());
    }
}

#[tokio::test]
async fn a_group_names_so_many_operators() {
    let broker = broker_with("").await;
    let group = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("\"o{number}\"")).collect();
        format!("[[approver_group]]\nname = \"g\"\noperators = [{}]\n", names.join(", "))
    };
    applied(&broker, &group(keyward::base::limits::APPROVER_GROUP_OPERATORS_MAX)).await;
    let beyond = broker.apply(&group(keyward::base::limits::APPROVER_GROUP_OPERATORS_MAX + 1)).await;
    refused(&beyond, 422, "declarations_invalid");
}

#[tokio::test]
async fn an_approver_whose_vote_no_longer_counts_votes_again() {
    let two = "@decision(\"require_approval\")\n@quorum(\"2\")";
    let broker = broker_with(&policy("two", two, "reports.publish")).await;
    let agent = super::agent(&broker, "a").await;
    let mut ann = Approver::join(&broker, "ann", "approver", "ann@corp.example").await;
    let bob = Approver::join(&broker, "bob", "approver", "bob@corp.example").await;
    let id = needed(&agent, "reports.publish").await;
    assert_eq!(ann.approve(&id).await.json()["state"], "pending");
    // Given another approval key of the first approver, then the vote of the second one does not complete the quorum
    ann.key = accepted_key(&broker, "ann", &ann.caller).await;
    assert_eq!(bob.approve(&id).await.json()["state"], "pending");
    let shown = bob.caller.get(&format!("/v1/approvals/{id}")).await.json();
    assert_eq!(shown["demands"][0]["approved"], 1, "{shown}");
    // And the first one can vote again
    ann.approves(&id).await;
    // The same when the request is approved
    ann.key = accepted_key(&broker, "ann", &ann.caller).await;
    refused(&ask_with(&agent, "reports.publish", &id).await, 400, "approver_ineligible");
    ann.approves(&id).await;
    assert_eq!(ask_with(&agent, "reports.publish", &id).await.status, 200);
}

#[tokio::test]
async fn vote_by_a_key_that_its_introducer_accepted_is_refused() {
    // Given an admin that invited ann and accepted its key, before a second operator was demanded
    let mut broker = broker_with(&policy("second", BY_SECOND, "reports.publish")).await;
    let id = needed(&super::agent(&broker, "a").await, "reports.publish").await;
    let own = accepted_key(&broker, "admin", &broker.operator()).await;
    let body = json!({ "role": "approver", "owner": null, "person": "ann@corp.example" });
    let caller = join(&broker, "ann", &body).await.caller;
    let (pem, request) = new_key_and_request().unwrap();
    let proposed = caller.post_json("/v1/approval-key", &json!({ "csr": base64url(&request) })).await.json();
    let fingerprint = proposed["keys"][0]["fingerprint"].as_str().unwrap();
    let name = "ann".parse().unwrap();
    let signed = ApprovalKeyAcceptance::new(&name, "ann@corp.example", fingerprint).canonical().unwrap();
    let body = json!({ "fingerprint": fingerprint, "signature": base64url(&own.sign(&signed).unwrap()) });
    let accepted = broker.operator().post_json("/v1/operators/ann/approval-key/accept", &body).await;
    assert_eq!(accepted.status, 200, "{}", accepted.text());
    broker.config.policies.widening_second_operator = true;
    broker.restart().await;
    let caller = Caller { address: broker.admins(), ..caller };
    let key = keyward::pki::signing_key(&pem).unwrap();
    // Then its vote does not count, and ann is told so before it signs
    let ann = Approver { caller, key };
    let shown = ann.caller.get(&format!("/v1/approvals/{id}")).await.json();
    assert_eq!(shown["refused_vote"], "approval_key_of_introducer");
    refused(&ann.approve(&id).await, 403, "approval_key_of_introducer");
    // When the host accepted another key, then the vote counts
    let key = accepted_key(&broker, "ann", &ann.caller).await;
    Approver { key, ..ann }.approves(&id).await;
}
