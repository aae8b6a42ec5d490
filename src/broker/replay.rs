use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::failure::Failure;
use super::services::State;
use super::world::{Effect, World};
use crate::base::limits::OUTCOME_LIFE_S;
use crate::base::{Timestamp, code};
use crate::idempotency::{self, IdempotencyKey, Lookup, Outcome, Remembered};
use crate::store::Change;

/// What the request of `idempotency` did, if it was carried out before.
pub(crate) fn done_before(
    world: &World,
    idempotency: Option<&IdempotencyKey>,
    now: Timestamp,
) -> Result<Option<Remembered>, Failure> {
    let Some(idempotency) = idempotency else { return Ok(None) };
    for idempotency in idempotency.under_each_key() {
        match world.outcomes.look_up(idempotency, now) {
            Lookup::New => {}
            Lookup::Same(remembered) => return Ok(Some(remembered)),
            Lookup::Different => return Err(Failure::new(code::IDEMPOTENCY_KEY_REUSED)),
        }
    }
    Ok(None)
}

/// Refuses to tell a code again that a request made before.
pub(crate) fn code_not_repeated(before: &Remembered) -> Failure {
    let Outcome::Invited(code) = &before.outcome else { return Failure::new(code::IDEMPOTENCY_KEY_REUSED) };
    let why = format!(
        "the first request with this Idempotency-Key made the code {code}, whose secret the broker does not store"
    );
    Failure::new(code::REPLAY_SECRET_NOT_STORED).because(why)
}

impl State {
    /// What the entry said that a request made before.
    pub(crate) fn said<T: DeserializeOwned>(&self, before: &Remembered) -> Result<T, Failure> {
        let entries = self.store.entries(before.seq, 1)?;
        let said = entries.first().and_then(|entry| serde_json::from_slice(&entry.event).ok());
        said.ok_or_else(|| Failure::new(code::RECORD_UNREADABLE))
    }

    /// The generation that a request rotated a key to before.
    pub(crate) fn rotated_before(&self, before: &Remembered) -> Result<u32, Failure> {
        #[derive(Deserialize)]
        struct Event {
            generation: u32,
        }
        Ok(self.said::<Event>(before)?.generation)
    }
}

/// `change`, remembering what the request of `idempotency` did by it. The request must not have been carried out since the
/// records were read: [`super::reading::Reading::outcome`] notes that.
pub(crate) fn remembered(
    change: Change<Effect>,
    idempotency: Option<&IdempotencyKey>,
    outcome: Outcome,
) -> Change<Effect> {
    remembered_for(OUTCOME_LIFE_S, change, idempotency, || outcome)
}

/// The same for `life_s` seconds.
pub(crate) fn remembered_for(
    life_s: u32,
    change: Change<Effect>,
    idempotency: Option<&IdempotencyKey>,
    outcome: impl FnOnce() -> Outcome,
) -> Change<Effect> {
    let Some(idempotency) = idempotency else { return change };
    change.effect(Effect::Idempotency(idempotency::Effect::remember(idempotency, life_s, outcome())))
}
