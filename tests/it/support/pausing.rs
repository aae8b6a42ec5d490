//! Entropy that stops a request at a draw: between what it has read and what it commits.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use keyward::base::{Entropy, SystemEntropy};

use super::waiting::until;

/// What is drawn: so many bytes, secret or not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Draw(usize, Secrecy);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Secrecy {
    Secret,
    Plain,
}

/// An id. Every connection draws one of its own first, and then every request.
pub(crate) const ID: Draw = Draw(10, Secrecy::Plain);
/// A certificate's serial.
pub(crate) const SERIAL: Draw = Draw(16, Secrecy::Secret);
/// What a secret's value is sealed by, or a new key of the broker's own.
pub(crate) const KEY: Draw = Draw(32, Secrecy::Secret);

/// The system's entropy, which stops the n-th of such draws, once it was told to.
#[derive(Debug, Default)]
pub(crate) struct Pausing(Mutex<Option<Armed>>);

#[derive(Debug)]
struct Armed {
    draw: Draw,
    left: usize,
    reached: Sender<()>,
    go_on: Receiver<()>,
}

/// A request that is stopped, or is going to be, until this is dropped.
pub(crate) struct Paused {
    reached: Receiver<()>,
    _go_on: Sender<()>,
}

impl Pausing {
    /// Stops the `nth` such draw from now on.
    pub(crate) fn at(&self, draw: Draw, nth: usize) -> Paused {
        let ((reached, is_reached), (go_on, goes_on)) = (channel(), channel());
        *self.0.lock().unwrap() = Some(Armed { draw, left: nth, reached, go_on: goes_on });
        Paused { reached: is_reached, _go_on: go_on }
    }

    fn pause(&self, draw: Draw) {
        let mut armed = self.0.lock().unwrap();
        if let Some(one) = armed.as_mut().filter(|one| one.draw == draw) {
            one.left -= 1;
        }
        let due = armed.take_if(|one| one.left == 0);
        drop(armed);
        if let Some(due) = due {
            due.reached.send(()).unwrap();
            // An error says that the test has let go. Other tasks of this thread go on elsewhere.
            tokio::task::block_in_place(|| due.go_on.recv().ok());
        }
    }
}

impl Entropy for Pausing {
    fn fill(&self, out: &mut [u8]) {
        self.pause(Draw(out.len(), Secrecy::Secret));
        SystemEntropy.fill(out);
    }

    fn fill_plain(&self, out: &mut [u8]) {
        self.pause(Draw(out.len(), Secrecy::Plain));
        SystemEntropy.fill_plain(out);
    }
}

impl Paused {
    /// Waits until the request has come there.
    pub(crate) async fn reached(&self) {
        until(async || self.reached.try_recv().is_ok()).await;
    }
}
