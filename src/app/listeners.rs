use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::data_dir::private_dir;
use super::environment::Environment;
use super::failures::start_failed;
use super::host_socket::HostSocket;
use super::public_documents::published;
use super::server_identity::sealed_identity;
use crate::base::limits::{CONNECTIONS_WAITING_MAX, FILES_RESERVED, LISTENER_END_WAIT_S, SEND_BUFFER_BYTES};
use crate::base::{code, io_reason};
use crate::broker::{self, HostServices, ProcessRequest};
use crate::config::{Config, Connections};
use crate::console::{CommandFailure, own_uid};
use crate::custody::Orders;
use crate::http::listener::{self, ConnectionCaps, CredentialWatch, ListenerConditions, ListenerState};
use crate::http::{
    DetachedHandlers, Sealed, admin_routes, agent_routes, host_router, sealed_router, serve_host,
};
use crate::pki::PeerCertificate;
use crate::pki::tls::{Gate, sealed_server_configs};
use crate::telemetry::{Alarms, Latency, Meters, raise_open_files};

/// The sockets of a broker's process, sealed or not: the listening addresses and the host socket.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) agents: BoundListener,
    pub(super) admins: BoundListener,
    pub(super) host: HostListener,
}

/// The socket on the host, with its handler.
#[derive(Debug)]
pub(super) struct HostListener {
    /// The use cases of the host socket.
    pub(super) services: HostServices,
    /// Their orders for the process.
    pub(super) wishes: mpsc::Receiver<ProcessRequest>,
    /// The metrics of a sealed broker.
    meters: Arc<Meters>,
    listener_state: watch::Sender<ListenerState>,
    answering: JoinHandle<()>,
    /// Requests that continue although their connection has ended.
    detached: DetachedHandlers,
    _socket: HostSocket,
}

/// A listening address. Clients that connect before a listener serves wait.
#[derive(Debug)]
pub(super) struct BoundListener {
    socket: std::net::TcpListener,
    pub(super) address: SocketAddr,
}

impl Listeners {
    /// Listens on the addresses, and serves the host socket.
    pub(super) fn bind(config: &Config, environment: &Environment) -> Result<Self, CommandFailure> {
        // A restored directory may have other permissions.
        private_dir(&config.data_dir)?;
        let (socket, listener) = HostSocket::bind(&config.listen.host)?;
        let orders = Orders::open(&config.data_dir.join("orders"));
        let orders = orders.map_err(broker::Failure::from)?;
        let (agents, admins) =
            (BoundListener::bind(config.listen.agents)?, BoundListener::bind(config.listen.admins)?);
        let Environment { clock, entropy, .. } = environment.clone();
        let (services, wishes) = HostServices::new(own_uid(), orders, clock, entropy);
        let meters = Arc::new(Meters::new(&Latency::new(), &Alarms::new()));
        let (listener_state, followed) = watch::channel(ListenerState::On);
        let router = host_router(services.clone(), Arc::clone(&meters));
        let detached = router.detached();
        let answering = tokio::spawn(serve_host(listener, router, followed));
        let host =
            HostListener { services, wishes, meters, listener_state, answering, detached, _socket: socket };
        Ok(Self { agents, admins, host })
    }
}

impl HostListener {
    /// Stops the host socket.
    pub(super) async fn leave(self) {
        self.services.close();
        self.listener_state.send_replace(ListenerState::Cut);
        if self.answering.await.is_err() {
            tracing::error!("the listener of the host socket had panicked");
        }
        let wait = Duration::from_secs(LISTENER_END_WAIT_S);
        if tokio::time::timeout(wait, self.detached.ended()).await.is_err() {
            tracing::error!(
                "a request at the host socket has not ended in time: the broker stops without it"
            );
        }
    }
}

impl BoundListener {
    fn bind(address: SocketAddr) -> Result<Self, CommandFailure> {
        let refuse = |error: std::io::Error| {
            let why = format!("the broker cannot listen on {address}: {}", io_reason(&error));
            let failure = CommandFailure::new(code::LISTEN_FAILED).because(why);
            if error.kind() == std::io::ErrorKind::AddrNotAvailable {
                let fix = "set `[listen]` to an address of this host (`ip address` lists them), or to `0.0.0.0:PORT` or \
                           `[::]:PORT` for all of them";
                return failure.mended_by(fix);
            }
            failure
        };
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.map_err(refuse)?;
        // A restarted broker can listen again although earlier connections linger.
        socket.set_reuseaddr(true).and_then(|()| socket.bind(address)).map_err(refuse)?;
        // Connections inherit it: otherwise the kernel buffers megabytes for a peer that reads no response.
        socket.set_send_buffer_size(SEND_BUFFER_BYTES).map_err(refuse)?;
        let listener = socket.listen(CONNECTIONS_WAITING_MAX).map_err(refuse)?;
        let bound = listener.local_addr().map_err(refuse)?;
        Ok(Self { socket: listener.into_std().map_err(refuse)?, address: bound })
    }

    /// The listener itself, in `runtime`.
    pub(super) fn listener(self, runtime: &Handle) -> Result<TcpListener, CommandFailure> {
        let _entered = runtime.enter();
        TcpListener::from_std(self.socket).map_err(|error| start_failed(&error))
    }

    /// A copy of the listener: connections wait until the next process accepts them.
    fn shared(&self) -> Result<TcpListener, CommandFailure> {
        let shared = self.socket.try_clone().and_then(TcpListener::from_std);
        shared.map_err(|error| start_failed(&error))
    }
}

/// The listeners of a sealed broker.
#[derive(Debug)]
pub(super) struct SealedListeners {
    listener_state: watch::Sender<ListenerState>,
    listeners: Vec<JoinHandle<()>>,
}

impl SealedListeners {
    /// Serves `listeners` without keys. Without a server certificate, which `init` makes, the listeners do not answer.
    pub(super) fn open(
        config: &Config,
        listeners: &Listeners,
        environment: &Environment,
    ) -> Result<Self, CommandFailure> {
        let (listener_state, followed) = watch::channel(ListenerState::On);
        let documents = published(config);
        let Some(identity) = sealed_identity(config, documents.authorities_pem()) else {
            tracing::warn!("the server certificate is missing: only the host socket answers");
            return Ok(Self { listener_state, listeners: Vec::new() });
        };
        let Environment { clock, entropy, .. } = environment.clone();
        let tls =
            sealed_server_configs(&identity, Arc::clone(&clock)).map_err(|error| start_failed(&error))?;
        let (caps, ids) = (caps(config), environment.connection_ids());
        let meters = Arc::clone(&listeners.host.meters);
        let sealed = Sealed { documents, meters, clock, entropy };
        let open = |name, listener: &BoundListener, routes| {
            let router = sealed_router(name, routes, &sealed);
            let level = sealed.meters.connections(name);
            let state = followed.clone();
            let credentials = admits_nobody();
            let conditions = ListenerConditions { caps, credentials, state, level, ids: ids.clone() };
            let serve = listener::serve(listener.shared()?, tls.clone(), router, conditions);
            Ok::<_, CommandFailure>(tokio::spawn(serve))
        };
        let listeners = vec![
            open("agents", &listeners.agents, agent_routes())?,
            open("admins", &listeners.admins, admin_routes())?,
        ];
        Ok(Self { listener_state, listeners })
    }

    /// Returns when the last connection has ended.
    pub(super) async fn close(self) {
        self.listener_state.send_replace(ListenerState::Cut);
        for listener in self.listeners {
            if listener.await.is_err() {
                tracing::error!("a listener of the sealed broker had panicked");
            }
        }
    }
}

/// The connection limits of each of the two listeners: as configured, and within the limit of open files after the
/// reserved ones.
pub(super) fn caps(config: &Config) -> ConnectionCaps {
    let Connections { max, max_per_peer } = config.connections;
    let caps = ConnectionCaps { max, max_per_peer };
    let within = within(caps, raise_open_files());
    if within != caps {
        tracing::warn!(
            max = within.max,
            "the limit of open files (`ulimit -Hn`, `LimitNOFILE=`) allows each listener fewer connections than configured"
        );
    }
    within
}

/// `caps` for each of two listeners of a process with this limit of open files.
fn within(caps: ConnectionCaps, files: Option<u64>) -> ConnectionCaps {
    let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    caps.at_most(files.saturating_sub(FILES_RESERVED) / 2)
}

/// Admission at a sealed broker, which requests no client certificates.
fn admits_nobody() -> CredentialWatch {
    CredentialWatch { gate: Arc::new(AdmitsNobody), changed: watch::channel(0).1 }
}

#[derive(Debug)]
struct AdmitsNobody;

impl Gate for AdmitsNobody {
    fn admits(&self, _peer: &PeerCertificate) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_storm_of_connections_waits_to_be_accepted_and_is_not_turned_away() {
        let listener = BoundListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        // Nobody accepts. What the queue does not take would try again a second later, and then later still.
        let wait = std::time::Duration::from_millis(900);
        let storm: Vec<_> =
            (0..1000).map(|_| TcpStream::connect_timeout(&listener.address, wait).unwrap()).collect();
        assert_eq!(storm.len(), 1000);
    }

    #[test]
    fn two_listeners_leave_files_for_everything_else() {
        let caps = ConnectionCaps { max: 100, max_per_peer: 80 };
        let files = |more: usize| Some((FILES_RESERVED + more) as u64);
        assert_eq!(within(caps, None), caps, "no limit");
        assert_eq!(within(caps, files(200)), caps);
        assert_eq!(within(caps, files(198)), ConnectionCaps { max: 99, max_per_peer: 80 });
        assert_eq!(within(caps, files(100)), ConnectionCaps { max: 50, max_per_peer: 50 });
        assert_eq!(within(caps, Some(1)), ConnectionCaps { max: 1, max_per_peer: 1 });
    }
}
