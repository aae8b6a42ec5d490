use std::fmt;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use super::failures::start_failed;
use crate::base::limits::{ADMIN_THREADS, JOB_THREADS};
use crate::console::CommandFailure;

/// The runtimes of a broker: agents, operators and jobs have separate threads, so that load on one does not delay the
/// others. The runtime that started the broker serves only the host socket and signals.
#[derive(Debug)]
pub(super) struct Runtimes {
    /// The agents' listener: as many threads as there are processors.
    pub(super) agents: BackgroundRuntime,
    /// The operators' listener, with health and revocation.
    pub(super) admins: BackgroundRuntime,
    /// Jobs and upkeep.
    pub(super) jobs: BackgroundRuntime,
}

/// A runtime that ends without waiting for its threads.
pub(super) struct BackgroundRuntime(Option<Runtime>, Handle);

impl Runtimes {
    /// Starts all of them.
    pub(super) fn start() -> Result<Self, CommandFailure> {
        Ok(Self {
            agents: BackgroundRuntime::start("agents", None)?,
            admins: BackgroundRuntime::start("admins", Some(ADMIN_THREADS))?,
            jobs: BackgroundRuntime::start("jobs", Some(JOB_THREADS))?,
        })
    }
}

impl BackgroundRuntime {
    fn start(name: &str, threads: Option<usize>) -> Result<Self, CommandFailure> {
        let mut builder = Builder::new_multi_thread();
        if let Some(threads) = threads {
            builder.worker_threads(threads);
        }
        let runtime = builder.thread_name(name).enable_all().build().map_err(|error| start_failed(&error))?;
        let handle = runtime.handle().clone();
        Ok(Self(Some(runtime), handle))
    }

    /// The handle of this runtime.
    pub(super) const fn handle(&self) -> &Handle {
        &self.1
    }

    /// Starts a task of this runtime.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.1.spawn(task)
    }
}

impl Drop for BackgroundRuntime {
    fn drop(&mut self) {
        // A task drops it and must not wait for threads; a blocked thread ends with the process.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for BackgroundRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackgroundRuntime")
    }
}
