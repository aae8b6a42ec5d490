use std::sync::{Mutex, PoisonError, RwLock};

use crate::ledger::{Notary, Tree};

/// The generation that signs until the ledger says otherwise.
pub(crate) const FIRST: u32 = 1;

/// The checkpoint key that signs, and the one that takes over with its entry.
///
/// Which of the two signs follows from the state that is signed: no checkpoint that has the entry is ever signed by
/// the key that it retired.
#[derive(Debug)]
pub struct Notaries {
    turn: RwLock<Turn>,
    newest: Mutex<Option<SignedCheckpoint>>,
}

/// A checkpoint of this many entries. Anybody may ask for one, and a signature is dear.
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

    /// Has `next` ready, which is `generation`; the announcement that it takes over.
    pub(crate) fn prepare(&self, generation: u32, next: Notary) -> String {
        let mut turn = self.turn.write().unwrap_or_else(PoisonError::into_inner);
        let announcement = turn.signing.announce(&next);
        turn.next = Some((generation, next));
        announcement
    }

    /// The next one signs from here on: its entry is durable.
    pub(crate) fn take_over(&self, generation: u32) {
        let mut turn = self.turn.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, next)) = turn.next.take_if(|(next, _)| *next == generation) {
            turn.signing = next;
        }
    }

    /// Wipes the private keys in place: nothing is signed any more.
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
