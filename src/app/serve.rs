use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::assemble::{Surroundings, assemble, broken, open_keyring};
use super::gate::{AdminGate, AgentGate};
use super::server_identity::server_identity;
use crate::base::{SystemClock, SystemEntropy};
use crate::broker::{AdminDesk, AgentDesk};
use crate::cli::Failure;
use crate::config::{Config, LogFormat, LogLevel};
use crate::http::listener::{self, ConnectionCaps};
use crate::http::{admin_router, agent_router};
use crate::pki::tls::server_config;
use crate::store::OnLostEntries;
use crate::telemetry::{self, LineForm, Protection};

/// Runs the broker until it is told to stop.
pub(super) async fn serve(config: &Config, accept_lost_entries: bool) -> Result<(), Failure> {
    log(config)?;
    harden();
    let surroundings =
        Surroundings { clock: Arc::new(SystemClock::new()), entropy: Arc::new(SystemEntropy) };
    let keyring = open_keyring(config)?;
    let on_lost = if accept_lost_entries { OnLostEntries::Accept } else { OnLostEntries::Refuse };
    let core = Arc::new(assemble(config, &keyring, &surroundings, on_lost).await?);
    drop(keyring);
    let identity = server_identity(config, &core, &surroundings).await?;
    let (agents, admins) = (AgentDesk::new(Arc::clone(&core)), AdminDesk::new(Arc::clone(&core)));
    let authority = core.issuer.authority().certificate();
    let clock = || Arc::clone(&surroundings.clock);
    let agent_tls = server_config(&identity, authority, Arc::new(AgentGate(agents.clone())), clock())
        .map_err(|error| broken(&error))?;
    let admin_tls = server_config(&identity, authority, Arc::new(AdminGate(admins.clone())), clock())
        .map_err(|error| broken(&error))?;
    let caps =
        ConnectionCaps { max: config.connections.max, max_per_peer: config.connections.max_per_peer };
    let agent_socket = bind(config.listen.agents).await?;
    let admin_socket = bind(config.listen.admins).await?;
    let (stop, stopped) = watch::channel(false);
    let agent_listener =
        tokio::spawn(listener::serve(agent_socket, agent_tls, agent_router(agents), caps, stopped.clone()));
    let admin_listener =
        tokio::spawn(listener::serve(admin_socket, admin_tls, admin_router(admins), caps, stopped));
    tracing::info!(agents = %config.listen.agents, admins = %config.listen.admins, "the broker serves");
    until_told().await?;
    tracing::info!("the broker stops");
    stop.send_replace(true);
    let ended = (agent_listener.await, admin_listener.await);
    if ended.0.is_err() || ended.1.is_err() {
        tracing::error!("a listener had panicked");
    }
    core.store.close().await;
    tracing::info!("the ledger is closed");
    Ok(())
}

fn log(config: &Config) -> Result<(), Failure> {
    let level = match config.log.level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    };
    let form = match config.log.format {
        LogFormat::Json => LineForm::Json,
        LogFormat::Text => LineForm::Text,
    };
    telemetry::init(level, form, std::io::stderr).map_err(|error| broken(&error))
}

fn harden() {
    let hardening = telemetry::harden();
    if hardening.memory_locked == Protection::Refused {
        tracing::warn!("memory is not locked: keys may reach swap; raise RLIMIT_MEMLOCK or turn swap off");
    }
    if hardening.core_dumps_off == Protection::Refused || hardening.ptrace_off == Protection::Refused {
        tracing::warn!(?hardening, "the kernel refused a protection of this process's memory");
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let why = format!("{address} cannot be listened on: {}", error.kind());
        Failure::unavailable("listen_failed", &why, "see what listens there, or change `[listen]`")
    })
}

/// Returns on SIGTERM or SIGINT. A second one ends the process at once, as ever.
async fn until_told() -> Result<(), Failure> {
    let handler = |kind| signal(kind).map_err(|error| broken(&error));
    let (mut terminate, mut interrupt) = (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
