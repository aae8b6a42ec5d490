use crate::base::TrustDomain;
use crate::broker::failure::Failure;
use crate::broker::keys::notaries::FIRST;
use crate::broker::keys::signing_keys::checkpoint_key;
use crate::broker::services::Services;
use crate::broker::world::World;
use crate::keyring::Keyring;
use crate::ledger::Notary;
use crate::store::Store;

impl Services {
    /// A signed checkpoint of the ledger as it is now.
    pub(crate) fn checkpoint(&self) -> String {
        let tree = self.state.store.tree();
        self.signing.notaries.checkpoint(self.signing_generation(), &tree)
    }

    /// Calls `use_it` with the checkpoint key that signs as of the state.
    pub(crate) fn with_notary<T>(&self, use_it: impl FnOnce(&Notary) -> T) -> T {
        self.signing.notaries.with(self.signing_generation(), use_it)
    }

    /// The state is read after the tree that is signed, so it is not older than the tree.
    pub(super) fn signing_generation(&self) -> u32 {
        let signs = self.state.store.read(|world, _| world.keys.custody.checkpoint_key());
        signs.map_or(FIRST, |(generation, _)| generation)
    }
}

/// The present signer of checkpoints.
///
/// # Errors
/// [`Failure`] if the keyring lacks the key that the ledger names.
pub fn notary(store: &Store<World>, keyring: &Keyring, domain: &TrustDomain) -> Result<Notary, Failure> {
    let known = store.read(|world, _| world.keys.custody.checkpoint_key());
    checkpoint_key(keyring, known.map_or(FIRST, |(generation, _)| generation), domain)
}
