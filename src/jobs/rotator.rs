use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::base::SecretName;
use crate::base::limits::{ROTATIONS_AT_ONCE_MAX, ROTATIONS_BEGUN_MAX};
use crate::broker::{Progress, Services};

/// Interval of checks for due work.
const LOOK: Duration = Duration::from_secs(5);
/// The period in which at most `ROTATIONS_BEGUN_MAX` rotations begin by schedule.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);
/// Delay of a check after a change.
const SOON: Duration = Duration::from_millis(100);

/// Runs rotations: those in progress, those that are due, and the daily check of current values. One task per secret, and
/// a limited number of tasks.
#[derive(Debug)]
pub struct Rotator {
    services: Arc<Services>,
    /// The secrets with a task.
    busy: watch::Sender<BTreeSet<SecretName>>,
    room: Arc<Semaphore>,
    begun: Mutex<Begun>,
    /// Set when the broker stops: the next start continues rotations in progress.
    stopping: AtomicBool,
}

/// The number of rotations begun by schedule since a moment of the monotonic clock.
#[derive(Debug, Default)]
struct Begun {
    since: Option<Duration>,
    count: usize,
}

impl Begun {
    /// Counts a rotation at `now`, and returns whether it may begin: at most `ROTATIONS_BEGUN_MAX` do within `BEGIN_WITHIN`,
    /// so that overdue rotations are spread after a long stop.
    fn one_more(&mut self, now: Duration) -> bool {
        if self.since.is_none_or(|since| now.saturating_sub(since) >= BEGIN_WITHIN) {
            *self = Self { since: Some(now), count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= ROTATIONS_BEGUN_MAX
    }
}

impl Rotator {
    /// Looks after the rotations of `services`.
    #[must_use]
    pub fn new(services: Arc<Services>) -> Self {
        let room = Arc::new(Semaphore::new(ROTATIONS_AT_ONCE_MAX));
        let begun = Mutex::default();
        Self { services, busy: watch::Sender::default(), room, begun, stopping: AtomicBool::new(false) }
    }

    /// Works until `stop` is true and no step is in progress.
    pub async fn work(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut changed = self.services.notifications.rotations.subscribe();
        let mut tasks = JoinSet::new();
        loop {
            self.begin_due(&mut tasks);
            let stopping = tokio::select! {
                () = tokio::time::sleep(LOOK) => false,
                result = changed.changed() => result.is_err(),
                Some(_) = tasks.join_next() => false,
                _ = stop.wait_for(|stop| *stop) => true,
            };
            if stopping {
                self.stopping.store(true, Ordering::Release);
                break;
            }
            // Changes in quick succession are handled together.
            tokio::time::sleep(SOON).await;
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Does all due work, and waits until no step is in progress.
    pub async fn look(self: &Arc<Self>) {
        let mut tasks = JoinSet::new();
        // The second pass finds what other tasks held during the first one.
        for _ in 0..2 {
            self.begin_due(&mut tasks);
            while tasks.join_next().await.is_some() {}
            drop(self.busy.subscribe().wait_for(BTreeSet::is_empty).await);
        }
    }

    /// Starts a task for each due rotation without one.
    fn begin_due(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        let clocks_agree = self.services.clocks_agree();
        let now = self.services.state.clock.elapsed();
        // The lock is held throughout, and the tasks are noted before the rotations are listed: a rotation
        // that begins meanwhile is in `busy` or no longer due, so none is counted as begun twice.
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = self.busy.borrow().clone();
        for (secret, pace) in self.services.rotations_due() {
            if busy.contains(&secret) {
                continue;
            }
            if pace == Progress::Continue || (clocks_agree && begun.one_more(now)) {
                self.take_up(tasks, secret, Job::CarryOn);
            }
        }
        drop(begun);
        if !clocks_agree {
            return;
        }
        for secret in self.services.drift_checks_due().into_iter().take(ROTATIONS_BEGUN_MAX) {
            self.take_up(tasks, secret, Job::CheckDrift);
        }
    }

    fn take_up(self: &Arc<Self>, tasks: &mut JoinSet<()>, secret: SecretName, job: Job) {
        if !self.busy.send_if_modified(|busy| busy.insert(secret.clone())) {
            return;
        }
        let (rotator, room) = (Arc::clone(self), Arc::clone(&self.room));
        tasks.spawn(async move {
            let free = BusySecret { rotator: &rotator, secret: &secret };
            if let Ok(_place) = room.acquire().await {
                rotator.go(&secret, job).await;
            }
            drop(free);
        });
    }

    /// Runs steps until the rotation has to wait. A fault of the broker is logged, and the step is retried later.
    async fn go(&self, secret: &SecretName, job: Job) {
        let done = match job {
            Job::CheckDrift => self.services.check_drift(secret).await,
            Job::CarryOn => loop {
                match self.services.advance_rotation(secret).await {
                    Ok(Progress::Continue) if !self.stopping.load(Ordering::Acquire) => {}
                    Ok(Progress::Continue | Progress::Wait) => break Ok(()),
                    Err(failure) => break Err(failure),
                }
            },
        };
        if let Err(failure) = done {
            tracing::error!(%secret, ?failure, "a step of a rotation failed in the broker");
            // After any failure the next attempt comes after a pause.
            tokio::time::sleep(SOON).await;
        }
    }
}

#[derive(Clone, Copy)]
enum Job {
    CarryOn,
    CheckDrift,
}

/// Releases the secret, also after a panic of its task.
struct BusySecret<'a> {
    rotator: &'a Rotator,
    secret: &'a SecretName,
}

impl Drop for BusySecret<'_> {
    fn drop(&mut self) {
        self.rotator.busy.send_modify(|busy| drop(busy.take(self.secret)));
    }
}
