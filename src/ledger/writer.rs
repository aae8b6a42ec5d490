//! The one thread that writes.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::active::{Active, Extent, MakeError};
use super::append::{AppendError, Committed, Head};
use super::attempts::WriteState;
use super::entry::{Draft, Entry, Follower, Key, Kind, Space, said};
use super::file_ledger::{Options, Shared};
use super::generations::Generations;
use super::keys::{SegmentKeys, plain_len};
use super::layer::Lock;
use super::probe;
use super::segment::{Frame, Mark, entry_size};
use crate::base::limits::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, PROBE_EVERY_S, PROBE_ROOM_BYTES};
use crate::base::{Sensitive, Stopwatch, io_reason};

/// What the writer is asked.
pub(super) enum Message {
    Append(Waiting),
    Close,
}

/// An append that waits for its answer.
pub(super) struct Waiting {
    /// Boxed, because the queue goes round all of its places: with drafts in them it would pass through about as
    /// much memory as a processor keeps close by, over and over.
    pub(super) draft: Box<Draft>,
    pub(super) reply: oneshot::Sender<Result<Committed, AppendError>>,
}

impl Waiting {
    fn bytes(&self) -> usize {
        let plain = plain_len(0, self.draft.delta.expose().len());
        entry_size(self.draft.event.len(), plain)
    }

    fn answer(self, result: Result<Committed, AppendError>) {
        // Whoever no longer waits for the answer does not get it; the entry stands.
        drop(self.reply.send(result));
    }
}

pub(super) struct Writer {
    options: Arc<Options>,
    shared: Arc<Shared>,
    follower: Box<dyn Follower>,
    active: Option<Active>,
    generations: Generations,
    head: Head,
    /// A group commit as it goes to the file; kept for its memory.
    buffer: Vec<u8>,
    health: Health,
    space: Room,
    probe_failed: bool,
    /// Since when the newest look at the disk's free space is.
    looked: Stopwatch,
    /// Held as long as anything may be written.
    _lock: Lock,
}

#[derive(Clone, Copy, PartialEq)]
enum Health {
    Good,
    /// A write or sync failed, or the state could not follow: nothing is acknowledged any more.
    Stopped,
}

/// Whether there was space for the newest entry that takes nothing away.
#[derive(Clone, Copy, PartialEq)]
enum Room {
    Enough,
    None,
}

/// An entry of the group commit at hand.
struct Accepted {
    reply: oneshot::Sender<Result<Committed, AppendError>>,
    entry: Entry,
    delta: Sensitive<Vec<u8>>,
    offset: u64,
    size: usize,
}

impl Writer {
    pub(super) fn new(
        options: Arc<Options>,
        shared: Arc<Shared>,
        follower: Box<dyn Follower>,
        active: Option<Active>,
        lock: Lock,
    ) -> Self {
        let head = shared.head();
        let generations = Generations::since(head.seq);
        let (buffer, health, space) = (Vec::new(), Health::Good, Room::Enough);
        let (probe_failed, looked) = (false, Stopwatch::start());
        Self {
            options,
            shared,
            follower,
            active,
            generations,
            head,
            buffer,
            health,
            space,
            probe_failed,
            looked,
            _lock: lock,
        }
    }

    /// Writes what comes until it is told to close.
    pub(super) fn run(mut self, queue: &Receiver<Message>) {
        // Also when a panic ends the thread: nobody must believe that appends still work.
        let _guard = Retire(Arc::clone(&self.shared));
        let mut open = true;
        while open {
            let first = match queue.recv_timeout(Duration::from_secs(PROBE_EVERY_S)) {
                Ok(Message::Append(first)) => first,
                Err(RecvTimeoutError::Timeout) => {
                    self.probe();
                    continue;
                }
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => break,
            };
            // Where cores are short, whoever is about to append does so first: fewer syncs, each for more.
            // Where one is idle, this returns at once.
            std::thread::yield_now();
            let mut bytes = first.bytes();
            let mut batch = vec![first];
            while batch.len() < BATCH_ENTRIES_MAX && bytes < BATCH_BYTES_MAX {
                match queue.try_recv() {
                    Ok(Message::Append(next)) => {
                        bytes = bytes.saturating_add(next.bytes());
                        batch.push(next);
                    }
                    Ok(Message::Close) => {
                        open = false;
                        break;
                    }
                    Err(_) => break,
                }
            }
            self.attempt(|writer| writer.commit(batch, bytes as u64));
        }
        self.close();
    }

    /// Tries the disk while nothing is appended: whether there is room for entries, and whether a write ends.
    fn probe(&mut self) {
        if self.health == Health::Stopped || !self.shared.is_probed() {
            return;
        }
        self.attempt(|writer| {
            let written = probe::write(writer.options.layer.as_ref());
            if let Err(error) = &written {
                tracing::error!(error = %io_reason(error), "a probe write to the ledger's directory failed: look at the data disk");
            }
            writer.probe_failed = written.is_err();
            if writer.probe_failed {
                // Nor is a segment begun: a sync of that which fails would stop the ledger for good.
                return;
            }
            match writer.make_room(PROBE_ROOM_BYTES) {
                Ok(()) => writer.space = Room::Enough,
                Err(MakeError::NoSpace) => writer.space = Room::None,
                Err(error) => drop(writer.give_up(Vec::new(), &error)),
            }
        });
    }

    /// Does what may take as long as the disk takes, and lets readers know what came of it.
    fn attempt(&mut self, write: impl FnOnce(&mut Self)) {
        self.shared.attempts.begin();
        self.probe_failed = false;
        write(self);
        let trouble = match (self.space, self.probe_failed) {
            (Room::None, _) => Some(WriteState::NoSpace),
            (Room::Enough, true) => Some(WriteState::Failing),
            (Room::Enough, false) => None,
        };
        self.shared.attempts.end(trouble);
        if self.looked.elapsed() >= Duration::from_secs(PROBE_EVERY_S) {
            self.shared.look_at_space(self.options.layer.as_ref());
            self.looked = Stopwatch::start();
        }
    }

    fn close(&mut self) {
        let Some(active) = self.active.take().filter(|_| self.health == Health::Good) else { return };
        let layer = self.options.layer.as_ref();
        if let Err(error) = active.close(layer, self.head.seq.saturating_add(1), self.head.time) {
            tracing::warn!(error = %io_reason(&error), "the ledger could not be marked as closed; the next start will write its end again");
        }
    }

    fn commit(&mut self, batch: Vec<Waiting>, bytes: u64) {
        if self.health == Health::Stopped {
            return answer_all(batch, &AppendError::Failed);
        }
        let Some(batch) = self.with_room(batch, bytes) else { return };
        let (accepted, conflicts) = self.accept(batch);
        self.write(accepted);
        // Told only now, so that whoever decides again finds the state that it conflicted with.
        for (waiting, key) in conflicts {
            waiting.answer(Err(AppendError::Conflict(key)));
        }
    }

    /// What of `batch` there is room for; whatever there is none for has been answered.
    ///
    /// Room comes before sealing: a (key, sequence) pair is spent by sealing, and without room nothing has
    /// been sealed.
    fn with_room(&mut self, batch: Vec<Waiting>, bytes: u64) -> Option<Vec<Waiting>> {
        let Err(error) = self.make_room(bytes) else {
            self.space = Room::Enough;
            return Some(batch);
        };
        if !matches!(error, MakeError::NoSpace) {
            return self.give_up(batch, &error);
        }
        self.space = Room::None;
        let (urgent, usual): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|waiting| waiting.draft.space == Space::Reserve);
        if !usual.is_empty() {
            tracing::error!("the disk has no space for a new ledger segment: appends are refused");
            answer_all(usual, &AppendError::NoSpace);
        }
        if urgent.is_empty() {
            return None;
        }
        let bytes = urgent.iter().fold(0, |sum: usize, waiting| sum.saturating_add(waiting.bytes()));
        match self.make_reserved_room(bytes as u64) {
            Ok(()) => Some(urgent),
            Err(error) => self.give_up(urgent, &error),
        }
    }

    fn give_up(&mut self, batch: Vec<Waiting>, error: &MakeError) -> Option<Vec<Waiting>> {
        let answer = match error {
            MakeError::NoSpace => AppendError::NoSpace,
            MakeError::Failed { doing, source } => {
                self.stop(&format!("cannot {doing}: {}", io_reason(source)));
                AppendError::Failed
            }
            MakeError::Key(error) => {
                self.stop(&error.to_string());
                AppendError::Failed
            }
        };
        answer_all(batch, &answer);
        None
    }

    fn make_room(&mut self, bytes: u64) -> Result<(), MakeError> {
        if self.active.as_ref().is_some_and(|active| !active.is_reserve() && active.has_room(bytes)) {
            return Ok(());
        }
        self.begin_segment(Extent::Usual(bytes))?;
        if !self.shared.has_reserve() {
            self.shared.keep_reserve(&self.options);
        }
        Ok(())
    }

    /// Where the disk has none.
    fn make_reserved_room(&mut self, bytes: u64) -> Result<(), MakeError> {
        if self.active.as_ref().is_some_and(|active| active.has_room(bytes)) {
            return Ok(());
        }
        self.begin_segment(Extent::Reserve)?;
        self.shared.spend_reserve();
        tracing::error!("the disk is full: what takes away is written to the reserve");
        if self.active.as_ref().is_some_and(|active| active.has_room(bytes)) {
            Ok(())
        } else {
            Err(MakeError::NoSpace)
        }
    }

    fn begin_segment(&mut self, extent: Extent) -> Result<(), MakeError> {
        let first_seq = self.head.seq.saturating_add(1);
        let active = Active::make(&self.options, first_seq, None, extent)?;
        self.shared.catalog_mut().add(active.header(), active.keys());
        self.active = Some(active);
        Ok(())
    }

    /// Checks expectations in order, each against the state after the drafts before it.
    fn accept(&mut self, batch: Vec<Waiting>) -> (Vec<Accepted>, Vec<(Waiting, Key)>) {
        let mut time = self.options.clock.now().max(self.head.time);
        let mut seq = self.head.seq;
        let (mut accepted, mut conflicts) = (Vec::with_capacity(batch.len()), Vec::new());
        for waiting in batch {
            let expect = &waiting.draft.expect;
            let broken = expect.iter().find(|expectation| self.generations.is_broken(expectation));
            if let Some(key) = broken.map(|expectation| expectation.key) {
                conflicts.push((waiting, key));
                continue;
            }
            seq = seq.saturating_add(1);
            for key in &waiting.draft.advance {
                self.generations.advance(*key, seq);
            }
            let Waiting { draft, reply } = waiting;
            let Draft { kind, event, delta, .. } = *draft;
            if kind == Kind::CLOCK_ADJUSTED {
                time = self.options.clock.adopt();
            }
            let salt = self.options.entropy.plain_bytes();
            let entry = Entry { seq, time, kind, salt, event, sealed: Vec::new(), said: None };
            accepted.push(Accepted { reply, entry, delta, offset: 0, size: 0 });
        }
        (accepted, conflicts)
    }

    fn write(&mut self, mut accepted: Vec<Accepted>) {
        if accepted.is_empty() {
            return;
        }
        let Some(active) = self.active.as_mut() else { return };
        self.buffer.clear();
        let (seed, keys) = (active.header().checksum_seed(), Arc::clone(active.keys()));
        encode(&mut accepted, &keys, (active.offset(), seed), &mut self.buffer);
        let watch = Stopwatch::start();
        // What a wiped key sealed would never open again.
        let is_forgotten = keys.is_forgotten();
        let appended = if is_forgotten { Ok(()) } else { active.append(&self.buffer) };
        self.shared.syncs.observe(watch.elapsed());
        if is_forgotten {
            self.stop("its keys were wiped");
        } else if let Err(error) = appended {
            self.stop(&format!("cannot write a group commit: {}", io_reason(&error)));
        } else if let Err(why) = self.follow(&accepted) {
            self.stop(&why);
        }
        for Accepted { reply, entry, .. } in accepted {
            let answer = match self.health {
                Health::Good => Ok(Committed::assertion(entry.seq, entry.time)),
                Health::Stopped => Err(AppendError::Failed),
            };
            drop(reply.send(answer));
        }
    }

    /// Lets the state take in what is now durable. Readers are shown it first: an entry that the state names can be
    /// read.
    fn follow(&mut self, accepted: &[Accepted]) -> Result<(), String> {
        for Accepted { entry, delta, .. } in accepted {
            self.follower
                .apply(entry, delta.expose())
                .map_err(|why| format!("entry {} cannot be taken in: {why}", entry.seq))?;
        }
        let mut catalog = self.shared.catalog_mut();
        for Accepted { entry, offset, size, .. } in accepted {
            catalog.note(entry.seq, *offset, *size);
            self.head = Head { seq: entry.seq, time: entry.time };
        }
        drop(catalog);
        self.shared.publish(self.head);
        self.follower.settle();
        Ok(())
    }

    fn stop(&mut self, why: &str) {
        tracing::error!(%why, "the ledger has stopped: nothing is acknowledged until the next start");
        self.health = Health::Stopped;
        self.shared.retire();
    }
}

/// Seals each entry and writes its frame at the end of `buffer`. `start` is where the buffer will
/// stand in the segment, and the segment's checksum seed.
fn encode(accepted: &mut [Accepted], keys: &SegmentKeys, start: (u64, u32), buffer: &mut Vec<u8>) {
    let (segment_offset, seed) = start;
    let batch = accepted.first().map_or(0, |first| first.entry.seq);
    let last = accepted.last().map_or(0, |last| last.entry.seq);
    for Accepted { entry, delta, offset, size, .. } in accepted {
        let mark = if entry.seq == last { Mark::Last } else { Mark::Within };
        let said = said(&entry.salt, &entry.event);
        entry.sealed = keys.seal(&Frame::of(entry, batch, mark), &said, delta.expose());
        entry.said = Some(said);
        let frame = Frame::of(entry, batch, mark);
        *offset = segment_offset.saturating_add(buffer.len() as u64);
        *size = frame.size();
        frame.encode(seed, buffer);
    }
}

fn answer_all(batch: Vec<Waiting>, error: &AppendError) {
    for waiting in batch {
        waiting.answer(Err(error.clone()));
    }
}

struct Retire(Arc<Shared>);

impl Drop for Retire {
    fn drop(&mut self) {
        self.0.retire();
    }
}
