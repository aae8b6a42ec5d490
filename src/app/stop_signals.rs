use std::fs::File;
use std::future::pending;
use std::io;
use std::os::fd::AsFd;

use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal, SignalKind};

use super::failures::start_failed;
use crate::console::{CommandFailure, signals};

/// SIGTERM and SIGINT, and where the caller wants it the end of standard input: the first one stops in order, the second
/// one at once.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    /// Handled, so that the end of a terminal session does not end the broker.
    _hangup: Signal,
    /// Standard input until it ends.
    input: Option<pipe::Receiver>,
}

/// Whether the end of standard input stops the broker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum InputEnd {
    Ignored,
    Stops,
}

impl StopSignals {
    pub(super) fn listen(input_end: InputEnd) -> Result<Self, CommandFailure> {
        let handler = |kind| signals::listen(kind).map_err(|error| start_failed(&error));
        let input = match input_end {
            InputEnd::Ignored => None,
            InputEnd::Stops => Some(piped_input().map_err(|error| start_failed(&error))?),
        };
        Ok(Self {
            terminate: handler(SignalKind::terminate())?,
            interrupt: handler(SignalKind::interrupt())?,
            _hangup: handler(SignalKind::hangup())?,
            input,
        })
    }

    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = end_of(self.input.as_ref()) => self.input = None,
        }
    }
}

/// Standard input, if it is a pipe.
fn piped_input() -> io::Result<pipe::Receiver> {
    pipe::Receiver::from_file(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// Waits until the last process that can write to the pipe has closed it or has ended.
async fn end_of(input: Option<&pipe::Receiver>) {
    let Some(input) = input else { return pending().await };
    let mut ignored = [0; 64];
    while input.readable().await.is_ok() {
        match input.try_read(&mut ignored) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => {}
        }
    }
}
