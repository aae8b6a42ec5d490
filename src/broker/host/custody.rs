use std::path::Path;

use crate::broker::failure::Failure;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::services::State;
use crate::broker::world::Effect;
use crate::custody::{self, KnownSlot, SlotsChanged};
use crate::keyring::{Family, Keyring, KeyringError, RootId, SlotState};
use crate::store::{Change, History};

/// The facts of a keyring that the ledger records.
#[derive(Debug)]
pub struct KeyringContents {
    slots: Vec<KnownSlot>,
    root: RootId,
    delta: u32,
}

impl KeyringContents {
    /// The facts of `keyring`, with its file at `path`. An unconfirmed slot does not count.
    ///
    /// # Errors
    /// [`KeyringError`] if the file cannot be read.
    pub fn of(keyring: &Keyring, path: &Path) -> Result<Self, KeyringError> {
        let slots = keyring.slots(path)?;
        let opening = slots.iter().filter(|slot| slot.state == SlotState::Opens);
        let delta = keyring.current(Family::Delta)?.0.generation;
        Ok(Self { slots: opening.map(KnownSlot::from).collect(), root: keyring.root_id(), delta })
    }
}

/// Records the changes of the keyring's slots and root key since the last record. A start also finds changes whose
/// process was stopped before the record, and changes without a broker.
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

/// The number of attempts: an entry between the read of the tree and the record makes it incomparable.
const TRIES: u32 = 8;

/// Records them, unless the ledger has them, and an entry under this root key binds all earlier entries.
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
