use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::administration::heavy::HeavyWork;
use super::administration::ledger_readers::LedgerReadings;
use super::approvals::turns::ApprovalTurns;
use super::evidence::proofs::Proofs;
use super::host::kept::KeptOrders;
use super::host::rollback_watch::RollbackWatch;
use super::identity::operator_uses::OperatorUses;
use super::keyed_locks::KeyedLocks;
use super::keys::followed::Followed;
use super::keys::notaries::Notaries;
use super::keys::publishing::Publishing;
use super::open_connections::OpenConnections;
use super::secrets::put_values::PutValues;
use super::tokens::offers::Offers;
use super::webhook::announcements::Announcements;
use super::world::World;
use crate::base::{
    AgentId, Clock, CodeId, DecisionId, Entropy, IncidentId, LeaseId, OperatorId, Timestamp, TrustDomain,
};
use crate::crypto::{MacKey, ValueDigestKeys};
use crate::idempotency::{IdempotencyCaller, IdempotencyKey, IdempotentRequest};
use crate::issuance::Issuer;
use crate::keyring::Keyring;
use crate::policy::LifeLimits;
use crate::quota::{Denials, DenialsBySource, Guesses, Limiter, Refusals};
use crate::revocation::RefusedIdentity;
use crate::secrets::Sealer;
use crate::store::Store;
use crate::telemetry::Meters;
use crate::token::{MintedLately, Verifier};
use crate::upstream::{Breakers, DriverContext, Webhook};

/// The settings from the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The trust domain of all identities.
    pub trust_domain: TrustDomain,
    /// The address for agents, `host:port`, in invitations.
    pub address: String,
    /// The address for operators, `host:port`, in invitations.
    pub admin_address: String,
    /// Life of an agent's certificate, in seconds.
    pub agent_life_s: i64,
    /// Grace period of agents' certificates, in seconds.
    pub renewal_grace_s: i64,
    /// Life of a human operator's certificate, in seconds.
    pub operator_life_s: i64,
    /// Grace period of operators' certificates, in seconds.
    pub operator_renewal_grace_s: i64,
    /// Longest life of a service's certificate, in seconds.
    pub service_life_s: i64,
    /// Period in which an authority signs, in seconds.
    pub authority_life_s: i64,
    /// Period in which a value key wraps, in seconds.
    pub value_key_life_s: i64,
    /// Former versions of one secret that are kept.
    pub keep_versions: u32,
    /// Life of the delta, index and digest keys, in seconds.
    pub sealing_key_life_s: i64,
    /// Period in which a checkpoint key signs, in seconds.
    pub checkpoint_key_life_s: i64,
    /// Period in which a token key signs, in seconds.
    pub token_key_life_s: i64,
    /// Limits of token lives, and the broker's own audience.
    pub tokens: LifeLimits,
    /// Whether changes of declarations that give more access need the approval of a second operator.
    pub widening_second_operator: bool,
}

/// The services of the use cases. An architecture test lists the files that use each of them.
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
    /// The settings.
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
    /// The former digest keys, newest first, while an outcome under them is remembered.
    pub earlier_digests: Vec<MacKey>,
    /// Orders that are in force in memory only.
    pub kept_orders: KeptOrders,
    /// The last use of each operator's certificates since the start.
    pub operator_uses: OperatorUses,
    /// Operators who are reading the ledger.
    pub ledger_readings: LedgerReadings,
}

/// The keys that sign and open, and those that verify.
#[derive(Debug)]
pub struct Signing {
    /// Signs and opens.
    pub issuer: Issuer,
    /// The stages of the signing keys.
    pub followed: Followed,
    /// Sign checkpoints of the ledger.
    pub notaries: Notaries,
    /// Makes inclusion proofs.
    pub proofs: Proofs,
    /// Verifies tokens.
    pub verifier: Verifier,
    /// Cached ledger entries of recently presented or introspected tokens.
    pub minted: MintedLately,
}

/// The sealing of secret values.
#[derive(Debug)]
pub struct Values {
    /// Seals them.
    pub sealer: Sealer,
    /// One rotation of the value key at a time.
    pub key_lock: tokio::sync::Mutex<()>,
    /// Digests of values that were stored with an idempotency key.
    pub put: PutValues,
    /// The keys of the digests that are stored with values.
    pub digests: ValueDigestKeys,
    /// The rate limit of an operator's checks of leaked texts, and of its texts that were refused.
    pub checks: Guesses<OperatorId>,
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

/// Rate limits of callers, and of the entries about their denials.
#[derive(Debug)]
pub struct RequestLimits {
    /// The rate limit of an agent.
    pub mints: Limiter<AgentId>,
    /// The rate limit of the explanations of an agent's decisions.
    pub explanations: Limiter<AgentId>,
    /// The rate limit of a resource server's introspections.
    pub introspections: Limiter<AgentId>,
    /// The rate limit of a peer's enrolment attempts.
    pub enrolments: Limiter<IpAddr>,
    /// The limits of entries about denials.
    pub entries: EntryLimits,
    /// The rate limit of an operator; revocations are not counted.
    pub operator_requests: Limiter<OperatorId>,
    /// The threads for heavy requests of operators.
    pub heavy: HeavyWork,
}

/// The rate limits of entries about denials.
#[derive(Debug)]
pub struct EntryLimits {
    /// Of agents.
    pub agents: Denials<AgentId>,
    /// Of operators.
    pub operators: Denials<OperatorId>,
    /// About uses of credentials from outside their networks.
    pub elsewhere: DenialsBySource<ElsewhereCredential>,
}

/// A credential that is bound to networks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ElsewhereCredential {
    /// The certificate of an operator.
    Operator(OperatorId),
    /// An enrolment code.
    Code(CodeId),
}

/// Calls of upstreams: rotations and leases.
#[derive(Debug)]
pub struct UpstreamAccess {
    /// The services for upstream drivers.
    pub driver_context: DriverContext,
    /// The upstreams whose circuit is open.
    pub breakers: Mutex<Breakers>,
    /// One decision on leases at a time for each agent, so that its leases are counted correctly.
    pub leasing: KeyedLocks<AgentId>,
    /// Leases whose logins this process is creating.
    pub making: Mutex<BTreeSet<LeaseId>>,
    /// One renewal of a lease at a time, so that upstream and ledger see renewals in the same order.
    pub renewals: KeyedLocks<LeaseId>,
    /// The prefix of the names of this broker's logins.
    pub login_prefix: String,
    /// The service that gets a message for each request for approval.
    pub webhook: Option<Webhook>,
}

/// The notifications of changes.
#[derive(Debug)]
pub struct Notifications {
    /// Counts revocations: open connections are judged again.
    pub revocations: watch::Sender<u64>,
    /// The connections of client certificates.
    pub connections: OpenConnections,
    /// Counts changes of authorities: listeners update their certificates and trust.
    pub authorities: watch::Sender<u64>,
    /// Counts changes of rotations.
    pub rotations: watch::Sender<u64>,
    /// Counts changes of leases.
    pub leases: watch::Sender<u64>,
    /// Meters and alarms.
    pub meters: Arc<Meters>,
    /// Detects from presented credentials that the ledger is an older copy.
    pub rollback: RollbackWatch,
    /// Refused certificates, until the ledger has a summary of them.
    pub refusals: Refusals<RefusedIdentity, IncidentId>,
    offers: Offers,
    announcements: Announcements,
    approvals: ApprovalTurns,
    /// True once the broker stops.
    stopping: watch::Sender<bool>,
}

impl Notifications {
    /// No changes so far; alarms are counted at `meters`.
    #[must_use]
    pub fn new(meters: Arc<Meters>, clock: Arc<dyn Clock>) -> Self {
        let counter = || watch::channel(0).0;
        Self {
            revocations: counter(),
            connections: OpenConnections::default(),
            authorities: counter(),
            rotations: counter(),
            leases: counter(),
            meters,
            rollback: RollbackWatch::default(),
            refusals: Refusals::new(clock),
            offers: Offers::default(),
            announcements: Announcements::default(),
            approvals: ApprovalTurns::default(),
            stopping: watch::channel(false).0,
        }
    }

    /// Ends the waits of requests: from now on each request that waits for a change gets its response at once.
    pub fn end_waits(&self) {
        self.stopping.send_replace(true);
    }

    /// Returns when the waits of requests end, because the broker stops.
    pub(crate) async fn waits_ended(&self) {
        // Cannot fail: `self` holds a sender.
        drop(self.stopping.subscribe().wait_for(|stopping| *stopping).await);
    }

    /// The smaller requests that denials named.
    pub(crate) const fn offers(&self) -> &Offers {
        &self.offers
    }

    /// The messages about pending requests for approval.
    pub(crate) const fn announcements(&self) -> &Announcements {
        &self.announcements
    }

    /// The turns of changes of approvals, and the requests that wait for them.
    pub(crate) const fn approvals(&self) -> &ApprovalTurns {
        &self.approvals
    }

    /// Notifies that a valid credential was revoked.
    pub(crate) fn revocations_changed(&self) {
        count(&self.revocations);
    }

    /// Notifies that authorities have changed.
    pub(crate) fn authorities_changed(&self) {
        count(&self.authorities);
        self.revocations_changed();
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

    /// The identity of `request` of `caller` for its repetition.
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
