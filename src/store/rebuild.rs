use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::change::{Projection, World, decode};
use crate::base::limits::PAGE_ENTRIES_MAX;
use crate::index::{Batch, Index};
use crate::ledger::{Entry, FileLedger, Ledger, ReadError};

/// What `entry` puts into the index.
pub(super) fn projection<W: World>(ledger: &FileLedger, entry: &Entry) -> Result<Projection, ReadError> {
    let delta = ledger.delta(entry)?;
    let effects = decode::<W::Effect>(delta.expose()).map_err(ReadError::Io)?;
    let mut projection = Projection::default();
    for effect in &effects {
        W::project(effect, &mut projection);
    }
    Ok(projection)
}

/// Hands the index everything that the ledger holds.
pub(super) fn reindex<W: World>(ledger: &FileLedger, index: &Index) -> Result<(), ReadError> {
    let mut from: u64 = 1;
    loop {
        let entries = ledger.read(from, PAGE_ENTRIES_MAX)?;
        let Some(last) = entries.last() else { return Ok(()) };
        from = last.seq.saturating_add(1);
        for entry in &entries {
            index.submit(Batch { seq: entry.seq, puts: projection::<W>(ledger, entry)?.puts });
        }
    }
}

/// Builds a broken index anew while it is in use: one thread at a time, whoever notices. Until it is
/// through, reads that the index cannot answer go to the ledger.
#[derive(Debug, Default)]
pub(super) struct Rebuild {
    under_way: Arc<AtomicBool>,
}

impl Rebuild {
    pub(super) fn start<W: World>(&self, ledger: &Arc<FileLedger>, index: &Arc<Index>) {
        if self.under_way.swap(true, Ordering::AcqRel) {
            return;
        }
        let (ledger, index) = (Arc::clone(ledger), Arc::clone(index));
        let under_way = Arc::clone(&self.under_way);
        let started = std::thread::Builder::new().name("reindex".to_owned()).spawn(move || {
            match index.reset() {
                Ok(()) => {
                    if let Err(error) = reindex::<W>(&ledger, &index) {
                        tracing::error!(%error, "the index could not be built anew");
                    }
                }
                Err(error) => tracing::error!(%error, "there is no fresh index; reads go to the ledger"),
            }
            under_way.store(false, Ordering::Release);
        });
        if let Err(error) = started {
            tracing::error!(%error, "the index cannot be built anew now; reads go to the ledger");
            self.under_way.store(false, Ordering::Release);
        }
    }
}
