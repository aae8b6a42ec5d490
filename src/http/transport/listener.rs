//! The accept loop of the listeners for agents and operators: TCP, TLS handshake, one task per connection.
//!
//! A silent or hostile peer uses only bounded resources: a place that a new connection takes over if none is free, a
//! rate of handshakes, limited waits for handshake, header and reading, a limited header and a limited send buffer. The
//! accept loop waits for none of them.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::server::TlsStream;

pub use super::connection_limits::ConnectionCaps;
use super::connections::{ConnectionSlot, ConnectionSlots};
use super::conversation::converse;
pub use super::listener_state::{ListenerService, ListenerState};
use super::read_limit::Bounded;
use super::refusing::{ConnectionRefusal, admit, refusing};
use crate::base::code::Code;
use crate::base::limits::{
    HANDSHAKE_REST_BYTES_MAX, HANDSHAKE_WAIT_S, HELLO_BYTES_MAX, LINGER_WAIT_S, UNREAD_BYTES_MAX,
};
use crate::base::{Clock, Connection, Entropy, RequestId, io_reason, peer_of};
use crate::pki::PeerCertificate;
use crate::pki::tls::{Gate, RefusedPeer, ServerConfigs, take_refused_peer};
use crate::telemetry::Level;

/// The peer of a connection. Read once when the connection is made; judged on every request.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client certificate, if the client sent one.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// The connection. Headers that claim another address are ignored.
    pub connection: Connection,
}

/// Whether a peer may stay connected, and a signal that this may have changed.
#[derive(Clone, Debug)]
pub struct CredentialWatch {
    /// Checked again for every open connection with a certificate.
    pub gate: Arc<dyn Gate>,
    /// Changes whenever a valid credential is revoked.
    pub changed: watch::Receiver<u64>,
}

impl CredentialWatch {
    /// Returns when `peer` may not stay connected. The grace period of an expired certificate is for new connections.
    async fn lost(mut self, peer: Option<Arc<PeerCertificate>>) {
        let Some(peer) = peer else { return std::future::pending().await };
        let is_late = !self.gate.admits(&peer);
        // A handshake does not know the address of its peer, from which the certificate may be refused.
        let is_refused = is_late && !self.gate.admits_late(&peer);
        while self.changed.changed().await.is_ok() {
            let stays = self.gate.admits(&peer) || (is_late && self.gate.admits_late(&peer));
            if !stays {
                if is_refused {
                    self.gate.connection_refused(&peer);
                }
                return;
            }
        }
        std::future::pending().await
    }
}

/// The conditions under which a listener serves its connections.
#[derive(Debug)]
pub struct ListenerConditions {
    /// The connection limits.
    pub caps: ConnectionCaps,
    /// Ends the connections of revoked certificates.
    pub credentials: CredentialWatch,
    /// Stops the listener.
    pub state: watch::Receiver<ListenerState>,
    /// Counts the open connections.
    pub level: Level,
    /// Makes the ids of connections.
    pub ids: ConnectionIds,
}

/// Makes the ids of connections.
#[derive(Clone, Debug)]
pub struct ConnectionIds {
    /// The time in each id.
    pub clock: Arc<dyn Clock>,
    /// The rest of each id.
    pub entropy: Arc<dyn Entropy>,
}

/// Accepts connections until the stop, and returns when the last connection has ended.
pub async fn serve(
    listener: TcpListener,
    tls: ServerConfigs,
    router: impl ListenerService,
    conditions: ListenerConditions,
) {
    let ListenerConditions { caps, credentials, mut state, level, ids } = conditions;
    let slots = ConnectionSlots::new(caps);
    // Every connection holds a sender; the channel closes when the last connection has ended.
    let (open, mut all_ended) = mpsc::channel::<Infallible>(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ListenerState::stopped(&mut state) => break,
        };
        match accepted {
            Ok((stream, address)) => {
                let Some((mut slot, evicted)) = slots.take(peer_of(address.ip())) else {
                    tracing::debug!(peer = %address.ip(), "a connection was closed at the connection limit");
                    continue;
                };
                let peer = Connection::accepted(address.ip(), ids.clock.now(), &*ids.entropy);
                let (tls, router, open) = (tls.clone(), router.clone(), open.clone());
                let (state, credentials, counted) = (state.clone(), credentials.clone(), level.enter());
                let ids = ids.clone();
                let served = async move {
                    let shaken =
                        handshake(stream, peer, &mut slot, &tls, &*credentials.gate, state.clone()).await;
                    let Some(stream) = shaken else { return };
                    let shown = stream.get_ref().1.peer_certificates();
                    match admit(shown, peer, &mut slot, &*credentials.gate) {
                        Ok(certificate) => {
                            connection(stream, certificate, peer, router, state, credentials).await
                        }
                        Err(ConnectionRefusal::Told(code)) => refuse(stream, peer, code, ids, state).await,
                        Err(ConnectionRefusal::Untold) => {}
                    }
                };
                tokio::spawn(async move {
                    tokio::select! {
                        () = served => {}
                        _ = evicted => {
                            tracing::debug!(peer = %peer.source, connection = %peer.id, "an unauthenticated connection was evicted for a new one");
                        }
                    }
                    drop((open, counted));
                });
            }
            Err(error) => back_off(&error).await,
        }
    }
    drop((listener, open));
    // Each connection ends within a limit.
    all_ended.recv().await;
}

/// File descriptors or memory are probably exhausted: without a pause the loop would spin.
pub(crate) async fn back_off(error: &io::Error) {
    tracing::warn!(error = %io_reason(error), "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// The TLS connection; `None` after a timeout or a stop: without a request there is nothing to wait for.
async fn handshake(
    stream: TcpStream,
    peer: Connection,
    slot: &mut ConnectionSlot,
    tls: &ServerConfigs,
    gate: &dyn Gate,
    mut state: watch::Receiver<ListenerState>,
) -> Option<TlsStream<Bounded<TcpStream>>> {
    // Small responses must not be delayed (Nagle); a socket that refuses this still works.
    drop(stream.set_nodelay(true));
    let wait = Duration::from_secs(HANDSHAKE_WAIT_S);
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(wait, shake_hands(stream, slot, tls)) => shaken.ok()?,
        _ = ListenerState::stopped(&mut state) => return None,
    };
    match shaken {
        None => {
            tracing::debug!(peer = %peer.source, connection = %peer.id, "a connection was closed at the limit of handshakes in progress");
            None
        }
        Some(Ok(mut stream)) => {
            stream.get_mut().0.lift();
            Some(stream)
        }
        Some(Err(FailedHandshake { mut stream, refused })) => {
            if let Some(refused) = refused {
                gate.handshake_refused(&refused, peer);
            }
            tracing::debug!(peer = %peer.source, connection = %peer.id, "a TLS handshake was refused");
            let wait = Duration::from_secs(LINGER_WAIT_S);
            stream.lift();
            drop(tokio::time::timeout(wait, linger(stream)).await);
            None
        }
    }
}

/// A handshake that failed.
struct FailedHandshake {
    stream: Bounded<TcpStream>,
    /// The certificate that was refused, if this is the cause.
    refused: Option<Box<RefusedPeer>>,
}

/// The result of the handshake; `None` if too many are in progress. A handshake counts from the end of the peer's first
/// message, so that a silent peer does not count; a peer with many handshakes waits for its turn.
async fn shake_hands(
    stream: TcpStream,
    slot: &mut ConnectionSlot,
    tls: &ServerConfigs,
) -> Option<Result<TlsStream<Bounded<TcpStream>>, FailedHandshake>> {
    let mut hello = LazyConfigAcceptor::new(Acceptor::default(), Bounded::new(stream, HELLO_BYTES_MAX));
    let Ok(mut started) = (&mut hello).await else {
        return hello.take_io().map(|stream| Err(FailedHandshake { stream, refused: None }));
    };
    tokio::time::sleep_until(slot.turn()?).await;
    started.io.bound(HANDSHAKE_REST_BYTES_MAX);
    let config = tls.for_client(&started.client_hello());
    let mut refused = None;
    let mut shaking = started.into_stream(config).into_fallible();
    let shaken = poll_fn(|cx| {
        drop(take_refused_peer());
        let polled = Pin::new(&mut shaking).poll(cx);
        if let Some(peer) = take_refused_peer() {
            refused = Some(Box::new(peer));
        }
        if polled.is_pending() {
            slot.answered();
        }
        polled
    });
    let shaken = shaken.await;
    // Also if the handshake has ended at once: the next step waits for the peer.
    slot.answered();
    Some(shaken.map_err(|(_, stream)| FailedHandshake { stream, refused }))
}

/// Waits until the peer has read the alert. In TLS 1.3 the peer has sent its request before it learns of the refusal; a
/// socket that is closed with unread bytes would reset the connection and lose the alert.
async fn linger(mut stream: Bounded<TcpStream>) {
    if stream.shutdown().await.is_ok() {
        let mut sent = stream.take(UNREAD_BYTES_MAX);
        drop(tokio::io::copy(&mut sent, &mut tokio::io::sink()).await);
    }
}

/// Answers a request on `stream` with `code`, and ends the connection. A peer that sends none is waited for as long as any
/// other, and its connection can be evicted.
async fn refuse(
    stream: TlsStream<Bounded<TcpStream>>,
    peer: Connection,
    code: Code,
    ids: ConnectionIds,
    state: watch::Receiver<ListenerState>,
) {
    tracing::debug!(peer = %peer.source, connection = %peer.id, %code, "a connection was refused");
    let router = refusing(code, move || RequestId::mint(ids.clock.now(), &*ids.entropy));
    converse(stream, (), format!("{} ({})", peer.source, peer.id), router, state, std::future::pending())
        .await;
}

async fn connection(
    stream: TlsStream<Bounded<TcpStream>>,
    certificate: Option<Arc<PeerCertificate>>,
    peer: Connection,
    router: impl ListenerService,
    state: watch::Receiver<ListenerState>,
    credentials: CredentialWatch,
) {
    let open = certificate.clone().map(|peer| OpenPeer::new(Arc::clone(&credentials.gate), peer));
    let is_cut = open.as_ref().map(|open| Arc::clone(&open.is_cut));
    let watched = credentials.lost(certificate.clone());
    let lost = async move {
        watched.await;
        is_cut.into_iter().for_each(|is_cut| is_cut.store(true, Ordering::Relaxed));
    };
    let who = format!("{} ({})", peer.source, peer.id);
    let peer = Peer { certificate, connection: peer };
    converse(stream, peer, who, router, state, lost).await;
    drop(open);
}

/// A connection that the gate is told of, until this is dropped.
struct OpenPeer {
    gate: Arc<dyn Gate>,
    peer: Arc<PeerCertificate>,
    is_cut: Arc<AtomicBool>,
}

impl OpenPeer {
    fn new(gate: Arc<dyn Gate>, peer: Arc<PeerCertificate>) -> Self {
        gate.opened(&peer);
        Self { gate, peer, is_cut: Arc::default() }
    }
}

impl Drop for OpenPeer {
    fn drop(&mut self) {
        self.gate.ended(&self.peer, self.is_cut.load(Ordering::Relaxed));
    }
}
