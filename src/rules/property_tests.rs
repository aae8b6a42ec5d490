use proptest::prelude::*;

use super::tests::{NOW, Request, policy, request, rules};
use super::*;

fn one_of<T: Clone + std::fmt::Debug + 'static>(values: &'static [T]) -> impl Strategy<Value = T> {
    proptest::sample::select(values)
}

fn any_text() -> impl Strategy<Value = String> {
    let annotation = one_of(&["", "", "@max_ttl(\"5m\") ", "@max_ttl(\"1h\") @reason(\"r\") "]);
    let principal = one_of(&[
        "principal",
        "principal is Keyward::Agent",
        "principal == Keyward::Agent::\"a-1\"",
        "principal in Keyward::Agent::\"a-2\"",
        "principal in Keyward::Role::\"r-1\"",
        "principal is Keyward::Agent in Keyward::Role::\"r-2\"",
    ]);
    let action = one_of(&[
        "action",
        "action == Keyward::Action::\"token\"",
        "action in Keyward::Action::\"lease\"",
        "action in [Keyward::Action::\"token\", Keyward::Action::\"read_secret\"]",
    ]);
    let resource = one_of(&[
        "resource",
        "resource is Keyward::Capability",
        "resource == Keyward::Capability::\"c.1\"",
        "resource in Keyward::Capability::\"c.2\"",
        "resource in Keyward::Environment::\"e-1\"",
        "resource is Keyward::Capability in Keyward::Environment::\"e-2\"",
    ]);
    let condition = one_of(&[
        "",
        "",
        " when { resource.access == \"write\" }",
        " unless { context.time.hour < 12 }",
        " when { context.time.unix_s * 9223372036854775807 > 0 }",
        " when { context.parameters has amount && context.parameters.amount > 50 }",
        " unless { context.parameters has dry_run && context.parameters.dry_run }",
    ]);
    (annotation, principal, action, resource, condition).prop_map(
        |(annotation, principal, action, resource, condition)| {
            format!("{annotation}forbid ({principal}, {action}, {resource}){condition};")
        },
    )
}

fn any_request() -> impl Strategy<Value = Request> {
    let roles = proptest::sample::subsequence(vec!["r-1", "r-2", "r-3"], 0..=3);
    (
        one_of(&Action::ALL),
        one_of(&["a-1", "a-2", "a-3"]),
        roles,
        one_of(&["c.1", "c.2", "c.3"]),
        one_of(&["read", "write"]),
        one_of(&[None, Some("payments"), Some("search")]),
        one_of(&[None, Some("e-1"), Some("e-2")]),
        0_i64..86_400,
        one_of(&["{}", r#"{"amount":50}"#, r#"{"amount":51}"#, r#"{"amount":51,"dry_run":true}"#]),
    )
        .prop_map(
            |(action, agent, roles, capability, access, owner, environment, second, parameters)| Request {
                action,
                agent: agent.parse().unwrap(),
                roles: roles.iter().map(|role| role.parse().unwrap()).collect(),
                capability: capability.parse().unwrap(),
                access,
                owner: owner.map(|owner| owner.parse().unwrap()),
                environment: environment.map(|one| one.parse().unwrap()),
                time: NOW.plus_s(second),
                parameters: serde_json::from_str(parameters).unwrap(),
                ..request()
            },
        )
}

fn any_policies() -> impl Strategy<Value = Vec<Policy>> {
    let owner = one_of(&[None, None, Some("payments"), Some("search")]);
    proptest::collection::vec((any_text(), owner), 0..9).prop_map(|texts| {
        let numbered = texts.into_iter().enumerate();
        numbered.map(|(number, (text, owner))| policy(&format!("p-{number}"), owner, &text)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn sliced_verdict_is_the_unsliced_one(policies in any_policies(), request in any_request()) {
        let rules = rules(policies);
        prop_assert_eq!(rules.judge(&request.facts()), rules.judge_unsliced(&request.facts()));
    }

    #[test]
    fn traced_matches_are_the_verdict(policies in any_policies(), request in any_request()) {
        let rules = rules(policies);
        let traced = rules.trace(&request.facts()).into_iter().filter_map(|one| match one.result {
            TraceResult::Matched(outcome) => Some((one.policy.name.clone(), outcome)),
            TraceResult::ConditionUnmet | TraceResult::HeadUnfit(_) | TraceResult::Untested => None,
        });
        let verdict = rules.judge(&request.facts());
        let judged = verdict.matched().iter().map(|one| (one.name.clone(), one.outcome.clone()));
        prop_assert_eq!(traced.collect::<Vec<_>>(), judged.collect::<Vec<_>>());
    }

    /// Hazard POL-02.
    #[test]
    fn deny_wins_in_any_order(policies in any_policies(), request in any_request(), more in any_text()) {
        let (forward, mut backward) = (rules(policies.clone()), Rules::default());
        for one in policies.iter().rev() {
            let policies = vec![one.clone()];
            backward.apply(&Effect::Declare(RulesChange { policies, ..RulesChange::default() }));
        }
        let verdict = forward.judge(&request.facts());
        prop_assert_eq!(&verdict, &backward.judge(&request.facts()));
        let is_denied = verdict.matched().iter().any(|one| {
            matches!(one.outcome, PolicyOutcome::Denied | PolicyOutcome::Failed)
        });
        prop_assert_eq!(verdict.refusal().is_some(), is_denied);
        // One more policy never allows more.
        let widened = rules(policies.into_iter().chain([policy("z", None, &more)])).judge(&request.facts());
        prop_assert!(!is_denied || widened.refusal().is_some());
        let limit = |verdict: &Verdict| verdict.limit().map_or(u32::MAX, |(max_s, _)| max_s);
        prop_assert!(limit(&widened) <= limit(&verdict));
    }
}
