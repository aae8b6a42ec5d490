use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use tokio::net::unix::pipe;

/// The end of standard input, a pipe: the process at its other end has closed it or has ended.
#[derive(Debug)]
pub(crate) struct InputEnd(pipe::Receiver);

impl InputEnd {
    /// Watches standard input.
    ///
    /// # Errors
    /// [`io::Error`] if it is no pipe.
    pub(crate) fn watch() -> io::Result<Self> {
        let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        pipe::Receiver::from_file(input).map(Self)
    }

    /// Waits for the end. Input before it is ignored.
    pub(crate) async fn wait(&self) {
        let mut ignored = [0; 64];
        while self.0.readable().await.is_ok() {
            match self.0.try_read(&mut ignored) {
                Ok(0) => return,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => {}
            }
        }
    }
}
