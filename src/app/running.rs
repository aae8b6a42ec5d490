use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::assemble::{FOUND, Surroundings, assemble, broken, open_keyring, tell_slots};
use super::gate::{AdminGate, AgentGate};
use super::keeper::Keeper;
use super::server_identity::server_identity;
use crate::base::code;
use crate::base::limits::CONNECTIONS_WAITING_MAX;
use crate::broker::{AdminDesk, AgentDesk, Core};
use crate::cli::Failure;
use crate::config::Config;
use crate::http::listener::{self, ConnectionCaps, Standing};
use crate::http::{admin_router, agent_router};
use crate::jobs::{Rotator, Snapshots};
use crate::pki::tls::{Gate, ServerTls};
use crate::store::OnLostEntries;

/// A broker that serves.
#[derive(Debug)]
pub struct Running {
    core: Arc<Core>,
    agents: SocketAddr,
    admins: SocketAddr,
    stop: watch::Sender<bool>,
    listeners: [JoinHandle<()>; 2],
    keeper: Arc<Keeper>,
    keeping: JoinHandle<()>,
    rotator: Arc<Rotator>,
    rotating: JoinHandle<()>,
    snapshots: Arc<Snapshots>,
    snapshotting: JoinHandle<()>,
}

/// Opens everything, bottom to top, and serves when all of it stands.
///
/// # Errors
/// [`Failure`]; nothing listens then.
pub async fn start(
    config: &Config,
    surroundings: &Surroundings,
    on_lost_entries: OnLostEntries,
) -> Result<Running, Failure> {
    let keyring = open_keyring(config)?;
    let core = Arc::new(assemble(config, keyring, surroundings, on_lost_entries).await?);
    tell_slots(&core, FOUND).await?;
    let identity = server_identity(config, &core, surroundings).await?;
    let (agents, admins) = (AgentDesk::new(Arc::clone(&core)), AdminDesk::new(Arc::clone(&core)));
    let authorities = core.issuer.authorities();
    let door = |gate| {
        let clock = Arc::clone(&surroundings.clock);
        ServerTls::new(&identity, &authorities, gate, clock).map_err(|error| broken(&error))
    };
    let agent_gate: Arc<dyn Gate> = Arc::new(AgentGate(agents.clone()));
    let admin_gate: Arc<dyn Gate> = Arc::new(AdminGate(admins.clone()));
    let (agent_tls, admin_tls) = (door(Arc::clone(&agent_gate))?, door(Arc::clone(&admin_gate))?);
    let standing = |gate| Standing { gate, changed: core.standing.subscribe() };
    let (agent_standing, admin_standing) = (standing(agent_gate), standing(admin_gate));
    let caps = ConnectionCaps { max: config.connections.max, max_per_peer: config.connections.max_per_peer };
    let (agent_socket, agent_address) = bind(config.listen.agents)?;
    let (admin_socket, admin_address) = bind(config.listen.admins)?;
    let (stop, stopped) = watch::channel(false);
    let listeners = [
        tokio::spawn(listener::serve(
            agent_socket,
            agent_tls.config(),
            agent_router(agents),
            (caps, agent_standing),
            stopped.clone(),
            core.meters.connections("agents"),
        )),
        tokio::spawn(listener::serve(
            admin_socket,
            admin_tls.config(),
            admin_router(admins),
            (caps, admin_standing),
            stopped.clone(),
            core.meters.connections("admins"),
        )),
    ];
    let keeper = Arc::new(Keeper {
        config: config.clone(),
        core: Arc::clone(&core),
        surroundings: surroundings.clone(),
        doors: [agent_tls, admin_tls],
    });
    let keeping = tokio::spawn(Arc::clone(&keeper).keep(stopped.clone()));
    let rotator = Arc::new(Rotator::new(Arc::clone(&core)));
    let rotating = tokio::spawn(Arc::clone(&rotator).work(stopped.clone()));
    let snapshots = Arc::new(Snapshots::new(Arc::clone(&core)));
    let snapshotting = tokio::spawn(Arc::clone(&snapshots).work(stopped));
    tracing::info!(agents = %agent_address, admins = %admin_address, "the broker serves");
    Ok(Running {
        core,
        agents: agent_address,
        admins: admin_address,
        stop,
        listeners,
        keeper,
        keeping,
        rotator,
        rotating,
        snapshots,
        snapshotting,
    })
}

impl Running {
    /// Where agents reach it.
    #[must_use]
    pub const fn agents(&self) -> SocketAddr {
        self.agents
    }

    /// Where operators reach it.
    #[must_use]
    pub const fn admins(&self) -> SocketAddr {
        self.admins
    }

    /// Does at once what the broker looks after every minute: its own certificate, token keys, whom
    /// the listeners trust.
    pub async fn look_after(&self) {
        self.keeper.look().await;
    }

    /// Does at once everything about rotations that is due now, as far as it goes now.
    pub async fn rotate_due(&self) {
        self.rotator.look().await;
    }

    /// Takes a snapshot of the state at once, whether one is due or not.
    pub async fn take_snapshot(&self) {
        self.snapshots.take(&self.stop.subscribe()).await;
    }

    /// Stops top to bottom: no new connections, requests under way end, the ledger is closed.
    pub async fn stop(self) {
        tracing::info!("the broker stops");
        self.stop.send_replace(true);
        for task in self.listeners.into_iter().chain([self.keeping, self.rotating, self.snapshotting]) {
            if task.await.is_err() {
                tracing::error!("a listener, or a job, had panicked");
            }
        }
        self.core.store.close().await;
        tracing::info!("the ledger is closed");
    }
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let refuse = |error: std::io::Error| {
        let why = format!("{address} cannot be listened on: {}", error.kind());
        Failure::new(code::LISTEN_FAILED).because(why)
    };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(refuse)?;
    // A broker that was restarted takes its address again, although connections of before still linger.
    socket.set_reuseaddr(true).and_then(|()| socket.bind(address)).map_err(refuse)?;
    let listener = socket.listen(CONNECTIONS_WAITING_MAX).map_err(refuse)?;
    let bound = listener.local_addr().map_err(refuse)?;
    Ok((listener, bound))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_storm_of_connections_waits_to_be_accepted_and_is_not_turned_away() {
        let (_listener, address) = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        // Nobody accepts. What the queue does not take would try again a second later, and then later still.
        let wait = std::time::Duration::from_millis(900);
        let storm: Vec<_> = (0..1000).map(|_| TcpStream::connect_timeout(&address, wait).unwrap()).collect();
        assert_eq!(storm.len(), 1000);
    }
}
