use std::fmt;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use tokio::runtime::{self, Handle, Runtime, RuntimeFlavor};
use tokio::task::block_in_place;

/// A thread with a connection, and the runtime that drives it. A caller can be in a task of another runtime, in which
/// no second one may run; so each question is a job of the thread.
pub(super) struct Worker<S> {
    jobs: Option<SyncSender<Job<S>>>,
    thread: Option<JoinHandle<()>>,
}

type Job<S> = Box<dyn FnOnce(&Runtime, &mut S) + Send>;

impl<S: Send + 'static> Worker<S> {
    /// Starts the thread `name`, which owns `state`.
    pub(super) fn start(name: &str, mut state: S) -> io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job<S>>(1);
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let run = move || queue.into_iter().for_each(|job| job(&runtime, &mut state));
        let thread = Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// The result of `job`; `None` if the thread has panicked.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Runtime, &mut S) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = sync_channel(1);
        let job: Job<S> = Box::new(move |runtime, state| drop(reply.send(job(runtime, state))));
        let jobs = self.jobs.as_ref()?;
        let wait = move || {
            jobs.send(job).ok()?;
            answer.recv().ok()
        };
        // Other tasks of the thread are moved to another one meanwhile.
        let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
        if matches!(flavor, Ok(RuntimeFlavor::MultiThread)) { block_in_place(wait) } else { wait() }
    }
}

impl<S> Drop for Worker<S> {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a thread of the ledger's database has panicked");
        }
    }
}

impl<S> fmt::Debug for Worker<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Worker")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_runs_on_the_thread_and_a_panic_is_an_absent_answer() {
        let worker = Worker::start("a-test", 1_u32).unwrap();
        assert_eq!(worker.ask(|_, count| std::mem::replace(count, 2)), Some(1));
        assert_eq!(worker.ask(|_, count| *count), Some(2));
        assert_eq!(worker.ask(|_, _| -> u32 { panic!("a job that panics") }), None);
        assert_eq!(worker.ask(|_, count| *count), None);
    }
}
