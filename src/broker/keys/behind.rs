use crate::base::Timestamp;
use crate::base::limits::BACKDATE_S;
use crate::broker::identity::facts::counting;
use crate::broker::identity::standing::InstanceStanding;
use crate::broker::world::World;
use crate::keyring::{KeyStage, StageSince};
use crate::operators::{Certificate, Operator};

/// The names of the holders of older certificates than `stage_since` requires, once for each certificate: live and
/// suspended instances, and operators, if the change would make their certificates invalid.
pub(crate) fn behind(world: &World, stage_since: StageSince, now: Timestamp) -> Vec<&str> {
    let active = world.keys.authority.generations().active().map(|(_, active)| active.since);
    match (stage_since.stage, active) {
        (KeyStage::Prepared, _) => instances_before(world, stage_since.since, now).collect(),
        (KeyStage::Old | KeyStage::Tainted, Some(since)) => {
            instances_before(world, since, now).chain(operators_before(world, since, now)).collect()
        }
        (KeyStage::Old | KeyStage::Tainted, None) | (KeyStage::Active | KeyStage::Revoked, _) => Vec::new(),
    }
}

fn instances_before(world: &World, since: Timestamp, now: Timestamp) -> impl Iterator<Item = &str> {
    let of_agents = world.registry.agents().flat_map(|one| one.instances.iter().map(move |its| (one, its)));
    let older = of_agents.filter(move |(_, its)| its.current.not_before.plus_s(BACKDATE_S) < since);
    let counting = older.filter(move |(agent, its)| {
        let state = InstanceStanding::of(world, agent, its, now);
        matches!(state, InstanceStanding::Live | InstanceStanding::Suspended)
    });
    counting.map(|(agent, _)| agent.name.as_str())
}

/// Operators whose valid certificates are all older.
fn operators_before(world: &World, since: Timestamp, now: Timestamp) -> impl Iterator<Item = &str> {
    let is_older = move |one: &Certificate| one.not_before.plus_s(BACKDATE_S) < since;
    let locked_out = move |operator: &&Operator| {
        let mut acting = counting(operator, world, now).peekable();
        acting.peek().is_some() && acting.all(is_older)
    };
    world.operators.all().filter(locked_out).map(|operator| operator.name.as_str())
}
