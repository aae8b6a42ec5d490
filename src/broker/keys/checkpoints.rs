use crate::broker::keys::notaries::FIRST;
use crate::broker::services::Services;
use crate::ledger::Notary;

impl Services {
    /// A signed checkpoint of the ledger as it is now.
    pub(crate) fn checkpoint(&self) -> String {
        let tree = self.state.store.tree();
        self.signing.notaries.checkpoint(self.signing_generation(), &tree)
    }

    /// Does something with the checkpoint key that signs as of the state.
    pub(crate) fn with_notary<T>(&self, use_it: impl FnOnce(&Notary) -> T) -> T {
        self.signing.notaries.with(self.signing_generation(), use_it)
    }

    /// To be read after the tree that is signed: it is then no older than the tree.
    pub(super) fn signing_generation(&self) -> u32 {
        let signs = self.state.store.read(|world, _| world.custody.checkpoint_key());
        signs.map_or(FIRST, |(generation, _)| generation)
    }
}
