use crate::base::code;
use crate::broker::failure::Failure;
use crate::broker::world::World;
use crate::keyring::Keyring;
use crate::store::Store;

/// That the keyring is not one whose root key was replaced since: an unseal key that was removed or
/// rekeyed opens such a copy, and nothing that it says counts.
///
/// # Errors
/// [`Failure`] when it is one.
pub fn root_is_current(store: &Store<World>, keyring: &Keyring) -> Result<(), Failure> {
    let known = store.read(|world, _| world.keys.custody.root());
    if known.is_none_or(|known| keyring.descends_from(known)) {
        return Ok(());
    }
    let why = "the ledger names a root key that replaced the keyring's, or the ledger is so old that the keyring does not \
               know its root key any more";
    let fix = "put the newest copy of `keyring` back, or a newer copy of `ledger`: `--accept-lost-entries` accepts neither, \
               because a slot that was removed may open such a keyring";
    Err(Failure::new(code::KEYRING_OUTDATED).because(why).mended_by(fix))
}
