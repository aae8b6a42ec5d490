//! The one thread of a ledger that writes.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::append::{AppendError, Committed};
use super::attempts::WriteState;
use super::draft::Space;
use super::entry::Entry;
use super::follower::Follower;
use super::log::{BatchId, BatchNeed, Begun, Log, LogContext, LogFailure};
use super::sequencer::{CaughtUp, Sequenced, Sequencer, Waiting};
use super::shared::LedgerShared;
use crate::base::Stopwatch;
use crate::base::limits::{
    BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, CATCH_UP_READS_MAX, LEDGER_STALLED_MS, LOG_RETRIES_MAX, PROBE_EVERY_S,
};

/// What the writer is asked.
pub(super) enum WriterMessage {
    Append(Waiting),
    Close,
}

pub(super) struct LedgerWriter {
    pub(super) context: LogContext,
    pub(super) shared: Arc<LedgerShared>,
    pub(super) follower: Box<dyn Follower>,
    pub(super) sequencer: Sequencer,
    pub(super) log: Box<dyn Log>,
    pub(super) trouble: WriterTrouble,
    /// Since when the newest look at the log's free space is.
    pub(super) looked: Stopwatch,
}

/// What the newest attempt met.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WriterTrouble {
    /// There was no space for the newest entry that takes nothing away.
    no_space: bool,
    /// The newest attempt failed, and wrote nothing.
    failing: bool,
}

impl LedgerWriter {
    /// Writes what comes until it is told to close.
    pub(super) fn run(mut self, queue: &Receiver<WriterMessage>) {
        // Also when a panic ends the thread: nobody must believe that appends still work.
        let _guard = Retire(Arc::clone(&self.shared));
        let mut open = true;
        while open {
            let first = match queue.recv_timeout(Duration::from_secs(PROBE_EVERY_S)) {
                Ok(WriterMessage::Append(first)) => first,
                Err(RecvTimeoutError::Timeout) => {
                    self.idle();
                    continue;
                }
                Ok(WriterMessage::Close) | Err(RecvTimeoutError::Disconnected) => break,
            };
            // Where cores are short, callers that are about to append do so first: fewer syncs, each for more.
            // Where one is idle, this returns at once.
            std::thread::yield_now();
            let mut bytes = first.draft.stored_bytes_max();
            let mut batch = vec![first];
            while batch.len() < BATCH_ENTRIES_MAX && bytes < BATCH_BYTES_MAX {
                match queue.try_recv() {
                    Ok(WriterMessage::Append(next)) => {
                        bytes = bytes.saturating_add(next.draft.stored_bytes_max());
                        batch.push(next);
                    }
                    Ok(WriterMessage::Close) => {
                        open = false;
                        break;
                    }
                    Err(_) => break,
                }
            }
            self.attempt(|writer| writer.append(batch));
        }
        if self.shared.is_writable() {
            self.log.close(self.sequencer.head(), self.sequencer.node());
        }
    }

    /// Tries the log while nothing is appended, and takes in what others have committed.
    fn idle(&mut self) {
        if !self.shared.is_writable() || !self.shared.is_probed() {
            return;
        }
        self.attempt(|writer| match writer.log.idle(writer.sequencer.head().seq) {
            Ok(others) => {
                writer.trouble.no_space = false;
                if let Err(why) = writer.take_others(&others) {
                    writer.stop(&why);
                }
            }
            Err(LogFailure::NoSpace) => writer.trouble.no_space = true,
            Err(LogFailure::Failing(why)) => {
                tracing::error!(%why, "a probe write to the ledger failed: check the data disk, or the database of the ledger");
                writer.trouble.failing = true;
            }
            Err(LogFailure::EntriesLost(why)) => writer.stop_at_loss(&why),
            Err(LogFailure::Stopped(why)) => writer.stop(&why),
            Err(LogFailure::Unknown) => writer.stop("nothing was committed, and the outcome is unknown"),
        });
    }

    /// Does what may take as long as the log takes, and lets readers know what came of it.
    fn attempt(&mut self, write: impl FnOnce(&mut Self)) {
        let was_in_trouble = self.trouble.no_space || self.trouble.failing;
        let watch = Stopwatch::start();
        self.shared.attempts.begin();
        self.trouble.failing = false;
        write(self);
        let trouble = match self.trouble {
            WriterTrouble { no_space: true, .. } => Some(WriteState::NoSpace),
            WriterTrouble { failing: true, .. } => Some(WriteState::Failing),
            WriterTrouble { .. } => None,
        };
        self.shared.attempts.end(trouble);
        let waited = watch.elapsed();
        let was_stalled = waited > Duration::from_millis(LEDGER_STALLED_MS);
        if trouble.is_none() && self.shared.is_writable() && (was_in_trouble || was_stalled) {
            tracing::info!(waited_s = waited.as_secs(), "the ledger can be written again");
        }
        self.shared.reserve_is(self.log.has_reserve());
        if self.looked.elapsed() >= Duration::from_secs(PROBE_EVERY_S) {
            self.shared.free_bytes_are(self.log.free_bytes());
            self.looked = Stopwatch::start();
        }
    }

    fn append(&mut self, mut batch: Vec<Waiting>) {
        let mut need = need_of(&batch, Space::Usual);
        for _ in 0..=LOG_RETRIES_MAX {
            if !self.shared.is_writable() {
                break;
            }
            let Some(begun) = self.begin(batch, need) else { return };
            let (held, needed, caught_up) = begun;
            let sequenced = self.sequencer.sequence(held, caught_up);
            let Some(again) = self.commit(sequenced, needed) else { return };
            (batch, need) = again;
        }
        if self.shared.is_writable() {
            self.stop("a batch could not be committed in several attempts");
        }
        answer_all(batch, &AppendError::Failed);
    }

    /// Takes the head of the log for what of `batch` there is space for, and takes in what others have committed.
    /// What there is no space for has been answered.
    ///
    /// Space comes before sealing: without it nothing has been sealed.
    fn begin(
        &mut self,
        mut batch: Vec<Waiting>,
        mut need: BatchNeed,
    ) -> Option<(Vec<Waiting>, BatchNeed, CaughtUp)> {
        let mut begun = self.catch_up(need);
        if need.space == Space::Usual {
            self.trouble.no_space = matches!(begun, Err(LogFailure::NoSpace));
            if self.trouble.no_space {
                let urgent = refuse_usual(batch);
                if urgent.is_empty() {
                    return None;
                }
                batch = urgent;
                need = need_of(&batch, Space::Reserve);
                begun = self.catch_up(need);
            }
        }
        self.shared.reserve_is(self.log.has_reserve());
        match begun {
            Ok(caught_up) => return Some((batch, need, caught_up)),
            Err(error) => {
                let answer = self.note_failure(&error);
                answer_all(batch, &answer);
            }
        }
        None
    }

    /// Takes the head of the log, and takes in every entry before it.
    fn catch_up(&mut self, need: BatchNeed) -> Result<CaughtUp, LogFailure> {
        for _ in 0..CATCH_UP_READS_MAX {
            let (others, is_held) = match self.log.begin(self.sequencer.head().seq, need)? {
                Begun::Held(others) => (others, true),
                Begun::Behind(others) => (others, false),
            };
            if let Err(why) = self.take_others(&others) {
                self.log.release();
                return Err(LogFailure::Stopped(why));
            }
            if is_held {
                return Ok(CaughtUp::assertion());
            }
        }
        Err(LogFailure::Failing("other writers commit faster than this one reads".to_owned()))
    }

    /// What callers are told whose drafts were not written. The ledger stops, unless the next attempt may succeed.
    fn note_failure(&mut self, error: &LogFailure) -> AppendError {
        match error {
            LogFailure::NoSpace => {
                self.trouble.no_space = true;
                AppendError::NoSpace
            }
            LogFailure::Failing(why) => {
                tracing::error!(%why, "a write to the ledger failed, and wrote nothing: check the data disk, or the database of the ledger");
                self.trouble.failing = true;
                AppendError::Unwritten
            }
            LogFailure::EntriesLost(why) => {
                self.stop_at_loss(why);
                AppendError::Failed
            }
            LogFailure::Unknown | LogFailure::Stopped(_) => {
                self.stop(&error.to_string());
                AppendError::Failed
            }
        }
    }

    /// Takes in what other writers have committed; if that cannot be, the reason, and the ledger has to stop.
    fn take_others(&mut self, others: &[Entry]) -> Result<(), String> {
        if others.is_empty() {
            return Ok(());
        }
        for entry in others {
            let taken = self.take_other(entry);
            taken
                .map_err(|why| format!("entry {} of another writer cannot be taken in: {why}", entry.seq))?;
        }
        self.settle();
        Ok(())
    }

    fn take_other(&mut self, entry: &Entry) -> Result<(), String> {
        let LogContext { ledger, keys, .. } = &self.context;
        let opened = keys.open(*ledger, entry).map_err(|error| error.to_string())?;
        let opened = opened.ok_or("its seal does not match")?;
        self.sequencer.history().succession().check(entry)?;
        let applied = self.follower.apply(entry, opened.delta(), self.sequencer.tree());
        applied.map_err(|why| why.to_string())?;
        self.sequencer.take(entry, opened.advanced());
        Ok(())
    }

    /// Makes a batch durable; gives back what has to be sequenced anew, and its need.
    fn commit(&mut self, batch: Sequenced, need: BatchNeed) -> Option<(Vec<Waiting>, BatchNeed)> {
        // What a wiped key sealed would never open again.
        if self.context.session.is_forgotten() {
            self.log.release();
            self.stop("its keys were wiped");
        } else if let Some(first) = batch.entries.first() {
            let id = BatchId::of(first);
            let watch = Stopwatch::start();
            let mut committed = self.log.commit(&batch.entries);
            self.shared.syncs.observe(watch.elapsed());
            if committed == Err(LogFailure::Unknown) {
                committed = match self.log.look_up(&id) {
                    Ok(true) => Ok(()),
                    Ok(false) => return Some((self.abandon(batch), need)),
                    Err(error @ LogFailure::EntriesLost(_)) => Err(error),
                    // It is not the commit that failed so: the batch may be there.
                    Err(error) => Err(LogFailure::Stopped(error.to_string())),
                };
            }
            match committed {
                Ok(()) => self.follow(&batch),
                Err(LogFailure::NoSpace) if need.space == Space::Usual => {
                    self.trouble.no_space = true;
                    let urgent = refuse_usual(self.abandon(batch));
                    let need = need_of(&urgent, Space::Reserve);
                    return (!urgent.is_empty()).then_some((urgent, need));
                }
                Err(error @ (LogFailure::NoSpace | LogFailure::Failing(_))) => {
                    let answer = self.note_failure(&error);
                    answer_all(self.abandon(batch), &answer);
                    return None;
                }
                Err(LogFailure::EntriesLost(why)) => self.stop_at_loss(&why),
                Err(error) => self.stop(&error.to_string()),
            }
        } else {
            self.log.release();
        }
        let is_committed = self.shared.is_writable();
        let Sequenced { entries, drafts, conflicts, .. } = batch;
        for (waiting, entry) in drafts.into_iter().zip(entries) {
            let committed = Committed::assertion(entry.seq, entry.time);
            waiting.answer(if is_committed { Ok(committed) } else { Err(AppendError::Failed) });
        }
        answer_conflicts(conflicts);
        None
    }

    fn abandon(&mut self, mut batch: Sequenced) -> Vec<Waiting> {
        answer_conflicts(std::mem::take(&mut batch.conflicts));
        self.sequencer.abandon(batch)
    }

    /// Lets the state take in what is now durable. Readers are shown it first: an entry that the state names can be
    /// read.
    fn follow(&mut self, batch: &Sequenced) {
        self.sequencer.adopt(batch);
        for (entry, waiting) in batch.entries.iter().zip(&batch.drafts) {
            let applied = self.follower.apply(entry, waiting.draft.delta.expose(), self.sequencer.tree());
            if let Err(why) = applied {
                return self.stop(&format!("entry {} cannot be taken in: {why}", entry.seq));
            }
            // What it advances, it has advanced when it was sequenced.
            self.sequencer.take(entry, std::iter::empty());
        }
        self.settle();
    }

    fn settle(&mut self) {
        self.shared.publish(self.sequencer.head(), self.sequencer.tree());
        self.follower.settle(self.sequencer.tree());
    }

    fn stop_at_loss(&mut self, why: &str) {
        self.stop(why);
        self.shared.entries_are_lost(why.to_owned());
    }

    fn stop(&mut self, why: &str) {
        tracing::error!(%why, "the ledger has stopped: nothing is acknowledged until the next start");
        self.shared.retire();
    }
}

fn need_of(batch: &[Waiting], space: Space) -> BatchNeed {
    let bytes = batch.iter().map(|waiting| waiting.draft.stored_bytes_max());
    BatchNeed { entries: batch.len() as u64, bytes: bytes.fold(0, usize::saturating_add) as u64, space }
}

/// Refuses the drafts of `batch` for which there is no space, and gives back those that may take the reserve.
fn refuse_usual(batch: Vec<Waiting>) -> Vec<Waiting> {
    let (urgent, usual): (Vec<_>, Vec<_>) =
        batch.into_iter().partition(|waiting| waiting.draft.space == Space::Reserve);
    if !usual.is_empty() {
        tracing::error!("the disk has no space for more ledger entries: appends are refused");
        answer_all(usual, &AppendError::NoSpace);
    }
    urgent
}

fn answer_all(batch: Vec<Waiting>, error: &AppendError) {
    for waiting in batch {
        waiting.answer(Err(error.clone()));
    }
}

/// Told only once the batch has ended, so that a caller that decides again finds the state that it conflicted with.
fn answer_conflicts(conflicts: Vec<(Waiting, super::key::Key)>) {
    for (waiting, key) in conflicts {
        waiting.answer(Err(AppendError::Conflict(key)));
    }
}

struct Retire(Arc<LedgerShared>);

impl Drop for Retire {
    fn drop(&mut self) {
        self.0.retire();
    }
}
