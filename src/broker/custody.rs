use super::desk::{Again, deciding_again};
use super::failure::Failure;
use super::world::{Effect, World};
use crate::base::code;
use crate::custody::{self, KnownSlot, SlotsChanged, keys};
use crate::keyring::{Keyring, RootId, SlotState, SlotView};
use crate::store::{Change, Store};

/// That the keyring is not one whose root key was replaced since: an unseal key that was removed or
/// rekeyed opens such a copy, and nothing that it says counts.
///
/// # Errors
/// [`Failure`] when it is one.
pub fn root_is_current(store: &Store<World>, keyring: &Keyring) -> Result<(), Failure> {
    let known = store.read(|world, _| world.custody.root());
    if known.is_none_or(|known| keyring.descends_from(known)) {
        return Ok(());
    }
    Err(Failure::new(code::KEYRING_OLDER).because("the ledger names a root key that replaced the keyring's"))
}

/// Says on the ledger what changed of the keyring's slots and its root key, if anything did since it was last said:
/// whoever was stopped between a change and its record, or made it without a broker, is found out at
/// the next start. A slot that waits to be confirmed opens nothing and is none yet.
///
/// # Errors
/// [`Failure`].
pub async fn record_slots(
    store: &Store<World>,
    (slots, root): (&[SlotView], RootId),
    by: &str,
) -> Result<(), Failure> {
    let opening = slots.iter().filter(|slot| slot.state == SlotState::Opens);
    let slots: Vec<KnownSlot> = opening.map(KnownSlot::from).collect();
    deciding_again!(async {
        let ((added, removed), known_root, as_of) =
            store.read(|world, as_of| (world.custody.difference(&slots), world.custody.root(), as_of));
        let is_replaced = known_root != Some(root);
        if added.is_empty() && removed.is_empty() && !is_replaced {
            return Ok(());
        }
        let said = is_replaced.then(|| root.to_string());
        let change = Change::new(&SlotsChanged { by, added, removed, root: said })?
            .effect(Effect::Custody(custody::Effect::Slots(slots.clone())))
            .effect(Effect::Custody(custody::Effect::Root(*root.as_bytes())))
            .rely(keys::slots(), as_of)
            .advance(keys::slots());
        store.commit(change, ()).await?.redeem();
        Ok::<_, Again>(())
    })
}
