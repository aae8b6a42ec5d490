use super::desk::{AdminDesk, AgentDesk};
use super::failure::Failure;
use super::world::{Effect, World};
use crate::authn::{AgentPrincipal, OperatorPrincipal};
use crate::base::{Timestamp, code};
use crate::idempotency::{self, Lookup, Once, Outcome, Remembered, Request, keys};
use crate::store::Change;

impl AdminDesk {
    /// What a request of `operator` is known again by.
    #[must_use]
    pub fn once(&self, operator: &OperatorPrincipal, request: &Request<'_>) -> Once {
        Once::of(&format!("operator {}", operator.name()), request, &self.0.digests)
    }
}

impl AgentDesk {
    /// What a request of `agent` is known again by: as long as it shows the same certificate, since
    /// what it is given is bound to that.
    #[must_use]
    pub fn once(&self, agent: &AgentPrincipal, request: &Request<'_>) -> Once {
        Once::of(&format!("certificate {}", agent.thumbprint().hex()), request, &self.0.digests)
    }
}

/// What the request of `once` did, if it has come before.
pub(super) fn done_before(
    world: &World,
    once: Option<&Once>,
    now: Timestamp,
) -> Result<Option<Remembered>, Failure> {
    let Some(once) = once else { return Ok(None) };
    match world.outcomes.look_up(once, now) {
        Lookup::New => Ok(None),
        Lookup::Same(remembered) => Ok(Some(remembered)),
        Lookup::Different => Err(Failure::new(code::IDEMPOTENCY_KEY_REUSED)),
    }
}

/// `change`, remembering for `life_s` seconds what the request of `once` did by it. It relies on the
/// request not having come since the state as of `as_of` was read.
pub(super) fn remembering(
    change: Change<Effect>,
    (once, as_of): (Option<&Once>, u64),
    life_s: u32,
    outcome: impl FnOnce() -> Outcome,
) -> Change<Effect> {
    let Some(once) = once else { return change };
    let effect = idempotency::Effect::remember(once, life_s, outcome());
    change.effect(Effect::Idempotency(effect)).rely(keys::slot(once), as_of).advance(keys::slot(once))
}
