use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::base::code;
use crate::console::CommandFailure;

/// The signals that end a process.
pub(super) struct EndSignals([Signal; 3]);

impl EndSignals {
    pub(super) fn listen() -> Result<Self, CommandFailure> {
        let of = |kind| signal(kind).map_err(|_| CommandFailure::new(code::COMMAND_FAILED));
        Ok(Self([of(SignalKind::terminate())?, of(SignalKind::interrupt())?, of(SignalKind::hangup())?]))
    }

    pub(super) async fn wait(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }

    /// Whether a signal has arrived.
    pub(super) async fn has_arrived(&mut self) -> bool {
        tokio::time::timeout(Duration::ZERO, self.wait()).await.is_ok()
    }
}

/// Completes when the process has ended or cannot be watched. The thread ends with this process.
pub(super) fn end_of(process: OwnedFd) -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        let mut watched = [PollFd::new(&process, PollFlags::IN)];
        while matches!(poll(&mut watched, None), Err(rustix::io::Errno::INTR)) {}
        drop(ended);
    });
    end
}
