use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::Stopwatch;

/// The pause between two alarms: after a rollback, many clients present such credentials.
const ALARM_EVERY: Duration = Duration::from_secs(3600);
/// Maximum number of remembered serials that the ledger has.
const FOUND_MAX: usize = 4096;

/// The searched serials, and the time of the last alarm.
#[derive(Debug, Default)]
pub struct RollbackWatch(Mutex<Watched>);

#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) last: Option<Stopwatch>,
    pub(crate) is_tracing: bool,
    pub(crate) found: BTreeSet<[u8; 16]>,
    order: VecDeque<[u8; 16]>,
}

impl Watched {
    pub(crate) fn is_silent(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.elapsed() < ALARM_EVERY)
    }

    pub(crate) fn remember(&mut self, serial: [u8; 16]) {
        if self.found.insert(serial) {
            self.order.push_back(serial);
        }
        if self.order.len() > FOUND_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.found.remove(&oldest);
        }
    }
}

impl RollbackWatch {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this process has raised the alarm.
    pub(crate) fn has_alarmed(&self) -> bool {
        self.lock().last.is_some()
    }

    pub(crate) fn traced(&self, found: Option<[u8; 16]>) {
        let mut watched = self.lock();
        watched.is_tracing = false;
        if let Some(serial) = found {
            watched.remember(serial);
        }
    }
}
