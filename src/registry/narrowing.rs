use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::plan::Plan;
use super::state::Registry;
use crate::base::{AgentName, CapabilityName, RoleName};

/// What an application takes away, and nothing that it gives: whenever it is done, nobody may do more than before.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Narrowing {
    /// Capabilities that no role has any more: they are gone, or delivered otherwise.
    pub capabilities: BTreeSet<CapabilityName>,
    /// Of each of these roles, the only capabilities that it keeps.
    pub roles: BTreeMap<RoleName, BTreeSet<CapabilityName>>,
    /// Of each of these agents, the only roles that it keeps.
    pub agents: BTreeMap<AgentName, BTreeSet<RoleName>>,
    /// Agents that are gone.
    pub removed_agents: BTreeSet<AgentName>,
}

impl Narrowing {
    /// What `plan` takes away of what `registry` has.
    #[must_use]
    pub fn of(registry: &Registry, plan: &Plan) -> Self {
        let declared = registry.declarations();
        let is_delivered_otherwise = |name: &CapabilityName, after: &super::Delivery| {
            declared.capability(name).is_some_and(|before| before.delivery != *after)
        };
        let changed = plan.capabilities.iter().filter(|one| is_delivered_otherwise(&one.name, &one.delivery));
        let capabilities = plan.removed_capabilities.iter().chain(changed.map(|one| &one.name));
        let narrower = plan.roles.iter().filter_map(|role| {
            let before = &declared.role(&role.name)?.capabilities;
            let kept = || before.intersection(&role.capabilities).cloned().collect();
            (!before.is_subset(&role.capabilities)).then(|| (role.name.clone(), kept()))
        });
        let removed = plan.removed_roles.iter().map(|name| (name.clone(), BTreeSet::new()));
        let agents = plan.agents.iter().filter_map(|(spec, _)| {
            let before = &registry.agent_named(&spec.name)?.roles;
            let kept = || before.intersection(&spec.roles).cloned().collect();
            (!before.is_subset(&spec.roles)).then(|| (spec.name.clone(), kept()))
        });
        Self {
            capabilities: capabilities.cloned().collect(),
            roles: narrower.chain(removed).collect(),
            agents: agents.collect(),
            removed_agents: plan.removed_agents.iter().cloned().collect(),
        }
    }

    /// Whether it takes nothing away.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is left of the capabilities of a role.
    pub(super) fn left(
        &self,
        role: &RoleName,
        capabilities: &BTreeSet<CapabilityName>,
    ) -> BTreeSet<CapabilityName> {
        let kept = self.roles.get(role);
        let stays = |name: &&CapabilityName| {
            !self.capabilities.contains(*name) && kept.is_none_or(|kept| kept.contains(*name))
        };
        capabilities.iter().filter(stays).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{AgentId, SystemEntropy, Timestamp};
    use crate::registry::{Access, AgentSpec, Capability, Delivery, Effect, Role};
    use crate::store::At;

    fn capability(name: &str) -> Capability {
        let delivery = Delivery::Lease;
        Capability { name: name.parse().unwrap(), access: Access::Read, delivery, max_life_s: 60 }
    }

    fn role(name: &str, capabilities: &[&str]) -> Role {
        let capabilities = capabilities.iter().map(|name| name.parse().unwrap()).collect();
        Role { name: name.parse().unwrap(), capabilities }
    }

    fn agent(name: &str, roles: &[&str]) -> AgentSpec {
        let roles = roles.iter().map(|name| name.parse().unwrap()).collect();
        AgentSpec { name: name.parse().unwrap(), roles, max_instances: 1 }
    }

    fn registry() -> Registry {
        let mut registry = Registry::default();
        let at = At { seq: 1, time: Timestamp::from_s(1_800_000_000) };
        registry.apply(
            at,
            &Effect::Declare {
                capabilities: vec![capability("a.read"), capability("b.read"), capability("c.read")],
                removed_capabilities: Vec::new(),
                roles: vec![role("first", &["a.read", "b.read"]), role("second", &["c.read"])],
                removed_roles: Vec::new(),
            },
        );
        for (name, roles) in [("bot", &["first", "second"][..]), ("gone", &["first"])] {
            let id = AgentId::mint(at.time, &SystemEntropy);
            registry.apply(at, &Effect::PutAgent { id, spec: agent(name, roles) });
        }
        registry
    }

    fn capabilities(registry: &Registry, role: &str) -> Vec<String> {
        let role = registry.declarations().role(&role.parse().unwrap()).unwrap();
        role.capabilities.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_plan_is_narrowed_to_what_it_takes_away() {
        let before = registry();
        let plan = Plan {
            removed_capabilities: vec!["c.read".parse().unwrap()],
            roles: vec![role("first", &["b.read", "d.read"]), role("new", &["a.read"])],
            agents: vec![(agent("bot", &["second", "new"]), None)],
            removed_agents: vec!["gone".parse().unwrap()],
            ..Plan::default()
        };
        let narrowing = Narrowing::of(&before, &plan);
        let mut after = registry();
        let at = At { seq: 2, time: Timestamp::from_s(1_800_000_000) };
        for _ in 0..2 {
            after.apply(at, &Effect::Narrow(narrowing.clone()));
            assert_eq!(capabilities(&after, "first"), ["b.read"], "and not `d.read`");
            assert_eq!(capabilities(&after, "second"), [""; 0]);
            let bot = after.agent_named(&"bot".parse().unwrap()).unwrap();
            assert_eq!(bot.roles.iter().map(ToString::to_string).collect::<Vec<_>>(), ["second"]);
            assert!(after.agent_named(&"gone".parse().unwrap()).is_none());
        }
        // What another application has taken away meanwhile does not come back.
        after.apply(
            at,
            &Effect::Declare {
                capabilities: Vec::new(),
                removed_capabilities: Vec::new(),
                roles: vec![role("first", &[])],
                removed_roles: Vec::new(),
            },
        );
        after.apply(at, &Effect::Narrow(narrowing));
        assert_eq!(capabilities(&after, "first"), [""; 0]);
    }

    #[test]
    fn a_plan_that_only_gives_takes_nothing_away() {
        let plan = Plan {
            capabilities: vec![capability("d.read"), capability("a.read")],
            roles: vec![role("first", &["a.read", "b.read", "d.read"])],
            agents: vec![(agent("bot", &["first", "second", "new"]), None)],
            ..Plan::default()
        };
        assert!(Narrowing::of(&registry(), &plan).is_empty());
    }
}
