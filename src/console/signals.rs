//! The signals of this process. A prompt undoes its changes of the terminal before a signal ends or stops the process, so
//! signals that only a prompt waits for do the usual thing at all other times.

use std::fs;
use std::future::poll_fn;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::SigId;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::flag::register_conditional_default;
use signal_hook::low_level::{emulate_default_handler, pipe, unregister};
use tokio::signal::unix::{Signal, SignalKind};

/// Signals that a prompt waits for.
const PROMPT_SIGNALS: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGCONT];

/// What this process does at a signal when no prompt waits for it.
struct Usual {
    signal: i32,
    /// Whether the default action follows.
    is_default: Arc<AtomicBool>,
    /// Whether other code of this process takes it.
    is_taken: AtomicBool,
    /// Whether the default action is left to this room.
    has_handler: AtomicBool,
}

static USUAL: LazyLock<Vec<Usual>> = LazyLock::new(|| {
    let usual = |signal| Usual {
        signal,
        is_default: Arc::new(AtomicBool::new(true)),
        is_taken: AtomicBool::new(false),
        has_handler: AtomicBool::new(false),
    };
    PROMPT_SIGNALS.into_iter().map(usual).collect()
});

/// The signals of this kind from now on, also after a prompt.
///
/// # Errors
/// [`io::Error`] if the process cannot receive them.
pub fn listen(kind: SignalKind) -> io::Result<Signal> {
    for usual in USUAL.iter().filter(|usual| usual.signal == kind.as_raw_value()) {
        usual.is_taken.store(true, Ordering::SeqCst);
        usual.is_default.store(false, Ordering::SeqCst);
    }
    #[expect(clippy::disallowed_methods, reason = "the one place that calls it")]
    tokio::signal::unix::signal(kind)
}

/// The signals that end a process, without those that the caller of this process had it ignore, e.g. `nohup`: they stay
/// ignored, also by a program that replaces this process.
#[derive(Debug)]
pub(crate) struct EndSignals(Vec<Signal>);

impl EndSignals {
    pub(crate) fn listen() -> io::Result<Self> {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        let wanted = kinds.into_iter().filter(|kind| !is_ignored(kind.as_raw_value()));
        wanted.map(listen).collect::<io::Result<Vec<Signal>>>().map(Self)
    }

    pub(crate) async fn wait(&mut self) {
        poll_fn(|context| {
            let has_arrived = self.0.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if has_arrived { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Whether a signal has arrived.
    pub(crate) async fn has_arrived(&mut self) -> bool {
        tokio::time::timeout(Duration::ZERO, self.wait()).await.is_ok()
    }
}

/// Whether the caller of this process had it ignore this signal, e.g. `nohup`.
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    is_in(ignored_by(&status), signal)
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

/// The signals that arrive during a prompt, without those that this process ignores.
pub(super) struct PromptSignals(Vec<Awaited>);

struct Awaited {
    usual: &'static Usual,
    arrivals: UnixStream,
    registration: SigId,
}

/// A signal during a prompt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PromptSignal {
    /// It ends the process, by its default action.
    End(i32),
    /// It stops the process until it is continued.
    Stop,
    /// The process was stopped and is continued.
    Continued,
}

/// Something that a prompt waits for.
pub(super) enum PromptEvent {
    /// The terminal has input, or has ended.
    Input,
    Signal(PromptSignal),
}

impl PromptSignals {
    pub(super) fn listen() -> io::Result<Self> {
        let mut awaited = Self(Vec::new());
        for usual in USUAL.iter().filter(|usual| !is_ignored(usual.signal)) {
            let (arrivals, wake) = UnixStream::pair()?;
            arrivals.set_nonblocking(true)?;
            let registration = pipe::register(usual.signal, wake)?;
            usual.is_default.store(false, Ordering::SeqCst);
            // With a handler, the kernel does not do what a signal usually does.
            if !usual.has_handler.swap(true, Ordering::SeqCst) {
                register_conditional_default(usual.signal, Arc::clone(&usual.is_default))?;
            }
            awaited.0.push(Awaited { usual, arrivals, registration });
        }
        Ok(awaited)
    }

    /// Waits for input of `terminal` or a signal.
    pub(super) fn wait(&self, terminal: &fs::File) -> io::Result<PromptEvent> {
        loop {
            if let Some(signal) = self.arrived() {
                return Ok(PromptEvent::Signal(signal));
            }
            let mut watched: Vec<PollFd<'_>> =
                self.0.iter().map(|awaited| PollFd::new(&awaited.arrivals, PollFlags::IN)).collect();
            watched.push(PollFd::new(terminal, PollFlags::IN));
            match poll(&mut watched, None) {
                Ok(_) if watched.last().is_some_and(|terminal| !terminal.revents().is_empty()) => {
                    return Ok(self.arrived().map_or(PromptEvent::Input, PromptEvent::Signal));
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A signal that has arrived. Several of one kind count once.
    pub(super) fn arrived(&self) -> Option<PromptSignal> {
        let has_arrived = |awaited: &&Awaited| {
            let mut count = [0; 64];
            (&awaited.arrivals).read(&mut count).is_ok_and(|len| len > 0)
        };
        let signal = self.0.iter().find(has_arrived)?.usual.signal;
        Some(match signal {
            SIGTSTP => PromptSignal::Stop,
            SIGCONT => PromptSignal::Continued,
            signal => PromptSignal::End(signal),
        })
    }
}

impl Drop for PromptSignals {
    fn drop(&mut self) {
        for Awaited { usual, registration, .. } in &self.0 {
            usual.is_default.store(!usual.is_taken.load(Ordering::SeqCst), Ordering::SeqCst);
            unregister(*registration);
        }
    }
}

/// Does what the process would do at the signal without a prompt. After a stop it returns when the process is continued.
pub(super) fn act(signal: PromptSignal) -> io::Result<()> {
    match signal {
        PromptSignal::End(signal) => emulate_default_handler(signal),
        PromptSignal::Stop => emulate_default_handler(SIGTSTP),
        PromptSignal::Continued => Ok(()),
    }
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
