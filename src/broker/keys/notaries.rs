use std::sync::{Mutex, PoisonError, RwLock};

use crate::ledger::{Notary, Tree};

/// The generation that signs while the ledger names none.
pub(crate) const FIRST: u32 = 1;

/// The checkpoint key that signs, and the next one, which takes over with its entry.
///
/// The signed state decides which of the two signs: a checkpoint that contains the entry is never signed by the
/// retired key.
#[derive(Debug)]
pub struct Notaries {
    turn: RwLock<Turn>,
    newest: Mutex<Option<SignedCheckpoint>>,
}

/// The last checkpoint with its number of entries. The route is public, and a signature is expensive.
#[derive(Debug)]
struct SignedCheckpoint {
    generation: u32,
    entries: u64,
    note: String,
}

#[derive(Debug)]
struct Turn {
    signing: Notary,
    next: Option<(u32, Notary)>,
}

impl Notaries {
    /// `signing` signs.
    #[must_use]
    pub const fn new(signing: Notary) -> Self {
        Self { turn: RwLock::new(Turn { signing, next: None }), newest: Mutex::new(None) }
    }

    /// Stores the next key of `generation`; returns its announcement.
    pub(crate) fn prepare(&self, generation: u32, next: Notary) -> String {
        let mut turn = self.turn.write().unwrap_or_else(PoisonError::into_inner);
        let announcement = turn.signing.announce(&next);
        turn.next = Some((generation, next));
        announcement
    }

    /// Lets the next key sign: its entry is durable.
    pub(crate) fn take_over(&self, generation: u32) {
        let mut turn = self.turn.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, next)) = turn.next.take_if(|(next, _)| *next == generation) {
            turn.signing = next;
        }
    }

    /// Wipes the private keys in place.
    pub(crate) fn forget(&self) {
        let turn = self.turn.read().unwrap_or_else(PoisonError::into_inner);
        turn.signing.forget();
        turn.next.iter().for_each(|(_, next)| next.forget());
    }

    /// The checkpoint of `tree` by the key of `generation`, which is signed once.
    pub(crate) fn checkpoint(&self, generation: u32, tree: &Tree) -> String {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signed) = &*newest
            && (signed.generation, signed.entries) == (generation, tree.size())
        {
            return signed.note.clone();
        }
        let note = self.with(generation, |notary| notary.sign(tree));
        *newest = Some(SignedCheckpoint { generation, entries: tree.size(), note: note.clone() });
        note
    }

    pub(crate) fn with<T>(&self, generation: u32, use_it: impl FnOnce(&Notary) -> T) -> T {
        let turn = self.turn.read().unwrap_or_else(PoisonError::into_inner);
        let next = turn.next.as_ref().filter(|(next, _)| *next == generation);
        use_it(next.map_or(&turn.signing, |(_, next)| next))
    }
}
