//! A step that hangs for as long as a test wants it to.

use std::sync::{Arc, Condvar, Mutex};

use super::waiting::LONGEST;

#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    is_shut: bool,
    is_reached: bool,
}

impl Gate {
    /// From here on nobody gets through.
    pub(crate) fn shut(&self) {
        *self.0.0.lock().unwrap() = State { is_shut: true, is_reached: false };
    }

    /// Returns once a task waits.
    pub(crate) fn until_reached(&self) {
        let (state, changed) = &*self.0;
        let reached = changed.wait_timeout_while(state.lock().unwrap(), LONGEST, |state| !state.is_reached);
        assert!(reached.unwrap().0.is_reached, "nobody came");
    }

    /// Everybody gets through again.
    pub(crate) fn open(&self) {
        self.0.0.lock().unwrap().is_shut = false;
        self.0.1.notify_all();
    }

    pub(crate) fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        while state.is_shut {
            state.is_reached = true;
            changed.notify_all();
            let (still, waited) = changed.wait_timeout(state, LONGEST).unwrap();
            assert!(!waited.timed_out(), "nobody opens the gate");
            state = still;
        }
    }
}
