use std::collections::BTreeSet;
use std::net::IpAddr;

use super::model::Question;
use super::rule::Match;
use super::*;
use crate::base::limits::{
    APPROVAL_QUORUM_MAX, POLICY_NESTING_MAX, POLICY_REASON_CHARS_MAX, POLICY_RULE_BYTES_MAX,
};
use crate::base::{
    AgentName, ApprovalDemand, CapabilityName, DemandKind, EnvironmentName, GrantedParameters, OwnerName,
    ParameterFacts, RoleName, Sensitivity, Timestamp,
};

/// A Friday, 2027-01-15, 08:00 UTC.
pub(super) const NOW: Timestamp = Timestamp::from_s(1_800_000_000);

fn rule(text: &str) -> Rule {
    Rule::declared(text).unwrap_or_else(|faults| panic!("{text}: {faults:?}"))
}

fn fault(text: &str) -> String {
    Rule::declared(text).expect_err(text)[0].message.clone()
}

pub(super) fn policy(name: &str, owner: Option<&str>, text: &str) -> Policy {
    Policy { name: name.parse().unwrap(), rule: rule(text), owner: owner.map(|owner| owner.parse().unwrap()) }
}

pub(super) fn rules(policies: impl IntoIterator<Item = Policy>) -> Rules {
    let policies = policies.into_iter().collect();
    let mut rules = Rules::default();
    rules.apply(&Effect::Declare(RulesChange { policies, ..RulesChange::default() }));
    rules
}

/// A request, with the objects that its facts borrow.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) action: Action,
    pub(super) agent: AgentName,
    pub(super) roles: BTreeSet<RoleName>,
    pub(super) capability: CapabilityName,
    pub(super) access: &'static str,
    pub(super) owner: Option<OwnerName>,
    pub(super) environment: Option<EnvironmentName>,
    pub(super) time: Timestamp,
    pub(super) source: Option<IpAddr>,
    pub(super) life_s: Option<u32>,
    pub(super) since_read_s: Option<u32>,
    pub(super) parameters: GrantedParameters,
}

impl Request {
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            action: self.action,
            agent: AgentFacts { name: &self.agent, roles: &self.roles, owner: None, person: None },
            capability: CapabilityFacts {
                name: &self.capability,
                access: self.access,
                delivery: "mint",
                owner: self.owner.as_ref(),
                environment: self.environment.as_ref(),
                sensitivity: Sensitivity::Ordinary,
            },
            time: self.time,
            source: self.source,
            requested_life_s: self.life_s,
            since_sensitive_read_s: self.since_read_s,
            parameters: ParameterFacts { given: &self.parameters, ..ParameterFacts::none() },
        }
    }
}

pub(super) fn request() -> Request {
    Request {
        action: Action::Token,
        agent: "deploy-bot".parse().unwrap(),
        roles: ["deployer".parse().unwrap()].into(),
        capability: "web.deploy".parse().unwrap(),
        access: "write",
        owner: None,
        environment: Some("production".parse().unwrap()),
        time: NOW,
        source: Some([192, 0, 2, 7].into()),
        life_s: Some(600),
        since_read_s: Some(90),
        parameters: serde_json::from_str(r#"{"amount":100,"currency":"EUR","dry_run":true}"#).unwrap(),
    }
}

fn matches(text: &str, request: &Request) -> bool {
    match rule(text).evaluate(Question::of(&request.facts()).as_ref()) {
        Match::Yes => true,
        Match::No => false,
        Match::Failed => panic!("{text} failed"),
    }
}

#[test]
fn cedar_accepts_the_schema() {
    assert!(super::model::schema().is_some());
}

#[test]
fn a_rule_sees_each_fact_of_a_request() {
    let forbid = |condition: &str| format!("forbid (principal, action, resource) when {{ {condition} }};");
    for (condition, expected) in [
        ("principal == Keyward::Agent::\"deploy-bot\"", true),
        ("principal in Keyward::Role::\"deployer\"", true),
        ("principal in Keyward::Role::\"reader\"", false),
        ("principal.name == \"deploy-bot\"", true),
        ("principal has owner && principal.owner == \"payments\"", false),
        ("resource == Keyward::Capability::\"web.deploy\"", true),
        ("resource in Keyward::Environment::\"production\"", true),
        ("resource in Keyward::Environment::\"staging\"", false),
        ("resource.access == \"write\" && resource.delivery == \"mint\"", true),
        ("resource has environment && resource.environment == \"production\"", true),
        ("resource.sensitivity == \"ordinary\"", true),
        ("context.time.unix_s == 1800000000", true),
        ("context.time.hour == 8 && context.time.minute == 0", true),
        ("context.time.weekday == 5", true),
        ("context has source && context.source.isInRange(ip(\"192.0.2.0/24\"))", true),
        ("context has source && context.source.isInRange(ip(\"198.51.100.0/24\"))", false),
        ("context has requested_life_s && context.requested_life_s > 300", true),
        ("context has since_sensitive_read_s && context.since_sensitive_read_s < 3600", true),
        ("context.parameters has amount && context.parameters.amount == 100", true),
        ("context.parameters has amount && context.parameters.amount > 100", false),
        ("context.parameters has currency && context.parameters.currency == \"EUR\"", true),
        ("context.parameters has dry_run && context.parameters.dry_run", true),
        ("context.parameters has recipient", false),
    ] {
        assert_eq!(matches(&forbid(condition), &request()), expected, "{condition}");
    }
    let unknown = Request { source: None, life_s: None, since_read_s: None, environment: None, ..request() };
    assert!(!matches(&forbid("context has since_sensitive_read_s"), &unknown));
    assert!(!matches(&forbid("context has source || context has requested_life_s"), &unknown));
    assert!(!matches(&forbid("resource has environment"), &unknown));
}

#[test]
fn a_test_of_past_reads_is_found_however_it_is_written() {
    let tests = |condition: &str| {
        rule(&format!("forbid (principal, action, resource) when {{ {condition} }};")).tests_past_reads()
    };
    assert!(tests("context has since_sensitive_read_s"));
    assert!(tests("context has \"since_sensitive_read\\u{5f}s\""));
    assert!(!tests("context has source"));
}

#[test]
fn weekdays_and_hours_follow_utc() {
    for (time_s, weekday, hour) in
        [(0, 4, 0), (-1, 3, 23), (345_600, 1, 0), (1_800_000_000 + 86_400 * 2, 7, 8)]
    {
        let condition = format!("context.time.weekday == {weekday} && context.time.hour == {hour}");
        let text = format!("forbid (principal, action, resource) when {{ {condition} }};");
        assert!(matches(&text, &Request { time: Timestamp::from_s(time_s), ..request() }), "{time_s}");
    }
}

#[test]
fn ipv4_address_in_ipv6_form_is_the_same_address() {
    let text = "forbid (principal, action, resource) when { context has source && context.source.isIpv4() };";
    let mapped = Some(IpAddr::V6(std::net::Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped()));
    assert!(matches(text, &Request { source: mapped, ..request() }));
}

#[test]
fn faults_of_a_rule_name_the_problem_and_the_fix() {
    for (text, says) in [
        ("", "not exactly one statement"),
        ("forbid (principal, action, resource); forbid (principal, action, resource);", "not exactly one"),
        ("permit (principal, action, resource);", "roles grant, and a policy restricts"),
        ("forbid (principal == ?principal, action, resource);", "slot"),
        ("@votes(\"2\") forbid (principal, action, resource);", "`@votes` does not exist"),
        ("@max_ttl(\"soon\") forbid (principal, action, resource);", "`@max_ttl` is not a length of time"),
        ("@reason(\"\") forbid (principal, action, resource);", "`@reason` is not one line"),
        ("@reason(\"a\\u{202e}b\") forbid (principal, action, resource);", "printable"),
        ("forbid (principal, action, resource) when { principal.nme == \"a\" };", "nme"),
        ("forbid (principal, action, resource) when { context.source.isLoopback() };", "has"),
        ("forbid (principal == User::\"a\", action, resource);", "User"),
        ("forbid (principal, action == Keyward::Action::\"tokn\", resource);", "tokn"),
        ("forbid (principal, action, resource) when { context.time.hour == \"8\" };", "same type"),
        ("forbid (principal, action, resource) when { 1 == 2 };", "never"),
        ("forbid (principal, action, resource) when { resource.access == \"wirte\" };", "`read`, `write`"),
        ("forbid (principal, action, resource) when { \"hgih\" != resource.sensitivity };", "`ordinary`"),
        ("forbid (principal, action, resource) when { [\"mnit\"].contains(resource.delivery) };", "mnit"),
        ("forbid (principal, action, resource) unless { context.time.hour == 24 };", "0 to 23"),
        ("forbid (principal, action, resource) when { context.time.hour > 25 };", "0 to 23"),
        ("forbid (principal, action, resource) when { context.time.weekday == 0 };", "1 to 7"),
        ("forbid (principal, action, resource) when { true \u{b} };", "control characters"),
        ("forbid (principal, action, resource) wen { true };", "wen"),
    ] {
        let message = fault(text);
        assert!(message.contains(says), "{text}: {message}");
        assert!(!message.contains("policy0"), "{text}: {message}");
    }
}

#[test]
fn a_rule_ends_at_its_limits() {
    let padded = |bytes: usize| {
        let text = "forbid (principal, action, resource); // ";
        format!("{text}{}", "x".repeat(bytes - text.len()))
    };
    rule(&padded(POLICY_RULE_BYTES_MAX));
    assert!(fault(&padded(POLICY_RULE_BYTES_MAX + 1)).contains("bytes"));
    // `when` with its brackets, and each condition with its field.
    let chain = |nesting: usize| {
        let conditions = vec!["principal.name == \"a\""; nesting - 4];
        format!("forbid (principal, action, resource) when {{ {} }};", conditions.join(" || "))
    };
    let longest = rule(&chain(POLICY_NESTING_MAX));
    assert_eq!(longest.evaluate(Question::of(&request().facts()).as_ref()), Match::No);
    assert!(fault(&chain(POLICY_NESTING_MAX + 1)).contains("nest"));
    let reason =
        |chars: usize| format!("@reason(\"{}\") forbid (principal, action, resource);", "é".repeat(chars));
    assert_eq!(
        rule(&reason(POLICY_REASON_CHARS_MAX)).reason().unwrap().chars().count(),
        POLICY_REASON_CHARS_MAX
    );
    assert!(fault(&reason(POLICY_REASON_CHARS_MAX + 1)).contains("characters"));
    for (life, is_allowed) in [("9s", false), ("10s", true), ("7d", true), ("8d", false)] {
        let text = format!("@max_ttl(\"{life}\") forbid (principal, action, resource);");
        assert_eq!(Rule::declared(&text).is_ok(), is_allowed, "{life}");
    }
}

#[test]
fn a_value_that_a_fact_can_have_is_accepted() {
    for condition in [
        "resource.access == \"write\"",
        "[\"mint\", \"lease\"].contains(resource.delivery)",
        "context.time.hour < 24 && context.time.minute == 59",
        "resource.name == \"wirte\"",
    ] {
        rule(&format!("forbid (principal, action, resource) when {{ {condition} }};"));
    }
}

/// Hazard POL-13: Cedar ends a comment at a carriage return, too.
#[test]
fn brackets_after_a_comment_and_chains_of_an_index_nest() {
    let brackets = format!("//\r{}true{}", "(".repeat(100), ")".repeat(100));
    let index = format!("context{}", "[\"time\"]".repeat(100));
    let clauses = " when { true }".repeat(100);
    for text in [
        format!("forbid (principal, action, resource) when {{ {brackets} }};"),
        format!("forbid (principal, action, resource) when {{ {index} }};"),
        format!("forbid (principal, action, resource) {clauses};"),
    ] {
        assert!(fault(&text).contains("nest"), "{}", fault(&text));
    }
}

/// Hazard POL-13.
#[test]
fn hostile_texts_are_refused_without_much_work() {
    for text in ["(", "[", "{", "!", "-", "a.", "a&&", "if a then ", "forbid(", "\"", "@a(", "principal in "]
    {
        let long = text.repeat(POLICY_RULE_BYTES_MAX / text.len());
        assert!(Rule::declared(&long).is_err(), "{text}");
        let within = format!("forbid (principal, action, resource) when {{ {long}");
        assert!(Rule::declared(&within).is_err(), "{text}");
    }
}

#[test]
fn a_rule_names_the_objects_of_its_head_and_its_conditions() {
    let text = "forbid (principal in Keyward::Role::\"deployer\", action, resource in Keyward::Environment::\"production\")
        unless { principal == Keyward::Agent::\"a\" && resource != Keyward::Capability::\"c.d\" };";
    let names = [
        NamedEntity::Agent("a".to_owned()),
        NamedEntity::Role("deployer".to_owned()),
        NamedEntity::Capability("c.d".to_owned()),
        NamedEntity::Environment("production".to_owned()),
    ];
    assert_eq!(rule(text).names(), names);
}

const OVERFLOW: &str =
    "forbid (principal, action, resource) when { context.time.unix_s * 9223372036854775807 > 0 };";

#[test]
fn a_rule_that_cannot_be_evaluated_denies() {
    let verdict = rules([policy("broken", None, OVERFLOW)]).judge(&request().facts());
    assert_eq!(verdict.refusal().map(|one| one.outcome.clone()), Some(PolicyOutcome::Failed));
    let denies = policy("night", None, "forbid (principal, action, resource);");
    let verdict = rules([policy("broken", None, OVERFLOW), denies]).judge(&request().facts());
    assert_eq!(verdict.refusal().map(|one| one.name.as_str()), Some("night"), "a match before a failure");
    assert_eq!(verdict.matched().len(), 2);
}

#[test]
fn a_stored_rule_that_is_not_readable_denies_every_request() {
    for text in [
        "",
        "permit (principal, action, resource);",
        "forbid (principal, action",
        "@later(\"1\") forbid (principal, action, resource);",
    ] {
        let stored: Rule = serde_json::from_value(text.into()).unwrap();
        let policy = Policy { name: "later".parse().unwrap(), rule: stored, owner: None };
        let verdict = rules([policy]).judge(&request().facts());
        assert_eq!(verdict.refusal().map(|one| one.outcome.clone()), Some(PolicyOutcome::Failed), "{text}");
    }
}

#[test]
fn the_policy_of_an_owner_concerns_only_its_capabilities() {
    let rules = rules([policy("p", Some("payments"), "forbid (principal, action, resource);")]);
    let owned = |owner: &str| Request { owner: Some(owner.parse().unwrap()), ..request() };
    assert!(rules.judge(&owned("payments").facts()).refusal().is_some());
    assert!(rules.judge(&owned("search").facts()).refusal().is_none());
    assert!(rules.judge(&request().facts()).refusal().is_none());
}

#[test]
fn the_strictest_limit_applies_and_a_denial_before_it() {
    let limit = |name: &str, life: &str| {
        policy(name, None, &format!("@max_ttl(\"{life}\") forbid (principal, action, resource);"))
    };
    let verdict = rules([limit("a", "10m"), limit("b", "5m"), limit("c", "1h")]).judge(&request().facts());
    assert_eq!(verdict.limit().map(|(max_s, one)| (max_s, one.name.as_str())), Some((300, "b")));
    assert!(verdict.refusal().is_none());
    let denies = policy("z", None, "forbid (principal, action, resource);");
    let verdict = rules([limit("a", "10m"), denies]).judge(&request().facts());
    assert_eq!(verdict.refusal().map(|one| one.name.as_str()), Some("z"));
}

#[test]
fn a_removed_or_changed_policy_is_in_no_slice_any_more() {
    let everything = "forbid (principal, action, resource);";
    let mut rules = rules([policy("p", None, everything), policy("q", None, everything)]);
    let other = policy("p", None, "forbid (principal == Keyward::Agent::\"other\", action, resource);");
    let removed_policies = vec!["q".parse().unwrap()];
    rules.apply(&Effect::Declare(RulesChange {
        policies: vec![other],
        removed_policies,
        ..RulesChange::default()
    }));
    assert!(rules.judge(&request().facts()).matched().is_empty());
    assert_eq!(rules.policies().count(), 1);
}

#[test]
fn rules_are_stored_and_read_with_their_slices_and_their_hash() {
    let before = rules([policy("p", Some("payments"), "forbid (principal, action, resource);")]);
    let stored = serde_json::to_vec(&before).unwrap();
    let after: Rules = serde_json::from_slice(&stored).unwrap();
    let declared = crate::crypto::sha256(b"declared");
    assert_eq!(after.snapshot_with(declared), before.snapshot_with(declared));
    assert_ne!(after.snapshot_with(declared), declared);
    assert_eq!(Rules::default().snapshot_with(declared), declared, "as before there were policies");
    let owned = Request { owner: Some("payments".parse().unwrap()), ..request() };
    assert!(after.judge(&owned.facts()).refusal().is_some());
}

const TOKENS: &str = "forbid (principal, action == Keyward::Action::\"token\", resource);";

#[test]
fn a_rule_demands_approval_by_its_annotations() {
    let needs = |annotations: &str| {
        let verdict =
            rules([policy("p", None, &format!("{annotations} {TOKENS}"))]).judge(&request().facts());
        assert!(verdict.refusal().is_none(), "{annotations}");
        let (_, demand) = verdict.demands().next().expect(annotations);
        (demand.clone(), verdict.limit().map(|(max_s, _)| max_s))
    };
    let demand = |kind, group: Option<&str>, quorum| ApprovalDemand {
        kind,
        group: group.map(|group| group.parse().unwrap()),
        quorum,
    };
    let approval = "@decision(\"require_approval\")";
    assert_eq!(needs(approval), (demand(DemandKind::Approval, None, 1), None));
    assert_eq!(
        needs(&format!("{approval} @approvers(\"leads\") @quorum(\"2\") @max_ttl(\"5m\")")),
        (demand(DemandKind::Approval, Some("leads"), 2), Some(300))
    );
    let confirmation = "@decision(\"require_confirmation\")";
    assert_eq!(needs(confirmation), (demand(DemandKind::Confirmation, None, 1), None));
    assert_eq!(
        rule(&format!("{approval} @approvers(\"leads\") {TOKENS}")).approvers().unwrap().as_str(),
        "leads"
    );
}

#[test]
fn annotations_of_approvals_that_contradict_each_other_are_refused() {
    let beyond = format!("@decision(\"require_approval\") @quorum(\"{}\")", APPROVAL_QUORUM_MAX + 1);
    for (annotations, says) in [
        ("@decision(\"approve\")", "neither"),
        ("@decision(\"require_approval\") @approvers(\"Leads\")", "not the name of a group"),
        ("@decision(\"require_approval\") @quorum(\"0\")", "not a number of persons"),
        (&*beyond, "not a number of persons"),
        ("@approvers(\"leads\")", "beside"),
        ("@quorum(\"2\")", "beside"),
        ("@decision(\"require_confirmation\") @quorum(\"2\")", "confirms a request alone"),
    ] {
        let found = fault(&format!("{annotations} {TOKENS}"));
        assert!(found.contains(says), "{annotations}: {found}");
    }
    let most = format!("@decision(\"require_approval\") @quorum(\"{APPROVAL_QUORUM_MAX}\") {TOKENS}");
    assert!(Rule::declared(&most).is_ok());
}

#[test]
fn only_requests_for_tokens_can_be_approved() {
    for action in [
        "action",
        "action == Keyward::Action::\"lease\"",
        "action in [Keyward::Action::\"token\", Keyward::Action::\"read_secret\"]",
    ] {
        let text = format!("@decision(\"require_approval\") forbid (principal, {action}, resource);");
        assert!(fault(&text).contains("only requests for tokens"), "{text}");
    }
}

#[test]
fn a_denial_comes_before_a_demand_for_approval() {
    let needs = policy("a", None, &format!("@decision(\"require_approval\") {TOKENS}"));
    let denies = policy("z", None, "forbid (principal, action, resource);");
    let verdict = rules([needs, denies]).judge(&request().facts());
    assert_eq!(verdict.refusal().map(|one| one.name.as_str()), Some("z"));
}

#[test]
fn the_hash_of_rules_depends_on_their_names_and_texts() {
    let hash = |rules: &[(&str, &str)]| {
        let one =
            |(name, text): &(&str, &str)| (name.parse().unwrap(), crate::crypto::sha256(text.as_bytes()));
        rules_hash(&rules.iter().map(one).collect())
    };
    let first = hash(&[("a", "x"), ("b", "y")]);
    assert_eq!(first, hash(&[("b", "y"), ("a", "x")]));
    for other in [hash(&[("a", "x")]), hash(&[("a", "y"), ("b", "y")]), hash(&[("a", "x"), ("c", "y")])] {
        assert_ne!(first, other);
    }
}
