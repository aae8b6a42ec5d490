//! Numbers, expectations, links and seals: what becomes of drafts before a log makes them durable.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::append::{AppendError, Committed};
use super::draft::Draft;
use super::entry::{Entry, EntryBatch, EntryChain, SealedState};
use super::generations::KeyAdvances;
use super::history::{Head, LedgerHistory};
use super::key::{Key, Kind};
use super::keys::WriterSession;
use super::tree::Tree;
use crate::base::{Clock, Entropy, RawReading};
use crate::crypto::Digest;

/// An append that waits for its answer.
pub(super) struct Waiting {
    /// Boxed, because the queue goes round all of its places: with drafts in them it would pass through about as
    /// much memory as a processor keeps close by, over and over.
    pub(super) draft: Box<Draft>,
    pub(super) reply: oneshot::Sender<Result<Committed, AppendError>>,
}

impl Waiting {
    pub(super) fn answer(self, result: Result<Committed, AppendError>) {
        // A caller that has stopped waiting does not get it; the entry stands.
        drop(self.reply.send(result));
    }
}

/// Proof that the head of the log is held, and that the state and the sequencer have every entry before it: what is
/// decided now comes after all of them. It is spent by the batch.
#[derive(Debug)]
pub(super) struct CaughtUp(());

impl CaughtUp {
    pub(super) const fn assertion() -> Self {
        Self(())
    }
}

/// Drafts of one group commit, checked, numbered and sealed.
pub(super) struct Sequenced {
    pub(super) entries: Vec<Entry>,
    pub(super) drafts: Vec<Waiting>,
    /// Drafts that relied on what has changed, with the key of that.
    pub(super) conflicts: Vec<(Waiting, Key)>,
    /// The clocks as of an entry that adopts the wall clock.
    pub(super) adopts: Option<RawReading>,
}

pub(super) struct Sequencer {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    session: Arc<WriterSession>,
    generations: KeyAdvances,
    history: LedgerHistory,
}

impl Sequencer {
    /// Goes on after `history`. Nobody has read a state before it.
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        session: Arc<WriterSession>,
        history: LedgerHistory,
    ) -> Self {
        let generations = KeyAdvances::since(history.head().seq);
        Self { clock, entropy, session, generations, history }
    }

    pub(super) const fn head(&self) -> Head {
        self.history.head()
    }

    pub(super) const fn node(&self) -> Digest {
        self.history.node()
    }

    pub(super) const fn tree(&self) -> &Tree {
        self.history.tree()
    }

    pub(super) const fn history(&self) -> &LedgerHistory {
        &self.history
    }

    /// Checks expectations in order, each against the state after the drafts before it, then numbers and seals.
    pub(super) fn sequence(&mut self, batch: Vec<Waiting>, _: CaughtUp) -> Sequenced {
        let mut succession = self.history.succession();
        let mut time = self.clock.now().max(succession.head().time);
        let first = succession.head().seq.saturating_add(1);
        let (mut drafts, mut conflicts) = (Vec::with_capacity(batch.len()), Vec::new());
        for waiting in batch {
            let expect = &waiting.draft.expect;
            let broken = expect.iter().find(|expectation| self.generations.is_broken(expectation));
            if let Some(key) = broken.map(|expectation| expectation.key) {
                conflicts.push((waiting, key));
                continue;
            }
            let seq = first.saturating_add(drafts.len() as u64);
            for key in &waiting.draft.advance {
                self.generations.advance(*key, seq);
            }
            drafts.push(waiting);
        }
        let (mut entries, count, mut adopts) = (Vec::with_capacity(drafts.len()), drafts.len(), None);
        for (waiting, left) in drafts.iter_mut().zip((0..count).rev()) {
            let draft = waiting.draft.as_mut();
            if draft.kind == Kind::CLOCK_ADJUSTED {
                let raw = self.clock.raw();
                (time, adopts) = (raw.wall(), Some(raw));
            }
            let mut entry = Entry {
                seq: succession.head().seq.saturating_add(1),
                batch: EntryBatch { first, is_last: left == 0 },
                time,
                kind: draft.kind,
                chain: EntryChain::new(
                    self.entropy.plain_bytes(),
                    succession.node(),
                    succession.links(&draft.concerns),
                ),
                cause: draft.cause.clone(),
                event: std::mem::take(&mut draft.event),
                state: SealedState { session: self.session.salt(), sealed: Vec::new() },
            };
            entry.state.sealed = self.session.seal(&entry, &draft.advance, draft.delta.expose());
            succession.add(&entry);
            entries.push(entry);
        }
        Sequenced { entries, drafts, conflicts, adopts }
    }

    /// Adopts the wall clock where an entry of `batch`, which is durable, says so.
    pub(super) fn adopt(&self, batch: &Sequenced) {
        if let Some(raw) = batch.adopts {
            self.clock.adopt(raw);
        }
    }

    /// Takes in an entry that is durable: of this writer or, with the keys that it advances, of another.
    pub(super) fn take(&mut self, entry: &Entry, advanced: impl Iterator<Item = Key>) {
        advanced.for_each(|key| self.generations.advance(key, entry.seq));
        self.history.take(entry);
    }

    /// A batch was not committed and never will be: its drafts are as before, and may be sequenced anew. What was
    /// decided on an earlier state than that of now is decided again, because what the batch advanced counts no more.
    pub(super) fn abandon(&mut self, mut batch: Sequenced) -> Vec<Waiting> {
        self.generations = KeyAdvances::since(self.head().seq);
        for (waiting, entry) in batch.drafts.iter_mut().zip(batch.entries) {
            waiting.draft.event = entry.event;
        }
        batch.drafts
    }
}
