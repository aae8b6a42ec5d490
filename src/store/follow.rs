use std::io::Read;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::anchor::{KeeperShared, RootCheck, RootWatch};
use super::change::{At, Projection, StoredState, decode};
use super::state::read_state;
use super::withheld::{Settled, UnrecordedDenials, WithheldReceipts};
use crate::index::{Batch, Index};
use crate::ledger::{Entry, Follower, SnapshotPoint, TakeInError, Tree};

/// The in-memory state and how far it has come.
#[derive(Debug)]
pub(super) struct InMemoryState<W> {
    world: RwLock<W>,
    as_of: AtomicU64,
    /// Receipts that are not delivered, because their subject was denied meanwhile.
    pub(super) withheld: WithheldReceipts,
    /// The number of unrecorded denials in force.
    denials: AtomicUsize,
    /// Limits the unrecorded denials that the ledger is asked to take.
    pub(super) unrecorded: UnrecordedDenials,
}

impl<W: StoredState> InMemoryState<W> {
    pub(super) fn new(world: W) -> Self {
        Self {
            world: RwLock::new(world),
            as_of: AtomicU64::new(0),
            withheld: WithheldReceipts::default(),
            denials: AtomicUsize::new(0),
            unrecorded: UnrecordedDenials::default(),
        }
    }

    /// The number of unrecorded denials in force.
    pub(super) fn denials(&self) -> usize {
        self.denials.load(Ordering::Acquire)
    }

    /// The sequence of an entry that the state has, and so all entries before it.
    pub(super) fn as_of(&self) -> u64 {
        self.as_of.load(Ordering::Acquire)
    }

    /// Takes something away that no entry says yet, if `decide` says so of the state as it is then.
    pub(super) fn deny(&self, denial: &W::Denial, decide: impl FnOnce(&W) -> bool) -> bool {
        let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
        if !decide(&world) {
            return false;
        }
        let _whole = Whole;
        world.deny(denial);
        W::withheld_by(denial).into_iter().for_each(|key| self.withheld.begin(key));
        self.denials.fetch_add(1, Ordering::AcqRel);
        true
    }

    /// Ends `denial`; the entry of `settled` is in the state.
    pub(super) fn settle_denial(&self, denial: &W::Denial, settled: Settled) {
        let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
        let _whole = Whole;
        let seq = match settled {
            Settled::Recorded(seq) => {
                world.recorded(denial);
                seq
            }
            Settled::Done | Settled::Void(_) => {
                world.lift(denial);
                0
            }
        };
        W::withheld_by(denial).into_iter().for_each(|key| self.withheld.end(key, seq));
        self.denials.fetch_sub(1, Ordering::AcqRel);
    }

    /// The state, and the sequence of the last entry in it. The sequence is read under the lock, so
    /// that it never claims an entry that the state does not have.
    pub(super) fn read(&self) -> (RwLockReadGuard<'_, W>, u64) {
        let world = self.world.read().unwrap_or_else(PoisonError::into_inner);
        let as_of = self.as_of();
        (world, as_of)
    }
}

/// Held while the state changes, and dropped before its lock is: a panic that would leave half of a change ends the
/// process. Nobody decides by a state that no entries make; the next start makes it anew, out of whole entries.
struct Whole;

impl Drop for Whole {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a panic left the state half changed: the broker stops; restart it");
            std::process::abort();
        }
    }
}

/// Takes entries into memory, one lock a group commit, and hands the index its share.
pub(super) struct WorldFollower<W: StoredState> {
    memory: Arc<InMemoryState<W>>,
    index: Arc<Index>,
    /// The last entry whose writes the index was handed. Shared, because a start that accepts a loss
    /// turns it back.
    indexed_through: Arc<AtomicU64>,
    waiting: Vec<(At, Vec<W::Effect>)>,
    last: u64,
    check: RootCheck,
    anchors: Arc<KeeperShared>,
    /// Whether a waiting change revokes something.
    is_urgent: bool,
}

/// Entries without index writes still move the index's applied sequence, this often.
const INDEX_STRIDE: u64 = 1024;

impl<W: StoredState> WorldFollower<W> {
    pub(super) fn new(
        memory: Arc<InMemoryState<W>>,
        index: Arc<Index>,
        indexed_through: Arc<AtomicU64>,
        watch: RootWatch,
    ) -> Self {
        let RootWatch { check, anchors } = watch;
        indexed_through.store(index.applied(), Ordering::Release);
        let waiting = Vec::new();
        Self { memory, index, indexed_through, waiting, last: 0, check, anchors, is_urgent: false }
    }
}

impl<W: StoredState> Follower for WorldFollower<W> {
    fn restore(&mut self, point: &SnapshotPoint, tree: &Tree, state: &mut dyn Read) -> Result<(), String> {
        let restored = read_state::<W>(state)?;
        if !self.check.believes(tree) {
            return Err("no anchor confirms its entry".to_owned());
        }
        *self.memory.world.write().unwrap_or_else(PoisonError::into_inner) = restored;
        self.last = point.through;
        if self.indexed_through.load(Ordering::Acquire) < point.through {
            // It lacks entries that nobody is about to read: nothing of later ones until it has those.
            self.indexed_through.store(u64::MAX, Ordering::Release);
        }
        self.settle(tree);
        Ok(())
    }

    fn apply(&mut self, entry: &Entry, delta: &[u8], before: &Tree) -> Result<(), TakeInError> {
        let effects = decode::<W::Effect>(delta)?;
        let mut said = effects.iter().filter_map(W::history).filter(|said| said.is_about(entry.seq));
        if said.any(|said| said.contradicts(entry.seq, before.root())) {
            let why = "the entries before it are not the ones that it was written after".to_owned();
            return Err(TakeInError::Contradiction(why));
        }
        self.check.at(before);
        self.last = entry.seq;
        self.is_urgent |= effects.iter().any(W::takes_away);
        if !effects.is_empty() {
            self.waiting.push((At { seq: entry.seq, time: entry.time }, effects));
        }
        Ok(())
    }

    fn settle(&mut self, tree: &Tree) {
        self.check.at(tree);
        let indexed_through = self.indexed_through.load(Ordering::Acquire);
        let mut projection = Projection::default();
        if !self.waiting.is_empty() {
            let mut world = self.memory.world.write().unwrap_or_else(PoisonError::into_inner);
            let _whole = Whole;
            for (at, effects) in self.waiting.drain(..) {
                for effect in &effects {
                    world.apply(at, effect);
                    if at.seq > indexed_through {
                        W::project(effect, &mut projection);
                    }
                }
            }
            world.deny_again();
            // Under the lock: a reader must not see the new state with the old sequence's promise.
            self.memory.as_of.store(self.last, Ordering::Release);
        } else {
            self.memory.as_of.store(self.last, Ordering::Release);
        }
        if std::mem::take(&mut self.is_urgent) {
            self.anchors.urge();
        }
        let due = self.last > indexed_through.saturating_add(INDEX_STRIDE);
        if self.last > indexed_through && (due || !projection.puts.is_empty()) {
            self.index.submit(Batch { seq: self.last, puts: projection.puts });
            self.indexed_through.store(self.last, Ordering::Release);
        }
    }
}
