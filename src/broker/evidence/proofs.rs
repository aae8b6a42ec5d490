use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::base::limits::PAGE_ENTRIES_MAX;
use crate::base::{Cancellation, code};
use crate::broker::failure::Failure;
use crate::broker::world::World;
use crate::crypto::Digest;
use crate::custody::CheckpointKeyRotated;
use crate::evidence::Takeover;
use crate::ledger::{BlockRoots, Entry};
use crate::store::{Event, Store};

/// Makes inclusion proofs. What they need of the whole ledger is read once and remembered.
#[derive(Debug, Default)]
pub struct Proofs {
    blocks: BlockRoots,
    takeovers: Mutex<BTreeMap<u64, String>>,
}

impl Proofs {
    /// The inclusion proofs of the entries `wanted`, each once and rising, in the tree of the first `size` entries.
    ///
    /// # Errors
    /// [`Failure`] if the ledger is damaged, or the work was cancelled; then the next attempt continues.
    pub(super) fn prove(
        &self,
        store: &Store<World>,
        wanted: Vec<u64>,
        size: u64,
        work: &Cancellation,
    ) -> Result<Vec<Vec<Digest>>, Failure> {
        let read = |from| {
            work.step()?;
            let entries = store.entries(from, PAGE_ENTRIES_MAX)?;
            self.note(&entries);
            Ok::<_, Failure>(entries)
        };
        self.blocks.prove(wanted, size, read)?.ok_or(Failure::new(code::INTERNAL))
    }

    /// The changes of the checkpoint key in the entries of the proofs so far.
    pub(super) fn takeovers(&self, size: u64) -> Vec<Takeover> {
        let known = self.takeovers.lock().unwrap_or_else(PoisonError::into_inner);
        known.range(..=size).map(|(seq, note)| Takeover { seq: *seq, note: note.clone() }).collect()
    }

    fn note(&self, entries: &[Entry]) {
        let announced = entries.iter().filter(|entry| entry.kind == CheckpointKeyRotated::KIND);
        for entry in announced {
            let event: serde_json::Value = serde_json::from_slice(&entry.event).unwrap_or_default();
            if let Some(note) = event.get("announcement").and_then(serde_json::Value::as_str) {
                let mut known = self.takeovers.lock().unwrap_or_else(PoisonError::into_inner);
                known.insert(entry.seq, note.to_owned());
            }
        }
    }
}
