use std::path::Path;

use crate::broker::failure::Failure;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::State;
use crate::broker::world::Effect;
use crate::custody::{self, KnownSlot, SlotsChanged};
use crate::keyring::{Family, Keyring, KeyringError, RootId, SlotState};
use crate::store::{Change, History};

/// What a keyring has that the ledger is to know.
#[derive(Debug)]
pub struct KeyringContents {
    slots: Vec<KnownSlot>,
    root: RootId,
    delta: u32,
}

impl KeyringContents {
    /// What `keyring`, whose file is at `path`, has. A slot that waits to be confirmed opens nothing and is none yet.
    ///
    /// # Errors
    /// [`KeyringError`] when the file cannot be read.
    pub fn of(keyring: &Keyring, path: &Path) -> Result<Self, KeyringError> {
        let slots = keyring.slots(path)?;
        let opening = slots.iter().filter(|slot| slot.state == SlotState::Opens);
        let delta = keyring.current(Family::Delta)?.0.generation;
        Ok(Self { slots: opening.map(KnownSlot::from).collect(), root: keyring.root_id(), delta })
    }
}

/// Says on the ledger what changed of the keyring's slots and its root key, if anything did since it was last said:
/// a change whose process was stopped before its record, or that was made without a broker, is found at
/// the next start.
///
/// # Errors
/// [`Failure`].
pub async fn record_slots(state: &State, found: &KeyringContents, by: &str) -> Result<(), Failure> {
    for _ in 0..TRIES {
        if retry_on_conflict!(record(state, found, by))? {
            break;
        }
    }
    Ok(())
}

/// An entry that comes between the reading of the tree and the record leaves nothing to compare: it is said again.
const TRIES: u32 = 8;

/// Records them, unless there is nothing to say: the ledger knows them, and an entry under this root key binds
/// all entries before it.
async fn record(state: &State, found: &KeyringContents, by: &str) -> Result<bool, AttemptError> {
    let KeyringContents { slots, root, delta } = found;
    let (((added, removed), is_said), preconditions) = state.read(|reading| {
        let custody = reading.slots();
        (custody.difference(slots), custody.root() == Some(*root) && custody.is_bound())
    });
    if added.is_empty() && removed.is_empty() && is_said {
        return Ok(true);
    }
    let tree = state.store.tree();
    let before = History { through: tree.size(), root: tree.root() };
    let change =
        Change::new(&SlotsChanged { by, added, removed, root: (!is_said).then(|| root.to_string()) })?
            .effect(Effect::Custody(custody::Effect::Slots(slots.clone())))
            .effect(Effect::Custody(custody::Effect::Root(*root.as_bytes())))
            .effect(Effect::Custody(custody::Effect::SealingKeys(*delta)))
            .effect(Effect::Custody(custody::Effect::Before(before)));
    state.commit(change, preconditions, ()).await?.redeem();
    Ok(false)
}
