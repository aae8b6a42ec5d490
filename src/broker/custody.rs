use super::desk::{Again, deciding_again};
use super::failure::Failure;
use super::world::{Effect, World};
use crate::custody::{self, KnownSlot, SlotsChanged, keys};
use crate::keyring::{SlotState, SlotView};
use crate::store::{Change, Store};

/// Says on the ledger what changed of the keyring's slots, if anything did since it was last said:
/// whoever was stopped between a change and its record, or made it without a broker, is found out at
/// the next start. A slot that waits to be confirmed opens nothing and is none yet.
///
/// # Errors
/// [`Failure`].
pub async fn record_slots(store: &Store<World>, slots: &[SlotView], by: &str) -> Result<(), Failure> {
    let opening = slots.iter().filter(|slot| slot.state == SlotState::Opens);
    let slots: Vec<KnownSlot> = opening.map(KnownSlot::from).collect();
    deciding_again!(async {
        let ((added, removed), as_of) = store.read(|world, as_of| (world.custody.difference(&slots), as_of));
        if added.is_empty() && removed.is_empty() {
            return Ok(());
        }
        let change = Change::new(&SlotsChanged { by, added, removed })?
            .effect(Effect::Custody(custody::Effect::Slots(slots.clone())))
            .rely(keys::slots(), as_of)
            .advance(keys::slots());
        store.commit(change, ()).await?.redeem();
        Ok::<_, Again>(())
    })
}
