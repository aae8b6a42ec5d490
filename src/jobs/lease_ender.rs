use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::base::LeaseId;
use crate::base::limits::{LEASE_SWEEP_S, LEASES_ENDED_AT_ONCE_MAX, LEASES_ENDED_PER_PLACE_MAX};
use crate::broker::Services;

/// Interval of checks for due work.
const LOOK: Duration = Duration::from_secs(5);
/// Delay of a check after a change.
const SOON: Duration = Duration::from_millis(50);

/// Revokes expired leases, and leases whose holders lost the right to them. One task per lease, and a limited number per
/// upstream, so that a server that hangs does not delay others.
#[derive(Debug)]
pub struct LeaseEnder {
    services: Arc<Services>,
    /// The leases with a task, and their upstreams.
    busy: Mutex<BTreeMap<LeaseId, String>>,
    /// The time of the last search of upstreams, in seconds of the boot clock; 0 before the first one.
    swept_at_s: AtomicI64,
    /// Held during a search of upstreams.
    sweeping: Arc<tokio::sync::Mutex<()>>,
}

impl LeaseEnder {
    /// Looks after the leases of `services`.
    #[must_use]
    pub fn new(services: Arc<Services>) -> Self {
        Self { services, busy: Mutex::default(), swept_at_s: AtomicI64::new(0), sweeping: Arc::default() }
    }

    /// Works until `stop` is true and no revocation is in progress.
    pub async fn work(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut changed = self.services.notifications.leases.subscribe();
        let mut revocations = self.services.notifications.revocations.subscribe();
        revocations.mark_changed();
        let (mut tasks, mut is_unfinished) = (JoinSet::new(), false);
        loop {
            if is_unfinished || revocations.has_changed().unwrap_or(false) {
                revocations.mark_unchanged();
                is_unfinished = !self.revoke_ineligible().await;
            }
            self.begin_due(&mut tasks);
            self.begin_sweep(&mut tasks);
            let stopping = tokio::select! {
                () = tokio::time::sleep(LOOK) => false,
                result = changed.changed() => result.is_err(),
                _ = revocations.changed() => { revocations.mark_changed(); false }
                Some(_) = tasks.join_next() => false,
                _ = stop.wait_for(|stop| *stop) => true,
            };
            if stopping {
                break;
            }
            // Changes in quick succession are handled together.
            tokio::time::sleep(SOON).await;
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Does all due work, and waits for a search in progress.
    pub async fn look(self: &Arc<Self>) {
        self.revoke_ineligible().await;
        let mut tasks = JoinSet::new();
        self.begin_sweep(&mut tasks);
        loop {
            self.begin_due(&mut tasks);
            if tasks.join_next().await.is_none() && self.busy().is_empty() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(self.sweeping.lock().await);
    }

    /// Marks the leases of agents that lost the right to them as being revoked.
    async fn revoke_ineligible(&self) -> bool {
        let ended = self.services.revoke_ineligible_leases().await;
        if let Err(failure) = &ended {
            tracing::error!(
                ?failure,
                "the leases of revoked agents could not be revoked: the broker tries again in seconds"
            );
        }
        ended.is_ok()
    }

    /// Starts a task for each due lease without one, within the limits.
    fn begin_due(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        if !self.services.state.store.is_writable() {
            // The ledger cannot record: until a restart no password can be opened.
            return;
        }
        for (lease, place) in self.services.leases_due() {
            let mut busy = self.busy();
            if !has_room(&busy, &place) || busy.contains_key(&lease) {
                continue;
            }
            busy.insert(lease, place);
            let free = BusyLease { ender: Arc::clone(self), lease };
            tasks.spawn(async move {
                if let Err(failure) = free.ender.services.revoke_login(lease).await {
                    tracing::error!(%lease, ?failure, "a lease could not be revoked");
                    // After any failure the next attempt comes after a pause.
                    tokio::time::sleep(SOON).await;
                }
                drop(free);
            });
        }
    }

    /// Searches the upstreams at the start and then at intervals.
    fn begin_sweep(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        // Never 0, which means `not yet`.
        let now = i64::try_from(self.services.state.clock.elapsed().as_secs())
            .unwrap_or(i64::MAX)
            .saturating_add(1);
        let last = self.swept_at_s.load(Ordering::Acquire);
        if last != 0 && now.saturating_sub(last) < LEASE_SWEEP_S {
            return;
        }
        let Ok(sweeping) = Arc::clone(&self.sweeping).try_lock_owned() else { return };
        self.swept_at_s.store(now, Ordering::Release);
        let ender = Arc::clone(self);
        tasks.spawn(async move {
            let _sweeping = sweeping;
            if let Err(failure) = ender.services.remove_stray_logins().await {
                tracing::error!(?failure, "the upstreams could not be searched for unknown logins");
            }
        });
    }

    fn busy(&self) -> MutexGuard<'_, BTreeMap<LeaseId, String>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether one more lease may be revoked at `place`.
fn has_room(busy: &BTreeMap<LeaseId, String>, place: &str) -> bool {
    let here = busy.values().filter(|other| *other == place).count();
    busy.len() < LEASES_ENDED_AT_ONCE_MAX && here < LEASES_ENDED_PER_PLACE_MAX
}

/// Releases the lease, also after a panic of its task.
struct BusyLease {
    ender: Arc<LeaseEnder>,
    lease: LeaseId,
}

impl Drop for BusyLease {
    fn drop(&mut self) {
        self.ender.busy().remove(&self.lease);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SystemEntropy, Timestamp};

    fn busy(places: impl Iterator<Item = usize>) -> BTreeMap<LeaseId, String> {
        let lease = || LeaseId::mint(Timestamp::from_s(1_800_000_000), &SystemEntropy);
        places.map(|place| (lease(), place.to_string())).collect()
    }

    #[test]
    fn so_many_are_ended_at_one_place_and_so_many_in_all() {
        let here = |count: usize| busy(std::iter::repeat_n(7, count));
        assert!(has_room(&here(LEASES_ENDED_PER_PLACE_MAX - 1), "7"));
        assert!(!has_room(&here(LEASES_ENDED_PER_PLACE_MAX), "7"));
        assert!(has_room(&here(LEASES_ENDED_PER_PLACE_MAX), "8"), "it holds up no other place");
        assert!(has_room(&busy(0..LEASES_ENDED_AT_ONCE_MAX - 1), "elsewhere"));
        assert!(!has_room(&busy(0..LEASES_ENDED_AT_ONCE_MAX), "elsewhere"));
    }
}
