//! A broker.

use super::rows::{Batch, Kind, Rows};

/// How many ticks a freshness window may last: one by the node's own clock, and one because this clock may be slow.
pub(super) const WINDOW: u8 = 2;

/// What the node is doing about one request of a client.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Job {
    #[default]
    Idle,
    /// The state of the node allows it. Nothing was sent.
    Decided(Kind),
    /// The node has taken the head row and has sent COMMIT, and waits for the answer for as long as it takes.
    Sent(Kind, Batch),
    /// The connection broke before the answer came.
    Unknown(Kind, Batch),
    /// The revocation is committed; `revoke` has not returned.
    Returning,
}

/// A renewal of the freshness window. `left` is in ticks, counted from before it was sent.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Renewal {
    #[default]
    None,
    Sent {
        left: u8,
    },
    /// The primary has carried it out, and showed `head` rows then.
    Served {
        left: u8,
        head: u8,
    },
}

/// A broker.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Node {
    /// The entries that it has applied.
    pub(super) log: Rows,
    /// The ticks until its freshness window ends; 0 if it has none.
    pub(super) window: u8,
    pub(super) renewal: Renewal,
    pub(super) job: Job,
    /// A check of the credential began after `revoke` had returned, and has passed its first half.
    pub(super) is_checking: bool,
    /// Its freshness row, in the database, says that it has applied the revocation.
    pub(super) has_confirmed: bool,
}

impl Node {
    /// Whether its state says that the credential is revoked.
    pub(super) fn knows_revoked(&self) -> bool {
        self.log.through_kind(Kind::Revoke).is_some()
    }

    /// All its sessions at the primary end.
    pub(super) fn lose_sessions(&mut self) {
        self.job = match self.job {
            Job::Sent(kind, batch) => Job::Unknown(kind, batch),
            other @ (Job::Idle | Job::Decided(_) | Job::Unknown(..) | Job::Returning) => other,
        };
    }

    /// It ends, and starts again with nothing but what is in the database.
    pub(super) fn crash(&mut self) {
        *self = Self { has_confirmed: self.has_confirmed, ..Self::default() };
    }

    /// One tick of its clock. A renewal that can no longer give a window is forgotten, unless `keeps_renewal`.
    pub(super) fn tick(&mut self, keeps_renewal: bool) {
        self.window = self.window.saturating_sub(1);
        let (Renewal::Sent { left } | Renewal::Served { left, .. }) = &mut self.renewal else { return };
        *left = left.saturating_sub(1);
        if *left == 0 && !keeps_renewal {
            self.renewal = Renewal::None;
        }
    }
}
