use crate::base::code;
use crate::broker::failure::Failure;
use crate::broker::world::World;
use crate::keyring::Keyring;
use crate::store::Store;

/// Checks that the root key of the keyring was not replaced later: a removed unseal key opens such a copy, so its
/// content must not be trusted.
///
/// # Errors
/// [`Failure`] if it was.
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
