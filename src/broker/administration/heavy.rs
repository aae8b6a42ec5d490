//! Heavy requests of operators: plans, applications, calendars and reports. They run on a few separate threads with a
//! deadline, so that other requests are not delayed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use crate::base::limits::{HEAVY_PER_OPERATOR_MAX, HEAVY_REQUESTS_MAX, HEAVY_THREADS_MAX, HEAVY_WAIT_S};
use crate::base::{Cancellation, Cancelled, OperatorId, code, io_reason};
use crate::broker::failure::Failure;
use crate::quota::{AtCapacity, Concurrency, ConcurrencyPermit};
use crate::telemetry::{Level, LevelGuard, give_way};

/// The threads for heavy requests, and the number of requests.
#[derive(Debug)]
pub struct HeavyWork {
    requests: Arc<Concurrency<OperatorId>>,
    threads: Arc<Semaphore>,
    wait: Duration,
    level: Level,
}

/// A heavy request in progress, until this is dropped and its work has ended.
#[derive(Clone, Debug)]
pub struct HeavyRequest {
    counted: Arc<(ConcurrencyPermit<OperatorId>, LevelGuard)>,
    threads: Arc<Semaphore>,
    wait: Duration,
}

/// The priority of a thread.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Priority {
    /// Lower than threads that answer requests. Not for work under the state's lock, which a waiting thread would hold.
    Low,
    /// That of threads that answer requests.
    Ordinary,
}

impl HeavyWork {
    /// Idle threads; `level` counts the requests.
    #[must_use]
    pub fn new(level: Level) -> Self {
        Self {
            requests: Arc::new(Concurrency::new(HEAVY_PER_OPERATOR_MAX, HEAVY_REQUESTS_MAX)),
            threads: Arc::new(Semaphore::new(HEAVY_THREADS_MAX)),
            wait: Duration::from_secs(HEAVY_WAIT_S),
            level,
        }
    }

    /// Accepts a heavy request of `operator`.
    ///
    /// # Errors
    /// [`Failure`] at the limit of the operator or of all operators.
    pub fn enter(&self, operator: OperatorId) -> Result<HeavyRequest, Failure> {
        let under_way = self.requests.enter(&operator)?;
        let counted = Arc::new((under_way, self.level.enter()));
        Ok(HeavyRequest { counted, threads: Arc::clone(&self.threads), wait: self.wait })
    }
}

impl HeavyRequest {
    /// Runs `work` on a separate thread, when one is free.
    ///
    /// # Errors
    /// The failure of `work`; `HEAVY_TIMEOUT` if the work, including its wait for a thread, takes too long. Then it is
    /// cancelled, and counts until it has ended.
    pub async fn run<T, E>(
        &self,
        priority: Priority,
        work: impl FnOnce(&Cancellation) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Failure> + Send + 'static,
    {
        let cancellation = CancelledOnDrop(Cancellation::new());
        let (cancelled, counted) = (cancellation.0.clone(), Arc::clone(&self.counted));
        let (reply, answer) = oneshot::channel();
        let worked = async {
            let broken = || E::from(Failure::new(code::INTERNAL));
            let thread = Arc::clone(&self.threads).acquire_owned().await.map_err(|_| broken())?;
            let started = std::thread::Builder::new().name("heavy".to_owned()).spawn(move || {
                if priority == Priority::Low {
                    give_way();
                }
                let worked = work(&cancelled);
                drop((thread, counted));
                drop(reply.send(worked));
            });
            if let Err(error) = started {
                tracing::error!(error = %io_reason(&error), "a thread for a heavy request could not be started: check the limit of processes (`TasksMax=`)");
                return Err(broken());
            }
            answer.await.map_err(|_| broken())?
        };
        let timeout = || Err(Failure::new(code::HEAVY_TIMEOUT).into());
        tokio::time::timeout(self.wait, worked).await.unwrap_or_else(|_| timeout())
    }
}

/// The client has disconnected, or the deadline has passed.
struct CancelledOnDrop(Cancellation);

impl Drop for CancelledOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl From<AtCapacity> for Failure {
    fn from(at_capacity: AtCapacity) -> Self {
        match at_capacity {
            AtCapacity::Key(_) => Self::new(code::OPERATOR_TOO_MANY_HEAVY_REQUESTS),
            AtCapacity::All(_) => Self::new(code::TOO_MANY_HEAVY_REQUESTS),
        }
    }
}

impl From<Cancelled> for Failure {
    fn from(_: Cancelled) -> Self {
        Self::new(code::HEAVY_TIMEOUT)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::base::{Clock, SystemClock, SystemEntropy};
    use crate::telemetry::{Alarms, Latency, Meters};

    fn work(wait: Duration) -> HeavyWork {
        HeavyWork { wait, ..HeavyWork::new(level()) }
    }

    fn level() -> Level {
        Meters::new(&Latency::new(), &Alarms::new()).heavy_requests()
    }

    fn operator() -> OperatorId {
        OperatorId::mint(SystemClock::new().now(), &SystemEntropy)
    }

    #[tokio::test]
    async fn heavy_work_is_done_on_a_thread_of_its_own() {
        let heavy = work(Duration::from_secs(60)).enter(operator()).unwrap();
        assert_eq!(HeavyWork::new(level()).wait, Duration::from_secs(HEAVY_WAIT_S));
        let own = std::thread::current().id();
        for priority in [Priority::Low, Priority::Ordinary] {
            let there = heavy.run(priority, |_| Ok::<_, Failure>(std::thread::current().id())).await.unwrap();
            assert_ne!(there, own);
        }
        let failed = heavy.run(Priority::Low, |_| Err::<(), _>(Failure::new(code::ENTRY_TOO_LARGE))).await;
        assert_eq!(failed.unwrap_err().code, code::ENTRY_TOO_LARGE);
        let panicked = heavy.run(Priority::Low, |_| -> Result<(), Failure> { panic!("on purpose") }).await;
        assert_eq!(panicked.unwrap_err().code, code::INTERNAL);
    }

    #[tokio::test]
    async fn heavy_work_beyond_its_deadline_is_cancelled_and_counts_until_it_ends() {
        let (work, operator) = (work(Duration::from_millis(10)), operator());
        let heavy = work.enter(operator).unwrap();
        let (release, released) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let late = heavy.run(Priority::Low, move |work| {
            let _latch = released.recv();
            let _told = tell.send(work.step().is_err());
            Ok::<_, Failure>(())
        });
        assert_eq!(late.await.unwrap_err().code, code::HEAVY_TIMEOUT);
        drop(heavy);
        assert_eq!(work.requests.under_way(), 1, "its thread has not ended");
        drop(release);
        assert!(told.recv().unwrap(), "it was cancelled");
    }

    #[tokio::test]
    async fn heavy_requests_are_admitted_up_to_both_limits_and_wait_for_a_thread() {
        let work = work(Duration::from_millis(10));
        let own = operator();
        let mut under_way: Vec<_> = (0..HEAVY_PER_OPERATOR_MAX).map(|_| work.enter(own).unwrap()).collect();
        assert_eq!(work.enter(own).unwrap_err().code, code::OPERATOR_TOO_MANY_HEAVY_REQUESTS);
        under_way
            .extend((HEAVY_PER_OPERATOR_MAX..HEAVY_REQUESTS_MAX).map(|_| work.enter(operator()).unwrap()));
        assert_eq!(work.enter(operator()).unwrap_err().code, code::TOO_MANY_HEAVY_REQUESTS);

        let all = work.threads.clone().acquire_many_owned(HEAVY_THREADS_MAX as u32).await.unwrap();
        let waited = under_way[0].run(Priority::Low, |_| Ok::<_, Failure>(())).await;
        assert_eq!(waited.unwrap_err().code, code::HEAVY_TIMEOUT);
        drop(all);
        assert!(under_way[0].run(Priority::Low, |_| Ok::<_, Failure>(())).await.is_ok());
    }
}
