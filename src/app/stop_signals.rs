use std::future::pending;

use tokio::signal::unix::{Signal, SignalKind};

use super::failures::start_failed;
use crate::console::{CommandFailure, InputEnd, signals};

/// SIGTERM and SIGINT, and the end of standard input where the caller wants it: the first one stops in order, the second
/// one at once.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    /// Handled, so that the end of a terminal session does not end the broker.
    _hangup: Signal,
    /// Until it has come.
    input_end: Option<InputEnd>,
}

impl StopSignals {
    /// With `until_stdin_ends`, the end of standard input counts as a signal.
    pub(super) fn listen(until_stdin_ends: bool) -> Result<Self, CommandFailure> {
        let handler = |kind| signals::listen(kind).map_err(|error| start_failed(&error));
        let input_end = until_stdin_ends.then(InputEnd::watch).transpose();
        Ok(Self {
            terminate: handler(SignalKind::terminate())?,
            interrupt: handler(SignalKind::interrupt())?,
            _hangup: handler(SignalKind::hangup())?,
            input_end: input_end.map_err(|error| start_failed(&error))?,
        })
    }

    pub(super) async fn wait(&mut self) {
        let Self { terminate, interrupt, input_end, .. } = self;
        let ended = async {
            match input_end.as_ref() {
                Some(input_end) => input_end.wait().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = ended => *input_end = None,
        }
    }
}
