//! Waits that end: with what is waited for, or with a panic that names the place of the wait.

use std::panic::Location;
use std::time::Duration;

use keyward::base::Stopwatch;

/// Longer than anything takes that a test waits for.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);

/// How long something is tried again and again.
pub(crate) struct Patience {
    begin: Stopwatch,
    caller: &'static Location<'static>,
}

impl Patience {
    #[track_caller]
    pub(crate) fn new() -> Self {
        Self { begin: Stopwatch::start(), caller: Location::caller() }
    }

    /// One more try: a panic when there have been enough.
    pub(crate) fn try_again(&self) {
        assert!(self.begin.elapsed() < LONGEST, "{}: it does not come about", self.caller);
    }
}

/// Looks again and again until `so`.
#[track_caller]
pub(crate) fn wait_until(mut so: impl FnMut() -> bool) {
    let patience = Patience::new();
    while !so() {
        patience.try_again();
        std::thread::yield_now();
    }
}

/// The same for what is asked in a task.
#[track_caller]
pub(crate) fn until(mut so: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let patience = Patience::new();
    async move {
        while !so().await {
            patience.try_again();
            tokio::task::yield_now().await;
        }
    }
}
