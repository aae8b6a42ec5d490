use serde_json::Value;

use super::declared::Policy;
use super::facts::{AgentFacts, CapabilityFacts};
use super::rule::Rule;
use super::verdict::PolicyOutcome;

impl Rule {
    /// Whether it restricts each request at least as much as `before`. `false` if that is not known: only rules that are equal
    /// but for their annotations are compared.
    #[must_use]
    pub fn restricts_as_much_as(&self, before: &Self) -> bool {
        if self.text() == before.text() {
            return true;
        }
        let bodies = self.body().zip(before.body());
        bodies.is_some_and(|(own, other)| own == other) && is_as_strict(&self.outcome(), &before.outcome())
    }

    /// The statement without its annotations.
    fn body(&self) -> Option<Value> {
        let mut body = self.statement()?.to_json().ok()?;
        body.as_object_mut()?.remove("annotations");
        Some(body)
    }
}

fn is_as_strict(own: &PolicyOutcome, before: &PolicyOutcome) -> bool {
    let life = |max_s: Option<u32>| max_s.unwrap_or(u32::MAX);
    match (own, before) {
        (PolicyOutcome::Denied | PolicyOutcome::Failed, _) => true,
        (PolicyOutcome::Limited { max_s }, PolicyOutcome::Limited { max_s: before }) => max_s <= before,
        (PolicyOutcome::NeedsApproval { max_s, .. }, PolicyOutcome::Limited { max_s: before }) => {
            life(*max_s) <= *before
        }
        // Only the same approvers are compared.
        (
            PolicyOutcome::NeedsApproval { demand, max_s },
            PolicyOutcome::NeedsApproval { demand: asked, max_s: before },
        ) => {
            let is_same = demand.kind == asked.kind && demand.group == asked.group;
            is_same && demand.quorum >= asked.quorum && life(*max_s) <= life(*before)
        }
        (PolicyOutcome::Limited { .. }, PolicyOutcome::NeedsApproval { .. })
        | (_, PolicyOutcome::Denied | PolicyOutcome::Failed) => false,
    }
}

impl Policy {
    /// Whether its head fits requests of this agent for this capability, by any action.
    #[must_use]
    pub fn can_concern(&self, agent: &AgentFacts<'_>, capability: &CapabilityFacts<'_>) -> bool {
        self.unfit(agent, capability, None).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONDITION: &str = "forbid (principal, action, resource) when { resource.access == \"write\" };";

    #[test]
    fn only_rules_that_differ_in_annotations_are_compared() {
        let rule = |text: &str| Rule::declared(text).unwrap();
        let limit = |life: &str| rule(&format!("@max_ttl(\"{life}\") {CONDITION}"));
        let tokens = CONDITION.replace("action,", "action == Keyward::Action::\"token\",");
        let approve =
            |quorum: &str| rule(&format!("@decision(\"require_approval\") @quorum(\"{quorum}\") {tokens}"));
        let deny = rule(CONDITION);
        for (own, before, is_as_strict) in [
            (&deny, &deny, true),
            (&rule(&format!("@reason(\"r\")\n{CONDITION}")), &deny, true),
            (&deny, &limit("5m"), true),
            (&limit("5m"), &deny, false),
            (&limit("5m"), &limit("5m"), true),
            (&limit("4m"), &limit("5m"), true),
            (&limit("6m"), &limit("5m"), false),
            (&approve("2"), &approve("1"), true),
            (&approve("1"), &approve("2"), false),
            (&rule(&format!("@max_ttl(\"5m\") {tokens}")), &approve("1"), false),
            (&approve("1"), &rule(&format!("@max_ttl(\"5m\") {tokens}")), false),
            (&rule(&tokens), &approve("1"), true),
            (&approve("1"), &rule(&tokens), false),
            // Stricter, but that is not known.
            (&rule("forbid (principal, action, resource);"), &deny, false),
        ] {
            assert_eq!(own.restricts_as_much_as(before), is_as_strict, "{own:?} after {before:?}");
        }
    }
}
