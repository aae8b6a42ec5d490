use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::task::Poll;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use tokio::signal::unix::{Signal, SignalKind};
use tokio::sync::oneshot;

use crate::base::code;
use crate::console::{CommandFailure, signals};

/// The signals that end a process, without those that the caller of this process had it ignore, e.g. `nohup`: they stay
/// ignored, also by the command that replaces this process.
pub(super) struct EndSignals(Vec<Signal>);

impl EndSignals {
    pub(super) fn listen() -> Result<Self, CommandFailure> {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        let wanted = kinds.into_iter().filter(|kind| !signals::is_ignored(kind.as_raw_value()));
        let signals: Result<Vec<Signal>, _> = wanted.map(signals::listen).collect();
        signals.map(Self).map_err(|_| CommandFailure::new(code::COMMAND_FAILED))
    }

    pub(super) async fn wait(&mut self) {
        poll_fn(|context| {
            let has_arrived = self.0.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if has_arrived { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
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
