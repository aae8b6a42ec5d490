use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::administration::heavy::HeavyWork;
use super::host::kept::KeptOrders;
use super::host::rollback_watch::RollbackWatch;
use super::keyed_locks::KeyedLocks;
use super::keys::followed::Followed;
use super::keys::notaries::Notaries;
use super::keys::publishing::Publishing;
use super::secrets::put_values::PutValues;
use super::world::World;
use crate::base::{AgentId, Clock, DecisionId, Entropy, LeaseId, OperatorId, Timestamp, TrustDomain};
use crate::crypto::{MacKey, ValueDigestKeys};
use crate::idempotency::{IdempotencyCaller, IdempotencyKey, IdempotentRequest};
use crate::issuance::Issuer;
use crate::keyring::Keyring;
use crate::policy::LifeLimits;
use crate::quota::{Denials, Limiter};
use crate::secrets::Sealer;
use crate::store::Store;
use crate::telemetry::Meters;
use crate::token::{MintedLately, Verifier};
use crate::upstream::{Breakers, DriverContext};

/// What an operator has set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The trust domain of all identities.
    pub trust_domain: TrustDomain,
    /// Where agents reach the broker, `host:port`: goes into invitations.
    pub address: String,
    /// Where operators reach it, likewise.
    pub admin_address: String,
    /// Life of an agent's certificate, in seconds.
    pub agent_life_s: i64,
    /// How long after its end an agent's certificate may still be renewed with, in seconds.
    pub renewal_grace_s: i64,
    /// Life of an operator's certificate, in seconds.
    pub operator_life_s: i64,
    /// How long an authority signs, in seconds.
    pub authority_life_s: i64,
    /// How long a value key wraps, in seconds.
    pub value_key_life_s: i64,
    /// Former versions of one secret that are kept.
    pub keep_versions: u32,
    /// How old the delta, index and digest keys may be, in seconds.
    pub sealing_key_life_s: i64,
    /// How long a checkpoint key signs, in seconds.
    pub checkpoint_key_life_s: i64,
    /// How long a token key signs, in seconds.
    pub token_key_life_s: i64,
    /// Limits of token lives, and the broker's own audience.
    pub tokens: LifeLimits,
}

/// What the use cases work with, by what it lets them do. An architecture test lists which file uses which.
#[derive(Debug)]
pub struct Services {
    /// Reads and changes the records.
    pub state: State,
    /// Signs, opens and verifies.
    pub signing: Signing,
    /// Seals values of secrets.
    pub values: Values,
    /// Changes the keyring.
    pub keyring: KeyringAccess,
    /// Limits and counts requests.
    pub limits: RequestLimits,
    /// Calls upstreams.
    pub upstream: UpstreamAccess,
    /// Tells tasks and operators that something has changed.
    pub notifications: Notifications,
    /// What an operator has set.
    pub settings: Settings,
}

/// The records, the time and randomness.
pub struct State {
    /// State, ledger and index.
    pub store: Store<World>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Digests requests.
    pub digests: MacKey,
    /// The digest keys before it, newest first, as long as an outcome under one of them is remembered.
    pub earlier_digests: Vec<MacKey>,
    /// Orders that are in force in memory alone.
    pub kept_orders: KeptOrders,
}

/// The keys that sign and open, and those that verify.
#[derive(Debug)]
pub struct Signing {
    /// Signs and opens.
    pub issuer: Issuer,
    /// The stages of the signing keys that it signs by.
    pub followed: Followed,
    /// Sign checkpoints of the ledger.
    pub notaries: Notaries,
    /// Verifies tokens.
    pub verifier: Verifier,
    /// What the entries say of tokens that were presented or asked about lately.
    pub minted: MintedLately,
}

/// What seals values of secrets.
#[derive(Debug)]
pub struct Values {
    /// Seals them.
    pub sealer: Sealer,
    /// One rotation of the value key at a time.
    pub key_lock: tokio::sync::Mutex<()>,
    /// Digests of values that were put with an idempotency key.
    pub put: PutValues,
    /// The keys of the digests that are stored with values.
    pub digests: ValueDigestKeys,
}

/// The keyring and its file.
#[derive(Debug)]
pub struct KeyringAccess {
    /// The keyring.
    pub ring: Mutex<Keyring>,
    /// Its file.
    pub path: PathBuf,
    /// One change of the file at a time.
    pub writing: Mutex<()>,
    /// One rotation of the checkpoint key at a time.
    pub checkpoint_lock: tokio::sync::Mutex<()>,
    /// Requests to write the public documents.
    pub publishing: Publishing,
}

/// How often callers may ask, and which of their denials get an entry.
#[derive(Debug)]
pub struct RequestLimits {
    /// How often an agent may ask.
    pub mints: Limiter<AgentId>,
    /// How often a resource server may ask about tokens.
    pub introspections: Limiter<AgentId>,
    /// How often a peer may try a code.
    pub enrolments: Limiter<IpAddr>,
    /// Which denials of agents get an entry.
    pub denials: Denials<AgentId>,
    /// Which denials of operators do.
    pub operator_denials: Denials<OperatorId>,
    /// How often an operator may ask; revocations are not counted.
    pub operator_requests: Limiter<OperatorId>,
    /// The threads for heavy requests of operators.
    pub heavy: HeavyWork,
}

/// Calls of upstreams: rotations and leases.
#[derive(Debug)]
pub struct UpstreamAccess {
    /// What upstream drivers are given.
    pub driver_context: DriverContext,
    /// The upstreams whose circuit is open.
    pub breakers: Mutex<Breakers>,
    /// One decision on a lease at a time for each agent, so that its leases are counted right.
    pub leasing: KeyedLocks<AgentId>,
    /// Leases whose logins are being made in this process now.
    pub making: Mutex<BTreeSet<LeaseId>>,
    /// One renewal of a lease at a time, so that upstream and the ledger take renewals in one order.
    pub renewals: KeyedLocks<LeaseId>,
    /// What the names of all logins start with that this broker makes.
    pub login_prefix: String,
}

/// Whom a change is told, besides its caller.
#[derive(Debug)]
pub struct Notifications {
    /// Counts changes of who may act: connections that are open ask again.
    pub standing: watch::Sender<u64>,
    /// Counts changes of which authorities count, and which signs: listeners show and trust others.
    pub authorities: watch::Sender<u64>,
    /// Counts changes of rotations.
    pub rotations: watch::Sender<u64>,
    /// Counts changes of leases.
    pub leases: watch::Sender<u64>,
    /// Meters and alarms.
    pub meters: Arc<Meters>,
    /// Whether what is presented proves that the ledger is an older copy.
    pub rollback: RollbackWatch,
}

impl Notifications {
    /// Nothing has changed yet; alarms are raised at `meters`.
    #[must_use]
    pub fn new(meters: Arc<Meters>) -> Self {
        let counter = || watch::channel(0).0;
        Self {
            standing: counter(),
            authorities: counter(),
            rotations: counter(),
            leases: counter(),
            meters,
            rollback: RollbackWatch::default(),
        }
    }

    /// A credential that was valid is revoked.
    pub(crate) fn standing_changed(&self) {
        count(&self.standing);
    }

    /// Authorities came, went or took turns.
    pub(crate) fn authorities_changed(&self) {
        count(&self.authorities);
        self.standing_changed();
    }

    pub(crate) fn rotations_changed(&self) {
        count(&self.rotations);
    }

    pub(crate) fn leases_changed(&self) {
        count(&self.leases);
    }
}

fn count(changes: &watch::Sender<u64>) {
    changes.send_modify(|changes| *changes = changes.wrapping_add(1));
}

impl State {
    pub(crate) fn decision(&self, now: Timestamp) -> DecisionId {
        DecisionId::mint(now, &*self.entropy)
    }

    /// What `request` of `caller` is known again by.
    pub(crate) fn idempotency_key(
        &self,
        caller: IdempotencyCaller<'_>,
        request: &IdempotentRequest<'_>,
    ) -> IdempotencyKey {
        IdempotencyKey::of(caller, request, &self.digests, &self.earlier_digests)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("store", &self.store).finish_non_exhaustive()
    }
}
