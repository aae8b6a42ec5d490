use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::failure::Failure;
use super::turns::Turns;
use super::world::World;
use crate::broker::administration::heavy::HeavyWork;
use crate::broker::host::kept::KeptOrders;
use crate::broker::host::rollback::RollbackWatch;
use crate::broker::keys::key_order::Followed;
use crate::broker::keys::notaries::Notaries;
use crate::broker::keys::publishing::Publishing;
use crate::broker::secrets::put_values::PutValues;
use tokio::sync::watch;

use crate::authn::{self, AgentPrincipal, AuthnError, OperatorPrincipal, Records};
use crate::base::limits::CONFLICT_RETRIES_MAX;
use crate::base::{
    AgentId, Clock, DecisionId, Entropy, LeaseId, OperatorId, RequestId, Timestamp, TrustDomain,
};
use crate::crypto::MacKey;
use crate::issuance::Issuer;
use crate::keyring::Keyring;
use crate::ledger::AppendError;
use crate::pki::{AuthorityCertificate, PeerCertificate};
use crate::policy::LifeLimits;
use crate::quota::{Denials, Limiter};
use crate::secrets::Sealer;
use crate::store::{CommitError, Store};
use crate::telemetry::Meters;
use crate::token::{KeySet, MintedLately, Verifier};
use crate::upstream;

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

/// Everything the use cases work with. `app` puts it together; the desks share it.
pub struct Core {
    /// State, ledger and index.
    pub store: Store<World>,
    /// Signs and opens.
    pub issuer: Issuer,
    /// The stages of the signing keys that it signs by.
    pub followed: Followed,
    /// Where new signing keys come from and are kept.
    pub keyring: Mutex<Keyring>,
    /// The keyring's file.
    pub keyring_path: PathBuf,
    /// Held by whoever writes it: one at a time.
    pub keyring_writing: Mutex<()>,
    /// Seals secret values.
    pub sealer: Sealer,
    /// Held by whoever turns to another value key: one at a time.
    pub value_key_turn: tokio::sync::Mutex<()>,
    /// Sign checkpoints of the ledger.
    pub notaries: Notaries,
    /// Held by whoever turns to another checkpoint key, likewise.
    pub checkpoint_key_turn: tokio::sync::Mutex<()>,
    /// Verifies tokens.
    pub verifier: Verifier,
    /// What the entries say of tokens that were presented or asked about lately.
    pub minted: MintedLately,
    /// Digests requests.
    pub digests: MacKey,
    /// The ones before it, newest first, as long as an outcome of then may be asked for.
    pub earlier_digests: Vec<MacKey>,
    /// Requests to write the public documents.
    pub publishing: Publishing,
    /// Digests of values that were put with an idempotency key.
    pub put_values: PutValues,
    /// Whether what is presented proves that the ledger is an older copy.
    pub rollback: RollbackWatch,
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
    /// What upstream drivers are given.
    pub upstreams: upstream::Surroundings,
    /// Which upstreams are left alone for a while.
    pub breakers: Mutex<upstream::Breakers>,
    /// Counts what happened to rotations: whoever waits for one looks again.
    pub rotations: watch::Sender<u64>,
    /// Turns to decide on a lease, by agent: how many an agent has is counted by one request at a time.
    pub leasing: Turns<AgentId>,
    /// Leases whose logins are being made in this process now.
    pub making: Mutex<BTreeSet<LeaseId>>,
    /// Turns to renew a lease, so that upstream and the ledger take renewals in one order.
    pub renewals: Turns<LeaseId>,
    /// What the names of all logins start with that this broker makes.
    pub login_prefix: String,
    /// Counts what happened to leases: whoever ends them looks again.
    pub leases: watch::Sender<u64>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
    /// What is counted for whoever watches over the broker.
    pub meters: Arc<Meters>,
    /// Orders that are in force in memory alone.
    pub kept: KeptOrders,
    /// What an operator has set.
    pub settings: Settings,
    /// Counts changes of who may act: connections that are open ask again.
    pub standing: watch::Sender<u64>,
    /// Counts changes of which authorities count, and which signs: listeners show and trust others.
    pub authorities_changed: watch::Sender<u64>,
}

impl Core {
    /// Somebody who could act before may not any more.
    pub(super) fn standing_changed(&self) {
        self.standing.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// Authorities came, went or took turns.
    pub(super) fn authorities_changed(&self) {
        self.authorities_changed.send_modify(|changes| *changes = changes.wrapping_add(1));
        self.standing_changed();
    }

    pub(super) fn decision(&self, now: Timestamp) -> DecisionId {
        DecisionId::mint(now, &*self.entropy)
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("store", &self.store).finish_non_exhaustive()
    }
}

/// Whether a use case that met a conflict decides again.
pub(super) enum Again {
    /// Something it relied on changed: yes.
    Retry,
    /// No: this is the answer.
    Stop(Failure),
}

impl From<CommitError> for Again {
    fn from(error: CommitError) -> Self {
        if matches!(error, CommitError::Append(AppendError::Conflict(_))) {
            Self::Retry
        } else {
            Self::Stop(error.into())
        }
    }
}

impl<E: Into<Failure>> From<E> for Again
where
    E: NotCommit,
{
    fn from(error: E) -> Self {
        Self::Stop(error.into())
    }
}

/// Every failure but the one that may be a conflict.
pub(super) trait NotCommit {}
impl NotCommit for Failure {}
impl NotCommit for AuthnError {}
impl NotCommit for crate::base::Cancelled {}
impl NotCommit for crate::quota::Limited {}
impl NotCommit for crate::issuance::IssueError {}
impl NotCommit for crate::secrets::VaultError {}
impl NotCommit for crate::store::RecordError {}

/// How often a use case has met a conflict.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    conflicts: u32,
}

impl Attempts {
    /// Whether to try again after `again`; the failure that ends it otherwise.
    pub(super) fn next(&mut self, again: Again) -> Result<(), Failure> {
        match again {
            Again::Stop(failure) => Err(failure),
            Again::Retry if self.conflicts >= CONFLICT_RETRIES_MAX => {
                let conflict = AppendError::Conflict(crate::ledger::Key::of("retries", b""));
                Err(CommitError::Append(conflict).into())
            }
            Again::Retry => {
                self.conflicts = self.conflicts.saturating_add(1);
                Ok(())
            }
        }
    }
}

/// Runs the async block until it is not told of a conflict, at most `CONFLICT_RETRIES_MAX` times
/// again. Each round reads the state anew: a decision is never carried over.
macro_rules! deciding_again {
    ($attempt:expr) => {{
        let mut attempts = $crate::broker::desk::Attempts::default();
        loop {
            match $attempt.await {
                Ok(done) => break Ok(done),
                Err(again) => {
                    if let Err(failure) = attempts.next(again) {
                        break Err(failure);
                    }
                }
            }
        }
    }};
}
pub(super) use deciding_again;

/// What `authn` judges credentials by.
pub(super) const fn records(world: &World) -> Records<'_> {
    Records {
        registry: &world.registry,
        operators: &world.operators,
        secrets: &world.secrets,
        revocations: &world.revocations,
        authorities: &world.authority,
    }
}

/// What agents can reach.
#[derive(Clone, Debug)]
pub struct AgentDesk(pub(super) Arc<Core>);

/// What operators can reach.
#[derive(Clone, Debug)]
pub struct AdminDesk(pub(super) Arc<Core>);

impl AgentDesk {
    /// The agents' face of `core`.
    #[must_use]
    pub const fn new(core: Arc<Core>) -> Self {
        Self(core)
    }

    /// The agent behind the certificate of a connection, as of now.
    ///
    /// # Errors
    /// [`AuthnError`].
    pub fn identify(&self, peer: &PeerCertificate) -> Result<AgentPrincipal, AuthnError> {
        let now = self.0.clock.reading();
        self.0.store.read(|world, as_of| authn::agent(peer, records(world), as_of, now))
    }

    /// The keys that tokens are verified with.
    #[must_use]
    pub fn key_set(&self) -> KeySet {
        self.0.issuer.key_set()
    }

    /// The certificates of the authorities that count, the one that signs first.
    #[must_use]
    pub fn authorities(&self) -> Vec<AuthorityCertificate> {
        self.0.issuer.authorities()
    }

    /// A signed checkpoint of the ledger as it is now (C2SP tlog-checkpoint). Whoever keeps it can tell
    /// later whether an entry was cut off or rewritten since.
    #[must_use]
    pub fn checkpoint(&self) -> String {
        self.0.checkpoint()
    }

    /// The key that verifies checkpoints, as signed notes write it.
    #[must_use]
    pub fn checkpoint_key(&self) -> String {
        self.0.with_notary(|notary| notary.verifier().to_string())
    }

    /// The `iss` of tokens, which is also the broker's own audience.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.0.settings.tokens.broker.as_str()
    }

    /// Whether the broker is to be looked at alone.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.0.store.is_read_only()
    }

    /// What is counted at the listener.
    #[must_use]
    pub fn meters(&self) -> Arc<Meters> {
        Arc::clone(&self.0.meters)
    }

    /// A name for one more request.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        RequestId::mint(self.0.clock.now(), &*self.0.entropy)
    }
}

impl AdminDesk {
    /// The operators' face of `core`.
    #[must_use]
    pub const fn new(core: Arc<Core>) -> Self {
        Self(core)
    }

    /// The certificates of the authorities that count, the one that signs first.
    #[must_use]
    pub fn authorities_in_use(&self) -> Vec<AuthorityCertificate> {
        self.0.issuer.authorities()
    }

    /// The operator behind the certificate of a connection, as of now. What it may do is another
    /// question: [`AdminDesk::authorise`].
    ///
    /// # Errors
    /// [`AuthnError`].
    pub fn identify(&self, peer: &PeerCertificate) -> Result<OperatorPrincipal, AuthnError> {
        let now = self.0.clock.reading();
        self.0.store.read(|world, as_of| authn::operator(peer, records(world), as_of, now))
    }

    /// Whether the broker is to be looked at alone.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.0.store.is_read_only()
    }

    /// What is counted at the listener.
    #[must_use]
    pub fn meters(&self) -> Arc<Meters> {
        Arc::clone(&self.0.meters)
    }

    /// A name for one more request.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        RequestId::mint(self.0.clock.now(), &*self.0.entropy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_case_decides_again_so_often_and_then_says_that_it_is_busy() {
        let mut attempts = Attempts::default();
        for _ in 0..CONFLICT_RETRIES_MAX {
            assert!(attempts.next(Again::Retry).is_ok());
        }
        let failure = attempts.next(Again::Retry).unwrap_err();
        assert_eq!(failure.code, crate::base::code::MODIFIED_CONCURRENTLY);
    }
}
