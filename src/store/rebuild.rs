use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::change::{Projection, StoredState, decode};
use crate::index::{Batch, Index};
use crate::ledger::{Entry, Ledger, ReadError};

/// The writes of `entry` to the index.
pub(super) fn projection<W: StoredState>(ledger: &Ledger, entry: &Entry) -> Result<Projection, ReadError> {
    projected::<W>(ledger.delta(entry)?.expose()).map_err(ReadError::Io)
}

/// The state changes of `entry`, which this ledger has read back.
pub(super) fn effects_of<W: StoredState>(
    ledger: &Ledger,
    entry: &Entry,
) -> Result<Vec<W::Effect>, ReadError> {
    let delta = ledger.delta(entry)?;
    decode::<W::Effect>(delta.expose()).map_err(|why| ReadError::Io(why.to_string()))
}

fn projected<W: StoredState>(delta: &[u8]) -> Result<Projection, String> {
    let mut projection = Projection::default();
    for effect in &decode::<W::Effect>(delta).map_err(|why| why.to_string())? {
        W::project(effect, &mut projection);
    }
    Ok(projection)
}

/// Hands the index what the ledger holds from entry `from` on.
pub(super) fn reindex<W: StoredState>(ledger: &Ledger, index: &Index, from: u64) -> Result<(), ReadError> {
    let mut next = from;
    // More may come while it reads, and is read too: what it hands over last is what counts.
    loop {
        let head = ledger.head().seq;
        if next > head {
            return Ok(());
        }
        ledger.each(next, head, &mut |entry, delta| {
            let puts = projected::<W>(delta)?.puts;
            if !puts.is_empty() || entry.seq == head {
                index.submit(Batch { seq: entry.seq, puts });
            }
            Ok(())
        })?;
        next = head.saturating_add(1);
    }
}

/// The index, which is built anew while it is in use when it is broken: by one thread at a time. Until it is
/// through, reads that the index cannot answer go to the ledger.
#[derive(Debug)]
pub(super) struct RebuiltIndex {
    index: Arc<Index>,
    under_way: Arc<AtomicBool>,
}

impl Deref for RebuiltIndex {
    type Target = Index;

    fn deref(&self) -> &Index {
        &self.index
    }
}

impl RebuiltIndex {
    pub(super) fn new(index: Arc<Index>) -> Self {
        Self { index, under_way: Arc::default() }
    }

    pub(super) fn rebuild<W: StoredState>(&self, ledger: &Arc<Ledger>) {
        if self.under_way.swap(true, Ordering::AcqRel) {
            return;
        }
        let (ledger, index) = (Arc::clone(ledger), Arc::clone(&self.index));
        let under_way = Arc::clone(&self.under_way);
        let started = std::thread::Builder::new().name("reindex".to_owned()).spawn(move || {
            match index.reset() {
                Ok(()) => {
                    if let Err(error) = reindex::<W>(&ledger, &index, 1) {
                        tracing::error!(%error, "the index could not be rebuilt");
                    }
                }
                Err(error) => tracing::error!(%error, "a new index cannot be created: the broker reads the ledger instead"),
            }
            under_way.store(false, Ordering::Release);
        });
        if let Err(error) = started {
            tracing::error!(%error, "the index cannot be rebuilt now: the broker reads the ledger instead");
            self.under_way.store(false, Ordering::Release);
        }
    }
}
