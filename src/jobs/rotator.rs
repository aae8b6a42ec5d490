use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::base::SecretName;
use crate::base::limits::{ROTATIONS_AT_ONCE_MAX, ROTATIONS_BEGUN_MAX};
use crate::broker::{Core, Pace};

/// How often it looks whether something is due.
const LOOK: Duration = Duration::from_secs(5);
/// How soon it looks again when something has changed.
const SOON: Duration = Duration::from_millis(100);

/// Carries rotations on: those under way, those that are due, and the daily look at whether what is
/// handed out still works. Each secret by one task at a time; a few at once.
#[derive(Debug)]
pub struct Rotator {
    core: Arc<Core>,
    busy: Mutex<BTreeSet<SecretName>>,
    room: Arc<Semaphore>,
}

impl Rotator {
    /// Looks after the rotations of `core`.
    #[must_use]
    pub fn new(core: Arc<Core>) -> Self {
        let room = Arc::new(Semaphore::new(ROTATIONS_AT_ONCE_MAX));
        Self { core, busy: Mutex::default(), room }
    }

    /// Works until `stop` turns true, and until what is under way has come to a point where it can be
    /// left.
    pub async fn work(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut changed = self.core.rotations.subscribe();
        let mut tasks = JoinSet::new();
        loop {
            self.begin_due(&mut tasks);
            let stopping = tokio::select! {
                () = tokio::time::sleep(LOOK) => false,
                told = changed.changed() => told.is_err(),
                Some(_) = tasks.join_next() => false,
                _ = stop.wait_for(|stop| *stop) => true,
            };
            if stopping {
                break;
            }
            // What comes in a crowd is looked at together.
            tokio::time::sleep(SOON).await;
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Does everything that is due now, as far as it goes now.
    pub async fn look(self: &Arc<Self>) {
        let mut tasks = JoinSet::new();
        self.begin_due(&mut tasks);
        while tasks.join_next().await.is_some() {}
    }

    /// Starts a task for everything that is due and has none yet. Of what begins by schedule only so
    /// many at a time: after a long stop they come spread out.
    fn begin_due(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        let mut fresh = 0_usize;
        for (secret, pace) in self.core.rotations_due() {
            if pace == Pace::Rest {
                if fresh >= ROTATIONS_BEGUN_MAX {
                    continue;
                }
                fresh = fresh.saturating_add(1);
            }
            self.take_up(tasks, secret, Job::CarryOn);
        }
        for secret in self.core.drift_checks_due().into_iter().take(ROTATIONS_BEGUN_MAX) {
            self.take_up(tasks, secret, Job::CheckDrift);
        }
    }

    fn take_up(self: &Arc<Self>, tasks: &mut JoinSet<()>, secret: SecretName, job: Job) {
        if !self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(secret.clone()) {
            return;
        }
        let (rotator, room) = (Arc::clone(self), Arc::clone(&self.room));
        tasks.spawn(async move {
            let free = Free { rotator: &rotator, secret: &secret };
            if let Ok(_place) = room.acquire().await {
                rotator.go(&secret, job).await;
            }
            drop(free);
        });
    }

    /// Step after step, until it has to wait. What the broker itself could not do is told, and done at
    /// a later look.
    async fn go(&self, secret: &SecretName, job: Job) {
        let done = match job {
            Job::CheckDrift => self.core.check_drift(secret).await,
            Job::CarryOn => loop {
                match self.core.carry_on(secret).await {
                    Ok(Pace::On) => {}
                    Ok(Pace::Rest) => break Ok(()),
                    Err(failure) => break Err(failure),
                }
            },
        };
        if let Err(failure) = done {
            tracing::error!(%secret, ?failure, "a rotation could not be carried on");
            // Whatever the reason, the ledger is not asked again without a pause.
            tokio::time::sleep(SOON).await;
        }
    }
}

#[derive(Clone, Copy)]
enum Job {
    CarryOn,
    CheckDrift,
}

/// Gives the secret free again, also when its task panics.
struct Free<'a> {
    rotator: &'a Rotator,
    secret: &'a SecretName,
}

impl Drop for Free<'_> {
    fn drop(&mut self) {
        self.rotator.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(self.secret);
    }
}
