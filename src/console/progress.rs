use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Console;

/// Work that takes no longer than this shows nothing.
const UNSEEN: Duration = Duration::from_secs(1);
/// The time between two pictures.
const PICTURE: Duration = Duration::from_millis(100);

/// Work in progress, shown on the terminal of standard error until this is dropped; in files, in pipes and for programs
/// that read JSON nothing is shown.
#[derive(Debug)]
#[must_use]
pub struct Progress {
    counted: Arc<AtomicU64>,
    shown: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Console {
    /// Shows that `work` is in progress, with the time since its start, if it takes longer than a second.
    pub fn progress(&self, work: &'static str) -> Progress {
        let counted = Arc::new(AtomicU64::new(0));
        if self.is_json() || !io::stderr().is_terminal() {
            return Progress { counted, shown: None };
        }
        let ((done, is_done), count) = (channel(), Arc::clone(&counted));
        let shown = std::thread::spawn(move || show(work, &count, &is_done));
        Progress { counted, shown: Some((done, shown)) }
    }
}

impl Progress {
    /// The number of objects so far, which the work can count up.
    #[must_use]
    pub fn counted(&self) -> &AtomicU64 {
        &self.counted
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((done, shown)) = self.shown.take() {
            drop(done);
            // The next line of output must not be drawn over.
            drop(shown.join());
        }
    }
}

fn show(work: &'static str, counted: &AtomicU64, is_done: &Receiver<()>) {
    let goes_on = |wait| matches!(is_done.recv_timeout(wait), Err(RecvTimeoutError::Timeout));
    if !goes_on(UNSEEN) {
        return;
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.reset_elapsed();
    loop {
        let count = counted.load(Ordering::Relaxed);
        bar.set_message(if count == 0 { work.to_owned() } else { format!("{work}: {count}") });
        bar.tick();
        if !goes_on(PICTURE) {
            break;
        }
    }
    bar.finish_and_clear();
}
