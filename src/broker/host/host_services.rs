use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot};

use crate::authn::{self, AuthnError, HostPrincipal};
use crate::base::code;
use crate::base::limits::{REVOCATION_WAIT_MS, UNSEAL_TRIES_MAX, UNSEAL_TRIES_PER_MINUTE};
use crate::base::{Clock, Entropy, IncidentId, RequestId, Timestamp};
use crate::broker::administration::watch::Warning;
use crate::broker::failure::Failure;
use crate::broker::host::orders::UnrecordedOrder;
use crate::broker::host::settled::SettledOrder;
use crate::broker::services::Services;
use crate::crypto::MacKey;
use crate::custody::{BrokerSealed, BrokerUnsealed, FailedOrder, Orders};
use crate::keyring::SlotKey;
use crate::quota::Limiter;
use crate::store::{Change, CommitError};

/// The use cases of the host socket, sealed or not.
#[derive(Clone, Debug)]
pub struct HostServices(Arc<HostShared>);

#[derive(Debug)]
struct HostShared {
    phase: RwLock<Phase>,
    /// The orders of a sealed broker. Locked while a decision on an order depends on the phase.
    orders: Mutex<Orders>,
    wishes: mpsc::Sender<ProcessRequest>,
    /// Locked while the broker is unsealed or sealed: one operation at a time.
    turn: Mutex<()>,
    tries: Limiter<()>,
    /// The number of refused attempts to unseal.
    refused: AtomicU32,
    own_uid: u32,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

#[derive(Debug)]
enum Phase {
    Sealed,
    Open(Arc<Services>),
    /// An order to seal was given; the keys are about to be wiped.
    Sealing,
}

/// The state of the broker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HostState {
    /// It holds no key and does not serve.
    Sealed,
    /// It serves.
    Open,
    /// It stops and wipes its keys.
    Sealing,
}

impl HostState {
    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Open => "open",
            Self::Sealing => "sealing",
        }
    }
}

/// The state of the broker, and its pending orders.
#[derive(Clone, Debug)]
pub struct HostStanding {
    /// The state.
    pub state: HostState,
    /// The number of pending orders.
    pub queued: usize,
    /// The reason why an open broker is not ready.
    pub not_ready: Option<Failure>,
    /// The warnings of an open broker.
    pub warnings: Vec<Warning>,
    /// The pending orders that an open broker settled when it opened.
    pub settled: Vec<SettledOrder>,
    /// The failed orders of the last 24 hours that were not repeated.
    pub failed: Vec<FailedOrder>,
}

/// A request of the host that only the process can carry out.
#[derive(Debug)]
pub enum ProcessRequest {
    /// Open the keyring with this key, and serve.
    Unseal {
        /// The key.
        key: SlotKey,
        /// The user.
        unsealed: Unsealed,
        /// The channel for the result.
        reply: oneshot::Sender<Result<(), Failure>>,
    },
    /// Stop, and wipe all keys.
    Seal,
}

/// The user and the kind of key of an unsealing.
#[derive(Clone, Copy, Debug)]
pub struct Unsealed {
    by: HostPrincipal,
    with: &'static str,
    refused: u32,
}

impl HostServices {
    /// The services of the host for a sealed broker, and the receiver of the requests to the process.
    #[must_use]
    pub fn new(
        own_uid: u32,
        orders: Orders,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> (Self, mpsc::Receiver<ProcessRequest>) {
        let (wishes, wished) = mpsc::channel::<ProcessRequest>(1);
        let one = NonZeroU32::MIN;
        let per_minute = NonZeroU32::new(UNSEAL_TRIES_PER_MINUTE).unwrap_or(one);
        let at_once = NonZeroU32::new(UNSEAL_TRIES_MAX).unwrap_or(one);
        let host = HostShared {
            phase: RwLock::new(Phase::Sealed),
            orders: Mutex::new(orders),
            wishes,
            turn: Mutex::default(),
            tries: Limiter::per_minute(per_minute, at_once, Arc::clone(&clock)),
            refused: AtomicU32::new(0),
            own_uid,
            clock,
            entropy,
        };
        (Self(Arc::new(host)), wished)
    }

    /// The user of the peer process; `peer` is the uid from the kernel.
    ///
    /// # Errors
    /// [`AuthnError`].
    pub fn identify(&self, peer: u32) -> Result<HostPrincipal, AuthnError> {
        authn::host(peer, self.0.own_uid)
    }

    /// The state of the broker, and its pending orders.
    pub async fn standing(&self, _by: HostPrincipal) -> HostStanding {
        let queued = self.orders().await.waiting().len();
        let (settled, failed, warnings) = self.services().map_or_else(Default::default, |services| {
            let settled = services.state.kept_orders.settled().all();
            (settled, services.failed_orders(self.now()), services.warnings())
        });
        HostStanding { state: self.state(), queued, not_ready: self.not_ready(), warnings, settled, failed }
    }

    fn not_ready(&self) -> Option<Failure> {
        match &*self.0.phase.read().unwrap_or_else(PoisonError::into_inner) {
            Phase::Open(services) => services.check_ready().err(),
            Phase::Sealed | Phase::Sealing => None,
        }
    }

    fn state(&self) -> HostState {
        match &*self.0.phase.read().unwrap_or_else(PoisonError::into_inner) {
            Phase::Sealed => HostState::Sealed,
            Phase::Open(_) => HostState::Open,
            Phase::Sealing => HostState::Sealing,
        }
    }

    /// Opens the keyring with `key`, and returns when the broker serves. The entry of the unsealing has the number of
    /// refused attempts before it.
    ///
    /// # Errors
    /// [`Failure`]; the broker stays sealed.
    pub async fn unseal(&self, by: HostPrincipal, key: SlotKey) -> Result<(), Failure> {
        let _turn = self.0.turn.lock().await;
        if self.state() != HostState::Sealed {
            return Err(Failure::new(code::NOT_SEALED));
        }
        let permit = self.0.tries.admit(&());
        let tried = match permit {
            Ok(_permit) => self.try_to_unseal(by, key).await,
            Err(limited) => Err(limited.into()),
        };
        if let Err(failure) = &tried {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%by, code = %failure.code, "the broker was not unsealed");
        }
        tried
    }

    async fn try_to_unseal(&self, by: HostPrincipal, key: SlotKey) -> Result<(), Failure> {
        let refused = self.0.refused.load(Ordering::Relaxed);
        let unsealed = Unsealed { by, with: key.kind().as_str(), refused };
        let (reply, answer) = oneshot::channel();
        let wished = self.0.wishes.send(ProcessRequest::Unseal { key, unsealed, reply }).await;
        let stopping = || Failure::new(code::UNSEAL_FAILED).because("the broker is stopping");
        wished.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Seals the broker. When this returns, the entry is recorded, if that was possible in time, and the keys are
    /// about to be wiped. Without effect on a sealed broker.
    pub async fn seal(&self, by: HostPrincipal) {
        let _turn = self.0.turn.lock().await;
        let Some(services) = self.services() else { return };
        // A seal only takes away access, so it also works without an entry.
        let wait = Duration::from_millis(REVOCATION_WAIT_MS);
        let recording = tokio::time::timeout(wait, services.record_sealed(by));
        let (recorded, ()) = tokio::join!(recording, services.state.kept_orders.keep_seal(by.to_string()));
        match recorded {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, %by, "the ledger could not record that the broker is sealed")
            }
            Err(_) => tracing::error!(%by, "the ledger did not record in time that the broker is sealed"),
        }
        // Before any wait for a thread: a thread that waits for a hanging disk cannot be ended.
        services.forget_keys();
        self.enter(Phase::Sealing);
        if self.0.wishes.send(ProcessRequest::Seal).await.is_err() {
            tracing::warn!("the broker is stopping already");
        }
    }

    /// Opens `services` to the host. Records the unsealing, and carries out the pending orders.
    ///
    /// # Errors
    /// [`Failure`]; the state is unchanged.
    pub async fn open(&self, services: Arc<Services>, unsealed: Option<Unsealed>) -> Result<(), Failure> {
        // Locked until the broker is open, so that an order in the meantime is carried out, and does not stay
        // pending.
        let mut orders = self.orders().await;
        if let Some(Unsealed { by, with, refused }) = unsealed {
            if services.state.store.is_read_only() {
                tracing::warn!(%by, with, refused, "the broker was unsealed in read-only mode: no entry records it");
            } else {
                let event = BrokerUnsealed { by: by.to_string(), with, refused };
                services.state.record(&event).await?;
            }
            self.0.refused.store(0, Ordering::Relaxed);
        }
        if services.state.store.is_read_only() {
            no_order_is_pending(&orders)?;
        } else {
            let unrecorded = services.carry_out(&mut orders).await?;
            if !unrecorded.is_empty() {
                tokio::spawn(self.clone().forget_once_recorded(Arc::clone(&services), unrecorded));
            }
        }
        self.enter(Phase::Open(services));
        Ok(())
    }

    /// Forgets each order that is in force in memory only, once it is settled.
    async fn forget_once_recorded(self, services: Arc<Services>, unrecorded: Vec<UnrecordedOrder>) {
        for one in unrecorded {
            let Some(order) = one.settled(services.notifications.meters.alarms()).await else { continue };
            if let Err(error) = self.orders().await.forget(&order) {
                tracing::warn!(%error, "a recorded order could not be removed from the file of pending orders: the next start repeats it");
            }
            services.state.kept_orders.forget(order).await;
        }
    }

    /// Closes the services to the host: the broker stops.
    pub fn close(&self) {
        self.enter(Phase::Sealing);
    }

    /// The services of an open broker.
    pub(crate) fn services(&self) -> Option<Arc<Services>> {
        match &*self.0.phase.read().unwrap_or_else(PoisonError::into_inner) {
            Phase::Open(services) => Some(Arc::clone(services)),
            Phase::Sealed | Phase::Sealing => None,
        }
    }

    pub(crate) async fn orders(&self) -> MutexGuard<'_, Orders> {
        self.0.orders.lock().await
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    pub(crate) fn incident_id(&self) -> IncidentId {
        IncidentId::mint(self.0.clock.now(), &*self.0.entropy)
    }

    fn enter(&self, phase: Phase) {
        *self.0.phase.write().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// A new request id.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        RequestId::mint(self.0.clock.now(), &*self.0.entropy)
    }
}

/// Refuses read-only mode with pending orders: the broker could serve a subject that an order revokes.
fn no_order_is_pending(orders: &Orders) -> Result<(), Failure> {
    let pending = orders.waiting().len();
    if pending == 0 {
        return Ok(());
    }
    let why =
        format!("{pending} orders of a sealed broker are pending, and read-only mode cannot carry them out");
    let fix = "start the broker that these data belong to without `--read-only`: it carries the orders out; if it has stopped for good: `keyward adopt` on this host, then start this broker";
    Err(Failure::new(code::READ_ONLY).because(why).mended_by(fix))
}

impl Services {
    /// Wipes every key in place: the root key and the keyring, the keys that sign tokens, certificates and
    /// checkpoints, the keys of values, state changes, the index and anchors, and the digest keys.
    fn forget_keys(&self) {
        let unrecorded = self.state.store.unrecorded_denials();
        if unrecorded > 0 {
            tracing::error!(
                unrecorded,
                "revocations are in force in memory alone: unless the runtime directory has them, repeat them once \
                 the broker is unsealed"
            );
        }
        self.signing.issuer.forget_keys();
        self.values.sealer.forget(&*self.state.entropy);
        self.state.store.forget_keys();
        self.state.digests.forget();
        self.state.earlier_digests.iter().for_each(MacKey::forget);
        self.signing.notaries.forget();
        self.forget_keyring();
        self.values.put.forget();
        self.values.digests.forget();
    }

    async fn record_sealed(&self, by: HostPrincipal) -> Result<(), CommitError> {
        if self.state.store.is_read_only() {
            tracing::warn!(%by, "the broker is sealed in read-only mode: no entry records it");
            return Ok(());
        }
        let event = BrokerSealed { by: by.to_string() };
        self.state.store.commit(Change::new(&event)?.urgent(), ()).await?.redeem();
        Ok(())
    }
}
