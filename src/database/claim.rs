//! The claim of a writer: who may write, and when that is durable.

use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

use super::checks::{NOT_REPLICATED, is_replicated};
use super::fault::DatabaseFault;
use super::head::{EntryMark, HeadRow};
use super::log_use::{Claimant, HeadState, LogUse};
use super::session::{CommitOutcome, Session};
use super::target::DatabaseTarget;
use super::trouble::Trouble;
use crate::base::LedgerId;
use crate::config::Replication;
use crate::ledger::Closing;

/// What this writer is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) ledger: LedgerId,
    /// The salt of the writer session.
    pub(super) writer: [u8; 32],
    /// What the log is opened for.
    pub(super) purpose: LogUse,
    /// The data directory that it is opened from.
    pub(super) claimant: Claimant,
}

/// Names all writers of a ledger that is shared. The salt of a writer session is random, and never this.
const SHARED: [u8; 32] = [0xFF; 32];

impl Claim {
    /// Whether others write too.
    pub(super) fn is_shared(&self) -> bool {
        self.purpose == LogUse::Share
    }

    /// What the head row names while this writer may write.
    pub(super) fn mark(&self) -> [u8; 32] {
        if self.is_shared() { SHARED } else { self.writer }
    }

    /// Whether the ledger with this head may be claimed so: it has either one writer at a time, or shares.
    pub(super) fn check_sharing(&self, head: &HeadRow) -> Result<(), DatabaseFault> {
        let unusable = |why: &str| Err(DatabaseFault::Unusable(why.to_owned()));
        let is_shared = head.newest.seq > 0 && head.writer == Some(SHARED);
        if self.is_shared() && !is_shared && head.newest.seq > 0 {
            return unusable("the ledger in the database belongs to one broker");
        }
        if is_shared && !self.is_shared() && self.purpose != LogUse::Look {
            return unusable("several brokers write to the ledger in the database");
        }
        Ok(())
    }

    /// Refuses a head that is not the continuation of `seen`, the newest entry that this writer knows of, or that it may
    /// not move.
    pub(super) fn check_head(
        &self,
        head: &HeadRow,
        seen: EntryMark,
        replication: Replication,
    ) -> Result<(), Trouble> {
        let stop = |why: &str| Err(Trouble::Stop(why.to_owned()));
        if head.ledger.is_some_and(|ledger| ledger != self.ledger) {
            return stop("the database holds the ledger of another broker");
        }
        if head.newest.seq < seen.seq || (head.newest.seq == seen.seq && head.newest != seen) {
            return Err(Trouble::Lost(format!(
                "the ledger in the database ends at entry {}, and does not continue entry {}, which the broker has \
                 acknowledged: entries are lost",
                head.newest.seq, seen.seq
            )));
        }
        if head.writer != Some(self.mark()) {
            return stop(ANOTHER_WRITER);
        }
        if !is_replicated(&head.standbys, replication) {
            return Err(Trouble::Again(DatabaseFault::Unusable(NOT_REPLICATED.to_owned())));
        }
        Ok(())
    }
}

/// Why a writer stops that was replaced.
pub(super) const ANOTHER_WRITER: &str = "another broker has taken over the ledger in the database";

/// The result of a claim.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ClaimOutcome {
    /// This writer may write.
    Claimed,
    /// The entries can be read; the database was not changed.
    ReadOnly,
}

/// Longest wait until the standbys have a claim, or the end of a move.
const CONFIRMED: Duration = Duration::from_secs(60);
/// After so long, that wait is told.
const CONFIRMED_SLOWLY: Duration = Duration::from_secs(3);

/// The state while `claim` lasts, at a head that it may continue.
pub(super) fn state_for(claim: Claim, head: &HeadRow) -> Result<HeadState, DatabaseFault> {
    // An interrupted `keyward init` has left nothing but its id.
    if head.newest.seq > 0 && head.ledger.is_some_and(|ledger| ledger != claim.ledger) {
        return Err(DatabaseFault::Unusable("the database holds the ledger of another broker".to_owned()));
    }
    let state = claim.purpose.begins_with(head.state, head.newest.seq);
    state.map_err(|why| DatabaseFault::Unusable(why.to_owned()))
}

/// Commits a claim, or the end of a move. What was written before is durable then, at the standbys too.
pub(super) async fn confirm(
    session: &mut Session,
    target: &DatabaseTarget,
    closing: &Closing,
) -> Result<(), DatabaseFault> {
    let mut commit = pin!(session.commit(target, closing));
    let mut committed = timeout(CONFIRMED_SLOWLY, commit.as_mut()).await;
    if committed.is_err() {
        tracing::warn!("the ledger waits until a synchronous standby of the database has its newest change");
        committed = timeout(CONFIRMED, commit).await;
    }
    match committed {
        Ok(CommitOutcome::Committed) => Ok(()),
        Ok(CommitOutcome::Unknown) => Err(DatabaseFault::Lost),
        Err(_) => Err(DatabaseFault::Unusable(format!(
            "no synchronous standby has confirmed the newest change of the ledger within {} s: start a standby that \
             `synchronous_standby_names` names, and repeat the command",
            CONFIRMED.as_secs()
        ))),
    }
}
