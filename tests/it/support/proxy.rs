//! A TCP proxy on a loopback port that cuts connections at a chosen request, or lets them hang.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::waiting::LONGEST;

/// Between the broker and a server. It ends with the test.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    controls: Arc<Controls>,
}

/// What happens to the request after a large one on the same connection. At a ledger in PostgreSQL, that is the COMMIT
/// after the entries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cut {
    /// It does not come to the server, and the connection ends.
    Request,
    /// Its answer does not come to the client, and the connection ends.
    Answer,
    /// Its answer does not come to the client, and the connection stays open.
    AnswerInSilence,
}

/// Requests of more bytes are large.
const LARGE: usize = 16 * 1024;
/// Most connections at once; further ones are closed.
const LINKS_MAX: usize = 64;

#[derive(Default)]
struct Controls {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    trap: Option<Cut>,
    is_hung: bool,
    is_shut: bool,
    is_over: bool,
    links: Vec<Arc<Link>>,
}

/// A connection, with its two sides.
struct Link {
    client: TcpStream,
    server: TcpStream,
    traffic: Mutex<Traffic>,
}

#[derive(Default)]
struct Traffic {
    /// Bytes of the request before the present one, and of that one.
    before: usize,
    sent: usize,
    is_answered: bool,
    passing: Passing,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum Passing {
    #[default]
    Open,
    /// Nothing passes, and nobody notices.
    Mute,
    /// The next answer ends the connection.
    UntilAnswer,
}

impl Proxy {
    /// A proxy of the server at this loopback port.
    pub(crate) fn of(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, controls) = (listener.local_addr().unwrap().port(), Arc::<Controls>::default());
        let accepting = Arc::clone(&controls);
        std::thread::spawn(move || accepting.accept(&listener, server));
        Self { port, controls }
    }

    /// Cuts at the next request after a large one.
    pub(crate) fn cut(&self, cut: Cut) {
        self.controls.state().trap = Some(cut);
    }

    /// Whether it has.
    pub(crate) fn has_cut(&self) -> bool {
        self.controls.state().trap.is_none()
    }

    /// Lets nothing pass on any connection, or all that was held back.
    pub(crate) fn hang(&self, hangs: bool) {
        self.controls.state().is_hung = hangs;
        self.controls.changed.notify_all();
    }

    /// Lets nothing pass any more on the connections that are open now, which stay open.
    pub(crate) fn mute(&self) {
        for link in &self.controls.state().links {
            link.traffic().passing = Passing::Mute;
        }
    }

    /// Closes new connections at once, or serves them.
    pub(crate) fn shut(&self, is_shut: bool) {
        self.controls.state().is_shut = is_shut;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.controls.state();
        state.is_over = true;
        state.links.iter().for_each(|link| link.close());
        drop(state);
        self.controls.changed.notify_all();
        // Wakes the thread that accepts.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl Controls {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener, server: u16) {
        while let Ok((client, _)) = listener.accept() {
            let mut state = self.state();
            if state.is_over {
                return;
            }
            if state.is_shut || state.links.len() >= LINKS_MAX {
                continue;
            }
            let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
            let link = Arc::new(Link { client, server, traffic: Mutex::default() });
            state.links.push(Arc::clone(&link));
            drop(state);
            let (requests, answers) = ((Arc::clone(self), Arc::clone(&link)), (Arc::clone(self), link));
            std::thread::spawn(move || requests.0.pass_requests(&requests.1));
            std::thread::spawn(move || answers.0.pass_answers(&answers.1));
        }
    }

    /// Waits while everything hangs.
    fn wait(&self) {
        let hangs = |state: &mut State| state.is_hung && !state.is_over;
        drop(self.changed.wait_timeout_while(self.state(), LONGEST, hangs));
    }

    fn pass_requests(&self, link: &Link) {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = (&link.client).read(&mut bytes) {
            self.wait();
            let (passing, cut) = self.request(link, length);
            if cut == Some(Cut::Request) {
                break;
            }
            if passing != Passing::Mute && (&link.server).write_all(&bytes[..length]).is_err() {
                break;
            }
            if cut == Some(Cut::Answer) {
                // The server's side stays open until it has answered.
                drop(link.client.shutdown(Shutdown::Both));
                return;
            }
        }
        // The server does not notice that a client has left whose connection is mute.
        let is_mute = link.traffic().passing == Passing::Mute;
        if !is_mute {
            self.end(link);
        }
    }

    /// Whether `length` bytes of a request pass, and where the connection is cut.
    fn request(&self, link: &Link, length: usize) -> (Passing, Option<Cut>) {
        let mut state = self.state();
        let mut traffic = link.traffic();
        let passing = traffic.passing;
        if std::mem::take(&mut traffic.is_answered) {
            traffic.before = std::mem::take(&mut traffic.sent);
        }
        let is_next = traffic.sent == 0 && traffic.before > LARGE;
        traffic.sent += length;
        let cut = if is_next { state.trap.take() } else { None };
        match cut {
            Some(Cut::Answer) => traffic.passing = Passing::UntilAnswer,
            Some(Cut::AnswerInSilence) => traffic.passing = Passing::Mute,
            Some(Cut::Request) | None => {}
        }
        (passing, cut)
    }

    fn pass_answers(&self, link: &Link) {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = (&link.server).read(&mut bytes) {
            self.wait();
            let mut traffic = link.traffic();
            traffic.is_answered = true;
            let passing = traffic.passing;
            drop(traffic);
            let passed = match passing {
                Passing::Open => (&link.client).write_all(&bytes[..length]),
                Passing::Mute => Ok(()),
                Passing::UntilAnswer => break,
            };
            if passed.is_err() {
                break;
            }
        }
        self.end(link);
    }

    fn end(&self, link: &Link) {
        link.close();
        self.state().links.retain(|one| !std::ptr::eq(Arc::as_ptr(one), link));
    }
}

impl Link {
    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        drop(self.client.shutdown(Shutdown::Both));
        drop(self.server.shutdown(Shutdown::Both));
    }
}
