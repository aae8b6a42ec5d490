//! One admin that is two operators: an invited one, or the second admin enrolled again.

use super::*;

/// The admin `puppet`, which `admin` invited.
async fn puppet(scene: &Scene) -> Caller {
    join(&scene.broker, "puppet", &admin("puppet@corp.example")).await.caller
}

#[tokio::test]
async fn admin_makes_nothing_that_it_approves_as_an_operator_that_it_invited() {
    // Given an admin that invites another one, enrols as it, and signs with its own key
    let scene = Scene::start().await;
    let (by, puppet) = (scene.broker.operator(), puppet(&scene).await);
    let wide = wider();
    // When the other one applies a plan, then it is refused
    let planned = scene.plan(&by, &wide).await;
    let mut body = body(&wide);
    body["widen"] = json!(true);
    body["approval"] = approval(&planned["to_approve"], "admin", &scene.own);
    let reply = puppet.post_json("/v1/apply", &body).await;
    refused(&reply, 403, "own_approval_key_missing");
    assert!(reply.text().contains("approval key create"), "{}", reply.text());
    // And the rollback of a policy
    let policy = |capability: &str| {
        format!(
            "[[policy]]\nname = \"p\"\nrule = '''\nforbid (principal, action == Keyward::Action::\"token\", resource == \
             Keyward::Capability::\"{capability}\");\n'''\n"
        )
    };
    let (old, new) = (policy("reports.publish"), policy("github.repo.read"));
    assert_eq!(scene.apply(&old, None).await.status, 200);
    let approved = scene.approved(&new).await;
    assert_eq!(scene.apply(&new, Some(&approved)).await.status, 200);
    let versions = by.get("/v1/policies/p/versions").await.json()["versions"].clone();
    let mut body = json!({ "files": [{ "name": "a.toml", "text": old }] });
    body["rollback"] = json!({ "policy": "p", "to": versions[1]["hash"] });
    let planned = by.post_json("/v1/plan", &body).await;
    assert_eq!(planned.status, 200, "{}", planned.text());
    body["widen"] = json!(true);
    body["approval"] = approval(&planned.json()["to_approve"], "admin", &scene.own);
    refused(&puppet.post_json("/v1/apply", &body).await, 403, "own_approval_key_missing");
    // And a lower sensitivity
    let stored = by.put("/v1/secrets/github/app", "application/octet-stream", b"value").await;
    assert!([200, 201].contains(&stored.status), "{}", stored.text());
    let route = "/v1/secret-sensitivity/github/app";
    assert_eq!(by.post_json(route, &json!({ "sensitivity": "high" })).await.status, 200);
    let since = by.get("/v1/secrets/github/app").await.json()["classified_seq"].as_u64().unwrap();
    let mut lower = json!({ "sensitivity": "ordinary", "widen": true });
    let (by_admin, expires_at) = ("admin", "2027-01-15T12:00:00.000Z");
    let (key, secret, to) = (&scene.own, "github/app", "ordinary");
    lower["approval"] = Approving { by: by_admin, key, secret, to, since, expires_at }.signed();
    refused(&puppet.post_json(route, &lower).await, 403, "own_approval_key_missing");
    // The twin: the host accepts a key of the other one
    let _key = accepted_key(&scene.broker, "puppet", &puppet).await;
    let lowered = puppet.post_json(route, &lower).await;
    assert_eq!(lowered.status, 200, "{}", lowered.text());
}

#[tokio::test]
async fn second_admin_that_was_enrolled_again_makes_no_change_without_a_new_key() {
    // Given an admin that enrols again as the second admin, by a new code
    let scene = Scene::start().await;
    let again = join(&scene.broker, "bob", &admin("bob@corp.example")).await.caller;
    let wide = wider();
    let planned = scene.plan(&scene.broker.operator(), &wide).await;
    let mut body = body(&wide);
    body["widen"] = json!(true);
    body["approval"] = approval(&planned["to_approve"], "admin", &scene.own);
    // When this enrolment applies what the admin approved, then it is refused
    let reply = again.post_json("/v1/apply", &body).await;
    refused(&reply, 403, "own_approval_key_missing");
    assert!(reply.text().contains("another enrolment"), "{}", reply.text());
    // The twin: the enrolment of the second admin itself
    let applied = scene.bob.post_json("/v1/apply", &body).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
}
