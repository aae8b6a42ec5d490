use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot};

use crate::authn::{self, AuthnError, HostPrincipal};
use crate::base::code;
use crate::base::limits::{REVOCATION_WAIT_MS, UNSEAL_TRIES_MAX, UNSEAL_TRIES_PER_MINUTE};
use crate::base::{Clock, Entropy, RequestId, Timestamp};
use crate::broker::failure::Failure;
use crate::broker::host::orders::UnrecordedOrder;
use crate::broker::services::Services;
use crate::crypto::MacKey;
use crate::custody::{BrokerSealed, BrokerUnsealed, Orders};
use crate::keyring::SlotKey;
use crate::quota::Limiter;
use crate::store::{Change, CommitError};

/// The use cases of the host socket, sealed or not.
#[derive(Clone, Debug)]
pub struct HostServices(Arc<HostShared>);

#[derive(Debug)]
struct HostShared {
    phase: RwLock<Phase>,
    /// What was ordered while it was sealed. A reader of the phase that decides on an order holds this.
    orders: Mutex<Orders>,
    wishes: mpsc::Sender<ProcessRequest>,
    /// Held while unsealing or sealing: one at a time.
    turn: Mutex<()>,
    tries: Limiter<()>,
    /// Tries to unseal that were refused so far.
    refused: AtomicU32,
    own_uid: u32,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

#[derive(Debug)]
enum Phase {
    Sealed,
    Open(Arc<Services>),
    /// It was told to seal itself, and its keys are about to go.
    Sealing,
}

/// How the broker stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HostState {
    /// It holds no key and serves nobody.
    Sealed,
    /// It serves.
    Open,
    /// It stops serving, and lets go of its keys.
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
    /// How it stands.
    pub state: HostState,
    /// Orders that wait until it is unsealed.
    pub queued: usize,
    /// Why an open broker is not ready to serve.
    pub not_ready: Option<Failure>,
}

/// What the host wants of the process, which only the process can do.
#[derive(Debug)]
pub enum ProcessRequest {
    /// Open the keyring with this, and serve.
    Unseal {
        /// What was given.
        key: SlotKey,
        /// Who gave it.
        unsealed: Unsealed,
        /// Where to say how it went.
        told: oneshot::Sender<Result<(), Failure>>,
    },
    /// Stop serving, and let go of every key.
    Seal,
}

/// By whom and how a broker was unsealed.
#[derive(Clone, Copy, Debug)]
pub struct Unsealed {
    by: HostPrincipal,
    with: &'static str,
    refused: u32,
}

impl HostServices {
    /// The host's face of a broker that is sealed so far, and where its wishes come out.
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

    /// Whose process is at the other end: `peer` is its uid, as the kernel names it.
    ///
    /// # Errors
    /// [`AuthnError`].
    pub fn identify(&self, peer: u32) -> Result<HostPrincipal, AuthnError> {
        authn::host(peer, self.0.own_uid)
    }

    /// The state of the broker, and its pending orders.
    pub async fn standing(&self, _by: HostPrincipal) -> HostStanding {
        let queued = self.orders().await.waiting().len();
        HostStanding { state: self.state(), queued, not_ready: self.not_ready() }
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

    /// Opens the keyring with `key`, and returns when the broker serves. A try that is refused is
    /// counted, and told by the entry of the one that succeeds.
    ///
    /// # Errors
    /// [`Failure`]; the broker stays sealed then.
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
        let (told, answer) = oneshot::channel();
        let wished = self.0.wishes.send(ProcessRequest::Unseal { key, unsealed, told }).await;
        let stopping = || Failure::new(code::UNSEAL_FAILED).because("the broker is stopping");
        wished.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Has the broker let go of every key. It has been recorded when this returns, if it could be in time,
    /// and keys are about to go; a broker that is sealed already is left so.
    pub async fn seal(&self, by: HostPrincipal) {
        let _turn = self.0.turn.lock().await;
        let Some(services) = self.services() else { return };
        // It only revokes, so it works also while nothing can be recorded.
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
        // Before anything waits for a thread: one that waits for a disk that hangs cannot be ended.
        services.forget_keys();
        self.enter(Phase::Sealing);
        if self.0.wishes.send(ProcessRequest::Seal).await.is_err() {
            tracing::warn!("the broker is stopping already");
        }
    }

    /// From here on `services` is what the host reaches. Records by whom it was unsealed, if it was, and
    /// carries out what was ordered while it was sealed.
    ///
    /// # Errors
    /// [`Failure`]; the services are what they were before.
    pub async fn open(&self, services: Arc<Services>, unsealed: Option<Unsealed>) -> Result<(), Failure> {
        // Until it is open: an order that comes meanwhile is carried out, and waits for nobody.
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

    /// Forgets orders that were in force in memory alone when the broker opened, each once the ledger has it.
    async fn forget_once_recorded(self, services: Arc<Services>, unrecorded: Vec<UnrecordedOrder>) {
        for one in unrecorded {
            let Some(what) = one.settled(services.notifications.meters.alarms()).await else { continue };
            if let Err(error) = self.orders().await.forget(&what) {
                tracing::warn!(%error, "a recorded order could not be removed from the file of pending orders: the next start repeats it");
            }
            services.state.kept_orders.forget(what).await;
        }
    }

    /// The broker stops: nothing is to be reached by way of the host any more.
    pub fn close(&self) {
        self.enter(Phase::Sealing);
    }

    /// What it works with while it is open.
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

    fn enter(&self, phase: Phase) {
        *self.0.phase.write().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// A name for one more request.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        RequestId::mint(self.0.clock.now(), &*self.0.entropy)
    }
}

/// In read-only mode nobody is served who may have been revoked by an order that cannot be carried out.
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
    /// Wipes every key in place: the root key and the keyring, what signs tokens, certificates and checkpoints,
    /// opens values, seals state changes and the index, authenticates anchors and digests requests.
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
