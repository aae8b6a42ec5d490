//! PostgreSQL: the primary, what its synchronous standbys hold, and the transaction that has the head row.

use super::rows::{Entry, Rows};

/// How far the transaction that holds the lock of the head row is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Stage {
    /// The node has read, checked and inserted, and has sent COMMIT.
    Sent,
    /// The COMMIT is durable at the primary, which waits for a standby. Others do not see the row yet.
    Waiting,
}

/// The transaction that holds the lock of the head row.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Transaction {
    pub(super) entry: Entry,
    pub(super) stage: Stage,
}

/// The servers.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Database {
    /// Durable at the primary.
    pub(super) rows: Rows,
    /// How many of the rows the most advanced synchronous standby holds.
    pub(super) replicated: u8,
    /// How many rows a standby must hold before the next promotion: what the primary had when it was promoted.
    pub(super) caught_up_at: u8,
    pub(super) head: Option<Transaction>,
    /// What a primary shows that was replaced and does not know it. Only some faults read it.
    pub(super) deposed: Option<Rows>,
}

impl Database {
    /// How many rows the primary shows.
    pub(super) fn visible(&self) -> u8 {
        let hidden = self.head.is_some_and(|head| head.stage == Stage::Waiting);
        self.rows.len() - u8::from(hidden)
    }

    /// Whether a COMMIT that arrives now is acknowledged without more replication: everything before it is held by a
    /// standby.
    pub(super) fn is_replicated(&self) -> bool {
        self.replicated == self.rows.len()
    }

    /// The COMMIT arrives, and is durable at the primary.
    pub(super) fn arrive(&mut self) -> bool {
        let Some(head) = &mut self.head else { return false };
        if head.stage != Stage::Sent {
            return false;
        }
        head.stage = Stage::Waiting;
        self.rows.push(head.entry);
        true
    }

    /// A standby flushes one more row.
    pub(super) fn replicate(&mut self) -> bool {
        let can = !self.is_replicated();
        self.replicated += u8::from(can);
        can
    }

    /// The wait ends, because a standby has the row: it is visible, and the lock is free.
    pub(super) fn finish(&mut self) -> bool {
        let can = self.head.is_some_and(|head| head.stage == Stage::Waiting) && self.is_replicated();
        if can {
            self.head = None;
        }
        can
    }

    /// The primary crashes and starts again, or shuts down in order: it shows rows that no standby holds.
    pub(super) fn restart(&mut self) {
        self.head = None;
    }

    /// Whether a standby can take over without the loss of an acknowledged row.
    pub(super) fn can_promote(&self) -> bool {
        self.replicated >= self.caught_up_at
    }

    /// The most advanced standby takes over. The other standby lacks its last row.
    pub(super) fn promote(&mut self, remembers_deposed: bool) {
        self.deposed = remembers_deposed.then_some(self.rows);
        self.rows = self.rows.first(self.replicated);
        self.caught_up_at = self.replicated;
        self.replicated = self.replicated.saturating_sub(1);
        self.head = None;
    }
}
