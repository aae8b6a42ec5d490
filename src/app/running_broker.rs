use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::admission::{AdminGate, AgentGate};
use super::adoption::is_adopted;
use super::assemble::{FOUND_AT_START, assemble, record_slot_changes};
use super::duty::ServeMode;
use super::environment::Environment;
use super::failures::start_failed;
use super::listeners::{HostListener, Listeners, caps};
use super::location::take_order;
use super::open_keyring::open_keyring_at_start;
use super::public_documents::publish;
use super::runtimes::Runtimes;
use super::server_identity::{kept_identity, server_identity};
use super::upkeep::Upkeep;
use crate::base::code;
use crate::base::limits::{ADOPTION_WAIT_MS, JOB_END_WAIT_S, LISTENER_END_WAIT_S};
use crate::broker::{self, AdminServices, AgentServices, ProcessRequest, Revocation, Services, Unsealed};
use crate::config::Config;
use crate::console::CommandFailure;
use crate::http::listener::{self, CredentialWatch, ListenerConditions, ListenerState};
use crate::http::{DetachedHandlers, admin_router, agent_router};
use crate::jobs::{Announcer, ClockWatcher, LeaseEnder, LedgerWatcher, Rotator, Snapshots};
use crate::keyring::Keyring;
use crate::pki::tls::{Gate, ServerTls, TlsIdentity};
use crate::revocation::Subject;
use crate::store::OnLostEntries;

/// A broker that serves.
#[derive(Debug)]
pub struct RunningBroker {
    services: Arc<Services>,
    config: Config,
    agents: SocketAddr,
    admins: SocketAddr,
    host: HostListener,
    /// Whether it is read-only because its data are a copy, not because of `--read-only`.
    is_copy: bool,
    listener_state: watch::Sender<ListenerState>,
    stop: watch::Sender<bool>,
    listeners: [JoinHandle<()>; 2],
    /// Requests of agents and operators that continue although their connection has ended.
    detached: [DetachedHandlers; 2],
    upkeep: Arc<Upkeep>,
    rotator: Arc<Rotator>,
    ender: Arc<LeaseEnder>,
    snapshots: Arc<Snapshots>,
    clock_watcher: Arc<ClockWatcher>,
    announcer: Arc<Announcer>,
    /// Jobs and upkeep.
    jobs: Vec<JoinHandle<()>>,
    /// Dropped last, because it runs the tasks.
    runtimes: Runtimes,
}

/// Opens the broker with the key that `[root_key]` names, bottom to top, and serves.
///
/// # Errors
/// [`CommandFailure`]; nothing listens then.
pub async fn start(
    config: &Config,
    environment: &Environment,
    on_lost_entries: OnLostEntries,
) -> Result<RunningBroker, CommandFailure> {
    StartOptions { config, environment, on_lost_entries, duty: ServeMode::Full }.start().await
}

/// The purpose of opening a keyring.
#[derive(Clone, Copy, Debug)]
pub(super) struct StartOptions<'a> {
    pub(super) config: &'a Config,
    pub(super) environment: &'a Environment,
    pub(super) on_lost_entries: OnLostEntries,
    pub(super) duty: ServeMode,
}

/// An opened broker that does not serve yet.
pub(super) struct OpenedBroker<'a> {
    config: &'a Config,
    services: Arc<Services>,
    identity: TlsIdentity,
    duty: ServeMode,
    is_copy: bool,
}

impl<'a> StartOptions<'a> {
    /// Opens the broker with the key that `[root_key]` names.
    pub(super) async fn start(self) -> Result<RunningBroker, CommandFailure> {
        let keyring = open_keyring_at_start(self.config)?;
        let listeners = Listeners::bind(self.config, self.environment)?;
        let opened = self.open(keyring).await?;
        opened.open_to_host(&listeners, None).await?;
        opened.serve(listeners, self.environment)
    }

    /// Builds the rooms.
    pub(super) async fn open(self, keyring: Keyring) -> Result<OpenedBroker<'a>, CommandFailure> {
        let Self { config, environment, on_lost_entries, duty: wanted } = self;
        let (services, duty) = assemble(config, keyring, environment, on_lost_entries, wanted).await?;
        let services = Arc::new(services);
        let identity = match duty {
            ServeMode::Full => {
                record_slot_changes(&services, FOUND_AT_START).await?;
                let identity = server_identity(config, &services, environment).await?;
                publish(config, AgentServices::new(Arc::clone(&services))).await;
                identity
            }
            ServeMode::ReadOnly => kept_identity(config, &services)?,
        };
        Ok(OpenedBroker { config, services, identity, duty, is_copy: duty != wanted })
    }
}

impl OpenedBroker<'_> {
    /// Serves the host socket, before the other listeners.
    pub(super) async fn open_to_host(
        &self,
        listeners: &Listeners,
        unsealed: Option<Unsealed>,
    ) -> Result<(), CommandFailure> {
        let opened = listeners.host.services.open(Arc::clone(&self.services), unsealed).await;
        Ok(opened?)
    }

    /// Serves.
    pub(super) fn serve(
        self,
        listeners: Listeners,
        environment: &Environment,
    ) -> Result<RunningBroker, CommandFailure> {
        let Self { config, services, identity, duty, is_copy } = self;
        let Listeners { agents: agents_bound, admins: admins_bound, host } = listeners;
        let addresses = (agents_bound.address, admins_bound.address);
        let (agents, admins) =
            (AgentServices::new(Arc::clone(&services)), AdminServices::new(Arc::clone(&services)));
        let authorities = services.signing.issuer.authorities();
        let listener = |gate| {
            let clock = Arc::clone(&environment.clock);
            ServerTls::new(&identity, &authorities, gate, clock).map_err(|error| start_failed(&error))
        };
        let agent_gate: Arc<dyn Gate> = Arc::new(AgentGate(agents.clone()));
        let admin_gate: Arc<dyn Gate> = Arc::new(AdminGate(admins.clone()));
        let (agent_tls, admin_tls) = (listener(Arc::clone(&agent_gate))?, listener(Arc::clone(&admin_gate))?);
        let (listener_state, state) = watch::channel(ListenerState::On);
        let conditions = |gate, name| ListenerConditions {
            caps: caps(config),
            credentials: CredentialWatch { gate, changed: services.notifications.revocations.subscribe() },
            state: state.clone(),
            level: services.notifications.meters.connections(name),
            ids: environment.connection_ids(),
        };
        let runtimes = Runtimes::start()?;
        let (agent_router, admin_router) = (agent_router(agents), admin_router(admins));
        let detached = [agent_router.detached(), admin_router.detached()];
        let (socket, of_agents) =
            (agents_bound.listener(runtimes.agents.handle())?, conditions(agent_gate, "agents"));
        let serve = listener::serve(socket, agent_tls.configs(), agent_router, of_agents);
        let agents_served = runtimes.agents.spawn(serve);
        let (socket, of_admins) =
            (admins_bound.listener(runtimes.admins.handle())?, conditions(admin_gate, "admins"));
        let serve = listener::serve(socket, admin_tls.configs(), admin_router, of_admins);
        let listeners = [agents_served, runtimes.admins.spawn(serve)];
        let (stop, stopped) = watch::channel(false);
        let upkeep = Arc::new(Upkeep {
            config: config.clone(),
            services: Arc::clone(&services),
            environment: environment.clone(),
            listeners: [agent_tls, admin_tls],
        });
        let of = || Arc::clone(&services);
        let (rotator, ender) = (Arc::new(Rotator::new(of())), Arc::new(LeaseEnder::new(of())));
        let (snapshots, clock_watcher) = (Arc::new(Snapshots::new(of())), Arc::new(ClockWatcher::new(of())));
        let announcer = Arc::new(Announcer::new(of()));
        let mut jobs = Vec::new();
        if duty == ServeMode::Full {
            let _entered = runtimes.jobs.handle().enter();
            jobs = at_work(&upkeep, &rotator, &ender, &snapshots, &clock_watcher, &stopped);
            jobs.push(tokio::spawn(Arc::clone(&announcer).work(stopped.clone())));
        }
        tracing::info!(agents = %addresses.0, admins = %addresses.1, "the broker serves");
        Ok(RunningBroker {
            services,
            config: config.clone(),
            agents: addresses.0,
            admins: addresses.1,
            host,
            is_copy,
            listener_state,
            stop,
            listeners,
            detached,
            upkeep,
            rotator,
            ender,
            snapshots,
            clock_watcher,
            announcer,
            jobs,
            runtimes,
        })
    }
}

/// What happens by itself, until it is told to stop.
fn at_work(
    upkeep: &Arc<Upkeep>,
    rotator: &Arc<Rotator>,
    ender: &Arc<LeaseEnder>,
    snapshots: &Arc<Snapshots>,
    clock_watcher: &Arc<ClockWatcher>,
    stopped: &watch::Receiver<bool>,
) -> Vec<JoinHandle<()>> {
    vec![
        tokio::spawn(Arc::clone(upkeep).keep(stopped.clone())),
        tokio::spawn(Arc::clone(rotator).work(stopped.clone())),
        tokio::spawn(Arc::clone(ender).work(stopped.clone())),
        tokio::spawn(Arc::clone(snapshots).work(stopped.clone())),
        tokio::spawn(Arc::clone(clock_watcher).work(stopped.clone())),
        tokio::spawn(LedgerWatcher::new(Arc::clone(&upkeep.services)).work(stopped.clone())),
    ]
}

impl RunningBroker {
    /// The address of the agents' listener.
    #[must_use]
    pub const fn agents(&self) -> SocketAddr {
        self.agents
    }

    /// The address of the operators' listener.
    #[must_use]
    pub const fn admins(&self) -> SocketAddr {
        self.admins
    }

    /// Runs the upkeep of every minute at once: the broker's certificate, key schedules, the authorities that listeners trust.
    pub async fn look_after(&self) {
        self.upkeep.look().await;
    }

    /// Compares the clocks at once.
    pub async fn look_at_clock(&self) {
        self.clock_watcher.look().await;
    }

    /// Runs all due steps of rotations at once.
    pub async fn rotate_due(&self) {
        self.rotator.look().await;
    }

    /// Runs all due revocations of leases at once.
    pub async fn end_due_leases(&self) {
        self.ender.look().await;
    }

    /// Sends all due messages about requests for approval at once.
    pub async fn announce_due(&self) {
        self.announcer.look().await;
    }

    /// Records a revocation mark on any kind of subject, in the name of the broker's host.
    ///
    /// # Errors
    /// [`CommandFailure`] when it cannot be recorded.
    pub async fn mark(&self, what: Revocation, subject: Subject) -> Result<u64, CommandFailure> {
        Ok(self.services.mark("the broker's host", what, subject).await?)
    }

    /// Adds `seals` to the count of records that the value key has sealed, as after a long run.
    pub fn count_seals(&self, seals: u64) {
        self.services.values.sealer.count_from(seals);
    }

    /// Takes a snapshot of the state at once, whether one is due or not.
    pub async fn take_snapshot(&self) {
        self.snapshots.take(&self.stop.subscribe()).await;
    }

    /// The runtimes of its agents' listener, its operators' listener and its jobs.
    #[must_use]
    pub fn runtimes(&self) -> [Handle; 3] {
        let Runtimes { agents, admins, jobs } = &self.runtimes;
        [agents, admins, jobs].map(|runtime| runtime.handle().clone())
    }

    /// Returns when an order of a user of the host needs a new process.
    pub(super) async fn ordered(&mut self) -> ProcessReplacement {
        let adoption = adopted(self.is_copy, Arc::clone(&self.services), Arc::clone(&self.upkeep));
        tokio::select! {
            () = self.told_to_seal() => ProcessReplacement::Seal,
            () = adoption => ProcessReplacement::Adopt,
        }
    }

    async fn told_to_seal(&mut self) {
        while let Some(wish) = self.host.wishes.recv().await {
            match wish {
                ProcessRequest::Seal => return,
                // The order came while the broker was opening.
                ProcessRequest::Unseal { reply, .. } => {
                    drop(reply.send(Err(broker::Failure::new(code::NOT_SEALED))))
                }
            }
        }
        std::future::pending().await
    }

    /// Stops top to bottom: no new connections, requests in progress end, the ledger is closed. Requests that wait for a change
    /// get their response at once.
    pub async fn stop(self) {
        self.end(ListenerState::Drain).await;
    }

    /// Stops, and closes all connections at once.
    pub(super) async fn cut(self) {
        self.end(ListenerState::Cut).await;
    }

    async fn end(self, listener_state: ListenerState) {
        tracing::info!("the broker stops");
        self.listener_state.send_replace(listener_state);
        self.stop.send_replace(true);
        self.services.notifications.end_waits();
        let listeners_wait = listener_state.wait().saturating_add(Duration::from_secs(LISTENER_END_WAIT_S));
        ended(self.listeners.into(), "a listener", listeners_wait).await;
        // A request, like a job, may be in a call of an upstream.
        let detached =
            self.detached.map(|requests| self.runtimes.jobs.spawn(async move { requests.ended().await }));
        let wait = Duration::from_secs(JOB_END_WAIT_S);
        tokio::join!(
            ended(self.jobs, "a job", wait),
            ended(detached.into(), "a request whose connection was closed", wait)
        );
        if !self.services.state.store.is_read_only() {
            publish(&self.config, AgentServices::new(Arc::clone(&self.services))).await;
        }
        if listener_state == ListenerState::Drain {
            self.snapshots.take_last().await;
        }
        self.host.leave().await;
        self.services.state.store.close().await;
        tracing::info!("the ledger is closed");
    }
}

/// States that need a new process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ProcessReplacement {
    /// Sealed.
    Seal,
    /// Serving with all duties, after the copy of the data was adopted.
    Adopt,
}

/// Returns when the broker's copy of the data is adopted. A broker with all duties records the order and continues; a
/// read-only broker without a copy leaves it to the next start.
async fn adopted(is_copy: bool, services: Arc<Services>, upkeep: Arc<Upkeep>) {
    let data_dir = &upkeep.config.data_dir;
    let mut has_failed = false;
    loop {
        tokio::time::sleep(Duration::from_millis(ADOPTION_WAIT_MS)).await;
        if !is_adopted(data_dir) {
            continue;
        }
        if is_copy {
            return;
        }
        if services.state.store.is_read_only() {
            continue;
        }
        let alarms = services.notifications.meters.alarms();
        let taken = take_order(data_dir, &services.state.store, &upkeep.environment, alarms).await;
        if let Err(failure) = &taken
            && !has_failed
        {
            tracing::error!(code = %failure.code(), "the order to adopt is not recorded yet: the broker tries again every second");
        }
        has_failed = taken.is_err();
    }
}

/// Waits for `tasks` within a limit: a blocked thread must not prevent the stop.
async fn ended(tasks: Vec<JoinHandle<()>>, what: &'static str, wait: Duration) {
    let all = async {
        for task in tasks {
            if task.await.is_err() {
                tracing::error!("{what} had panicked");
            }
        }
    };
    if tokio::time::timeout(wait, all).await.is_err() {
        tracing::error!("{what} has not ended in time: the broker stops without it");
    }
}
