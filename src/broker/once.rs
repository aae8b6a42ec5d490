use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::failure::Failure;
use super::world::{Effect, World};
use crate::authn::{AgentPrincipal, OperatorPrincipal};
use crate::base::limits::OUTCOME_LIFE_S;
use crate::base::{Timestamp, code};
use crate::broker::desk::{AdminDesk, AgentDesk};
use crate::broker::services::Core;
use crate::idempotency::{self, Caller, Lookup, Once, Outcome, Remembered, Request, keys};
use crate::store::Change;

impl AdminDesk {
    /// What a request of `operator` is known again by.
    #[must_use]
    pub fn once(&self, operator: &OperatorPrincipal, request: &Request<'_>) -> Once {
        let name = format!("operator {}", operator.name());
        Once::of(Caller::named(&name), request, &self.0.state.digests, &self.0.state.earlier_digests)
    }
}

impl AgentDesk {
    /// What a request of `agent` is known again by: as long as it shows the same certificate, since
    /// what it is given is bound to that.
    #[must_use]
    pub fn once(&self, agent: &AgentPrincipal, request: &Request<'_>) -> Once {
        let identity = format!("agent {}", agent.agent());
        let credential = format!("certificate {}", agent.thumbprint().hex());
        let caller = Caller { identity: &identity, credential: &credential };
        Once::of(caller, request, &self.0.state.digests, &self.0.state.earlier_digests)
    }
}

/// What the request of `once` did, if it has come before.
pub(super) fn done_before(
    world: &World,
    once: Option<&Once>,
    now: Timestamp,
) -> Result<Option<Remembered>, Failure> {
    let Some(once) = once else { return Ok(None) };
    for once in once.under_each_key() {
        match world.outcomes.look_up(once, now) {
            Lookup::New => {}
            Lookup::Same(remembered) => return Ok(Some(remembered)),
            Lookup::Different => return Err(Failure::new(code::IDEMPOTENCY_KEY_REUSED)),
        }
    }
    Ok(None)
}

/// Refuses to tell a code again that a request made before, if it did.
pub(super) fn told_once(before: Option<&Remembered>) -> Result<(), Failure> {
    let Some(Remembered { outcome: Outcome::Invited(code), .. }) = before else { return Ok(()) };
    let why = format!("the code {code} was made by this request before, and its secret is not kept");
    Err(Failure::new(code::REPLAY_SECRET_NOT_STORED).because(why))
}

impl Core {
    /// What the entry said that a request made before.
    pub(super) fn said<T: DeserializeOwned>(&self, before: &Remembered) -> Result<T, Failure> {
        let entries = self.state.store.entries(before.seq, 1)?;
        let said = entries.first().and_then(|entry| serde_json::from_slice(&entry.event).ok());
        said.ok_or_else(|| Failure::new(code::RECORD_UNREADABLE))
    }

    /// `change` on the word of `by`, unless the schedule has it made.
    ///
    /// # Errors
    /// [`Failure`] when `by` may not do it any more.
    pub(super) fn asked_by(
        &self,
        change: Change<Effect>,
        by: Option<Asker<'_>>,
        as_of: u64,
    ) -> Result<Change<Effect>, Failure> {
        let Some((operator, once)) = by else { return Ok(change) };
        let change = remembering(change, (once, as_of), OUTCOME_LIFE_S, || Outcome::Recorded);
        self.while_allowed(change, operator)
    }

    /// The generation that a request turned a key to before.
    pub(super) fn turned_before(&self, before: &Remembered) -> Result<u32, Failure> {
        #[derive(Deserialize)]
        struct Event {
            generation: u32,
        }
        Ok(self.said::<Event>(before)?.generation)
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
    change.effect(Effect::Idempotency(effect)).rely(keys::slot(once.slot()), as_of)
}

/// Who asked for what the schedule does too, and what the request is known again by.
pub(super) type Asker<'a> = (&'a OperatorPrincipal, Option<&'a Once>);

pub(super) fn once_of(by: Option<Asker<'_>>) -> Option<&Once> {
    by.and_then(|(_, once)| once)
}
