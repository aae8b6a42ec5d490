use super::*;
use crate::base::{AgentId, SystemEntropy, Timestamp};
use crate::registry::{
    Access, AgentSpec, Capability, Delivery, Effect, Plan, PlannedTies, Registry, Removals, Role,
};
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
        agents: vec![(agent("bot", &["second", "new"]), PlannedTies::default())],
        removed_agents: vec!["gone".parse().unwrap()],
        ..Plan::default()
    };
    let removals = Removals::of(&before, &plan);
    let narrowing = before.remaining(&removals);
    let mut after = registry();
    let at = At { seq: 2, time: Timestamp::from_s(1_800_000_000) };
    let bot = before.agent_named(&"bot".parse().unwrap()).unwrap().id;
    let mut advanced = Vec::new();
    Effect::Withdraw(removals.clone()).advances(&mut advanced);
    let first = keys::role(&"first".parse().unwrap());
    assert!(advanced.contains(&keys::agent(bot)) && advanced.contains(&first));
    // As this build and earlier ones write it.
    for effect in [Effect::Withdraw(removals), Effect::Narrow(narrowing.clone())] {
        let id = |name: &str| after.agent_named(&name.parse().unwrap()).map(|agent| agent.id);
        // The ids of this registry are others.
        let effect = if let Effect::Withdraw(removals) = effect {
            let ids = removals.ids.keys().filter_map(|name| Some((name.clone(), id(name.as_str())?)));
            Effect::Withdraw(Removals { ids: ids.collect(), ..removals.clone() })
        } else {
            effect
        };
        after.apply(at, &effect);
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
        agents: vec![(agent("bot", &["first", "second", "new"]), PlannedTies::default())],
        ..Plan::default()
    };
    assert!(Removals::of(&registry(), &plan).is_empty());
}

#[test]
fn removals_take_away_nothing_that_was_added_since_their_plan() {
    // Given the removals of a plan
    let mut registry = registry();
    let plan = Plan {
        removed_capabilities: vec!["c.read".parse().unwrap()],
        roles: vec![role("first", &["b.read"])],
        agents: vec![(agent("bot", &["second"]), PlannedTies::default())],
        removed_agents: vec!["gone".parse().unwrap()],
        ..Plan::default()
    };
    let removals = Removals::of(&registry, &plan);
    // When other applications add to the same objects, and create the removed agent again
    let at = At { seq: 2, time: Timestamp::from_s(1_800_000_000) };
    let gone = registry.agent_named(&"gone".parse().unwrap()).unwrap().id;
    registry.apply(at, &Effect::RemoveAgent(gone));
    let (bot, again) =
        (removals.ids[&"bot".parse::<AgentName>().unwrap()], AgentId::mint(at.time, &SystemEntropy));
    for (id, spec) in [(bot, agent("bot", &["first", "second", "new"])), (again, agent("gone", &["new"]))] {
        registry.apply(at, &Effect::PutAgent { id, spec });
    }
    registry.apply(
        at,
        &Effect::Declare {
            capabilities: Vec::new(),
            removed_capabilities: Vec::new(),
            roles: vec![role("first", &["a.read", "b.read", "d.read"]), role("new", &["c.read"])],
            removed_roles: Vec::new(),
        },
    );
    registry.apply(at, &Effect::Withdraw(removals));
    // Then only the pairs of the plan are removed
    assert_eq!(capabilities(&registry, "first"), ["b.read", "d.read"]);
    assert_eq!(capabilities(&registry, "second"), [""; 0]);
    assert_eq!(capabilities(&registry, "new"), ["c.read"]);
    let bot = registry.agent(bot).unwrap();
    assert_eq!(bot.roles.iter().map(ToString::to_string).collect::<Vec<_>>(), ["new", "second"]);
    assert!(registry.agent(again).is_some());
}
