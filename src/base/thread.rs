use std::thread::JoinHandle;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(2);

/// Whether `thread` ends within `wait`. A thread that waits for a stalled disk ends only with the process.
#[must_use]
pub fn ends_within(thread: &JoinHandle<()>, wait: Duration) -> bool {
    let mut left = wait;
    while !thread.is_finished() && !left.is_zero() {
        std::thread::sleep(PAUSE);
        left = left.saturating_sub(PAUSE);
    }
    thread.is_finished()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_hangs_is_waited_for_no_longer_than_the_limit() {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || assert!(released.recv().is_err()));
        assert!(!ends_within(&thread, Duration::from_millis(4)));
        drop(release);
        assert!(ends_within(&thread, Duration::from_secs(30)));
        thread.join().unwrap();
    }
}
