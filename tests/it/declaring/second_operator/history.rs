//! The second operator in the history of a policy.

use super::*;

#[tokio::test]
async fn history_of_a_policy_names_the_second_operator() {
    let scene = Scene::start().await;
    // Given a policy that denies a capability of the agent
    let policy = |capability: &str| {
        format!(
            "[[policy]]\nname = \"p\"\nrule = '''\nforbid (principal, action == Keyward::Action::\"token\", resource == \
             Keyward::Capability::\"{capability}\");\n'''\n"
        )
    };
    let denied = scene.apply(&policy("github.repo.read"), None).await;
    assert_eq!(denied.status, 200, "{}", denied.text());
    // When another rule gives the capability back, with the approval of bob
    let wider = policy("reports.publish");
    refused(&scene.apply(&wider, None).await, 409, "widening_needs_second_operator");
    let approval = scene.approved(&wider).await;
    assert_eq!(scene.apply(&wider, Some(&approval)).await.status, 200);
    // Then the history of the policy, and that of all policies, have both operators of this application
    for (path, items) in [("/v1/policies/p/versions", "versions"), ("/v1/policy-sets", "sets")] {
        let found = scene.broker.operator().get(path).await.json();
        let by = |at: usize| (found[items][at]["by"].clone(), found[items][at]["approved_by"].clone());
        assert_eq!(by(0), (json!("admin"), json!("bob")), "{found}");
        assert_eq!(by(1), (json!("admin"), json!(null)), "{found}");
    }
}
