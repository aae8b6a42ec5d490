use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, Semaphore, SemaphorePermit, watch};

use crate::base::limits::{APPROVAL_WAITERS_MAX, DEVICE_POLL_S};
use crate::base::{AgentId, ApprovalId, code};
use crate::broker::failure::Failure;
use crate::broker::keyed_locks::KeyedLocks;

/// The turns of changes of approvals, the requests that wait for a vote, and the last polls of device codes.
#[derive(Debug)]
pub(crate) struct ApprovalTurns {
    /// One opening at a time for each agent, so that identical requests are grouped and counted correctly.
    opening: KeyedLocks<AgentId>,
    /// One use or vote at a time, so that no use is lost to conflicts.
    using: KeyedLocks<ApprovalId>,
    changes: watch::Sender<u64>,
    waiters: Semaphore,
    /// By [`crate::base::Clock::elapsed`].
    polls: Mutex<BTreeMap<ApprovalId, Duration>>,
}

impl Default for ApprovalTurns {
    fn default() -> Self {
        Self {
            opening: KeyedLocks::default(),
            using: KeyedLocks::default(),
            changes: watch::channel(0).0,
            waiters: Semaphore::new(APPROVAL_WAITERS_MAX),
            polls: Mutex::default(),
        }
    }
}

impl ApprovalTurns {
    /// The turn to open approvals of this agent.
    pub(super) async fn opening(&self, agent: AgentId) -> OwnedMutexGuard<()> {
        self.opening.lock(agent).await
    }

    /// The turn to use this approval, or to vote on it.
    pub(crate) async fn using(&self, approval: ApprovalId) -> OwnedMutexGuard<()> {
        self.using.lock(approval).await
    }

    /// Notifies the requests that wait that an approval has changed.
    pub(super) fn changed(&self) {
        self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A place to wait; `None` if all are taken.
    pub(super) fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.waiters.try_acquire().ok()
    }

    /// Notes a poll of a device code at `now`.
    ///
    /// # Errors
    /// `device_poll_too_fast` if the last one was less than [`DEVICE_POLL_S`] seconds ago.
    pub(super) fn poll(&self, approval: ApprovalId, now: Duration) -> Result<(), Failure> {
        let pause = Duration::from_secs(DEVICE_POLL_S.into());
        let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        polls.retain(|_, last| now.saturating_sub(*last) < pause);
        match polls.insert(approval, now) {
            Some(_) => Err(Failure::new(code::DEVICE_POLL_TOO_FAST).of_approval(approval)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SystemEntropy, Timestamp};

    #[test]
    fn a_device_code_is_polled_every_five_seconds() {
        let turns = ApprovalTurns::default();
        let id = ApprovalId::mint(Timestamp::from_s(1), &SystemEntropy);
        let poll = |ms| turns.poll(id, Duration::from_millis(ms)).map_err(|failure| failure.code);
        let pause_ms = u64::from(DEVICE_POLL_S) * 1000;
        assert_eq!(poll(1000), Ok(()));
        assert_eq!(poll(1000 + pause_ms - 1), Err(code::DEVICE_POLL_TOO_FAST));
        assert_eq!(poll(1000 + 2 * pause_ms - 1), Ok(()), "the pause begins with each poll");
        let other = ApprovalId::mint(Timestamp::from_s(2), &SystemEntropy);
        assert!(turns.poll(other, Duration::from_millis(1000)).is_ok());
    }

    #[test]
    fn so_many_requests_wait_at_the_same_time() {
        let turns = ApprovalTurns::default();
        let mut places: Vec<_> = (0..APPROVAL_WAITERS_MAX).map(|_| turns.place().unwrap()).collect();
        assert!(turns.place().is_none());
        places.pop();
        assert!(turns.place().is_some());
    }
}
