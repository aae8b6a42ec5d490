use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::oneshot;

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
