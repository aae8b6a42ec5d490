use std::fs;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::task::Poll;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::base::code;
use crate::console::CommandFailure;

/// The signals that end a process, without those that the caller of this process had it ignore, e.g. `nohup`: they stay
/// ignored, also by the command that replaces this process.
pub(super) struct EndSignals(Vec<Signal>);

impl EndSignals {
    pub(super) fn listen() -> Result<Self, CommandFailure> {
        let ignored = fs::read_to_string("/proc/self/status").map_or(0, |status| ignored_by(&status));
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        let wanted = kinds.into_iter().filter(|kind| !is_in(ignored, kind.as_raw_value()));
        let signals: Result<Vec<Signal>, _> = wanted.map(signal).collect();
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

/// The mask of ignored signals in the text of `/proc/PID/status`.
fn ignored_by(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn is_in(mask: u64, signal: i32) -> bool {
    let bit = u32::try_from(signal).ok().and_then(|signal| signal.checked_sub(1));
    bit.and_then(|bit| 1_u64.checked_shl(bit)).is_some_and(|bit| mask & bit != 0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status() {
        // SIGHUP is 1, SIGINT 2, SIGTERM 15.
        let mask = ignored_by("Name:\tx\nSigIgn:\t0000000000004001\nSigCgt:\t0000000000000002\n");
        assert_eq!([1, 2, 15].map(|signal| is_in(mask, signal)), [true, false, true]);
        assert_eq!(ignored_by("Name:\tx\n"), 0);
    }
}
