//! How a broker appends: decide, take the head, check again, commit; and find out what became of a COMMIT.

use super::database::{Stage, Transaction};
use super::fault::Fault;
use super::node::Job;
use super::rows::{Batch, Entry, Kind, Rows};
use super::state::{Cluster, State};

/// The outcome of a look-up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Found {
    There,
    Never,
}

impl Found {
    fn of(shown: &Rows, batch: Batch) -> Self {
        if shown.through(batch).is_some() { Self::There } else { Self::Never }
    }
}

impl Cluster {
    /// A client asks; the node decides on its own state, which may be old.
    pub(super) fn decide(&self, s: &mut State, n: usize, kind: Kind) -> bool {
        let node = &mut s.nodes[n];
        let left = s.left.requests(kind);
        if node.job != Job::Idle || *left == 0 || node.log.forbids(kind) {
            return false;
        }
        *left -= 1;
        node.job = Job::Decided(kind);
        true
    }

    /// The node takes the head row, reads what others have committed, checks its decision again, seals, inserts and
    /// sends COMMIT. This is one step, because nothing comes in between while the node has the head row. If the session
    /// breaks in between, the COMMIT does not arrive.
    pub(super) fn send(&self, s: &mut State, n: usize) -> bool {
        let Job::Decided(kind) = s.nodes[n].job else { return false };
        if s.database.head.is_some() {
            return false;
        }
        if s.database.rows.forbids(kind) && !self.has(Fault::RecheckSkipped) {
            s.nodes[n].job = Job::Idle;
            return true;
        }
        if s.last_batch == self.batches {
            return false;
        }
        s.last_batch += 1;
        let after = s.database.rows.last().map_or(0, |row| row.batch);
        let entry = Entry { kind, batch: s.last_batch, after };
        s.database.head = Some(Transaction { entry, stage: Stage::Sent });
        s.nodes[n].job = Job::Sent(kind, entry.batch);
        true
    }

    /// The answer to COMMIT reaches the node.
    pub(super) fn acknowledge(&self, s: &mut State, n: usize) -> bool {
        let Job::Sent(kind, batch) = s.nodes[n].job else { return false };
        if s.database.head.is_some_and(|head| head.entry.batch == batch) {
            return false;
        }
        self.settle(s, n, kind, batch);
        true
    }

    /// The node has applied its entry and all before it, and tells the client.
    fn settle(&self, s: &mut State, n: usize, kind: Kind, batch: Batch) {
        s.seen.acknowledged.add(batch);
        let node = &mut s.nodes[n];
        let through = s.database.rows.through(batch);
        if let Some(through) = through.filter(|through| node.log.len() < *through) {
            node.log = s.database.rows.first(through);
        }
        node.job = if kind == Kind::Revoke && self.has_time { Job::Returning } else { Job::Idle };
    }

    /// The connection of the node breaks. The server may notice before or after it gets the COMMIT.
    pub(super) fn cut(&self, s: &mut State, n: usize) -> bool {
        if s.left.cuts == 0 || !matches!(s.nodes[n].job, Job::Sent(..)) {
            return false;
        }
        s.left.cuts -= 1;
        s.nodes[n].lose_sessions();
        true
    }

    /// What a look-up of the batch finds at the primary, if it ends now. It takes the head row, so no COMMIT of this
    /// batch is under way; it writes and commits, so a standby holds what it has seen.
    pub(super) fn found(&self, s: &State, batch: Batch) -> Option<Found> {
        let is_locked = s.database.head.is_some() && !self.has(Fault::LookUpWithoutLock);
        let is_proved = s.database.is_replicated() || self.has(Fault::LookUpOnlyReads);
        if is_locked || !is_proved {
            return None;
        }
        let shown = s.database.rows.first(s.database.visible());
        Some(Found::of(&shown, batch))
    }

    /// The node looks up the batch.
    pub(super) fn look_up(&self, s: &mut State, n: usize) -> bool {
        let Job::Unknown(_, batch) = s.nodes[n].job else { return false };
        self.found(s, batch).is_some_and(|found| self.conclude(s, n, found))
    }

    /// The node looks up the batch at a primary that was replaced, which cannot commit.
    pub(super) fn look_up_at_deposed(&self, s: &mut State, n: usize) -> bool {
        let Job::Unknown(_, batch) = s.nodes[n].job else { return false };
        let deposed = s.database.deposed.filter(|_| self.has(Fault::LookUpOnlyReads));
        deposed.is_some_and(|shown| self.conclude(s, n, Found::of(&shown, batch)))
    }

    /// A batch that is there is acknowledged. One that never will be is decided again, and sealed anew.
    fn conclude(&self, s: &mut State, n: usize, found: Found) -> bool {
        let Job::Unknown(kind, batch) = s.nodes[n].job else { return false };
        match found {
            Found::There => self.settle(s, n, kind, batch),
            Found::Never => {
                s.seen.absent.add(batch);
                s.nodes[n].job = Job::Decided(kind);
            }
        }
        true
    }

    /// The node guesses an unknown outcome. Only faulty nodes do.
    pub(super) fn guess(&self, s: &mut State, n: usize) -> bool {
        if self.has(Fault::UnknownIsCommitted) {
            return self.conclude(s, n, Found::There);
        }
        self.has(Fault::UnknownIsAbsent) && self.conclude(s, n, Found::Never)
    }

    /// The wait of a COMMIT is cancelled. PostgreSQL answers with success and a warning. Only faulty nodes cancel.
    pub(super) fn cancel(&self, s: &mut State, n: usize) -> bool {
        let Job::Sent(kind, batch) = s.nodes[n].job else { return false };
        let waits = |head: Transaction| head.stage == Stage::Waiting && head.entry.batch == batch;
        let can = self.has(Fault::WaitCancelled) && s.database.head.is_some_and(waits);
        if can {
            s.database.head = None;
            self.settle(s, n, kind, batch);
        }
        can
    }
}
