use std::sync::{PoisonError, RwLock};

use super::desk::Core;
use super::turn_checkpoint_key::FIRST;
use crate::ledger::Notary;

/// The checkpoint key that signs, and the one that takes over with its entry.
///
/// Which of the two signs follows from the state that is signed: no checkpoint that has the entry is ever signed by
/// the key that it retired.
#[derive(Debug)]
pub struct Notaries(RwLock<Turn>);

#[derive(Debug)]
struct Turn {
    signing: Notary,
    next: Option<(u32, Notary)>,
}

impl Notaries {
    /// `signing` signs.
    #[must_use]
    pub const fn new(signing: Notary) -> Self {
        Self(RwLock::new(Turn { signing, next: None }))
    }

    /// Has `next` ready, which is `generation`; the announcement that it takes over.
    pub(super) fn prepare(&self, generation: u32, next: Notary) -> String {
        let mut turn = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let announcement = turn.signing.announce(&next);
        turn.next = Some((generation, next));
        announcement
    }

    /// The next one signs from here on: its entry is durable.
    pub(super) fn take_over(&self, generation: u32) {
        let mut turn = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, next)) = turn.next.take_if(|(next, _)| *next == generation) {
            turn.signing = next;
        }
    }

    /// Wipes the private keys in place: nothing is signed any more.
    pub(super) fn forget(&self) {
        let turn = self.0.read().unwrap_or_else(PoisonError::into_inner);
        turn.signing.forget();
        turn.next.iter().for_each(|(_, next)| next.forget());
    }

    fn with<T>(&self, generation: u32, use_it: impl FnOnce(&Notary) -> T) -> T {
        let turn = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let next = turn.next.as_ref().filter(|(next, _)| *next == generation);
        use_it(next.map_or(&turn.signing, |(_, next)| next))
    }
}

impl Core {
    /// Does something with the checkpoint key that signs as of the state, which is read after what is signed.
    pub(super) fn with_notary<T>(&self, use_it: impl FnOnce(&Notary) -> T) -> T {
        let signs = self.store.read(|world, _| world.custody.checkpoint_key());
        self.notaries.with(signs.map_or(FIRST, |(generation, _)| generation), use_it)
    }
}
