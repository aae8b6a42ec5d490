//! Credentials with a valid signature of this broker that its ledger does not contain: they prove that the ledger is
//! an older copy.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::authn::PresentError;
use crate::base::encoding::hex;
use crate::base::{Connection, Stopwatch, io_reason};
use crate::broker::caller_services::{AdminServices, AgentServices};
use crate::broker::services::Services;
use crate::custody::RollbackSuspected;
use crate::ledger::ReadError;
use crate::pki::{PeerCertificate, SpiffeId};
use crate::registry::AgentKind;
use crate::telemetry::{Alarm, give_way};

/// The number of entries in one read.
const PAGE: u64 = 1000;
/// The margin of the search in seconds: the entry of a certificate is neither much older than its beginning, nor is
/// it searched long after its end.
const OLDER_S: i64 = 86_400;

/// A credential that the ledger does not have.
struct UnknownCredential {
    /// `token` or `certificate`.
    credential: &'static str,
    /// The SPIFFE id of the holder.
    subject: String,
    id: String,
    /// The entry that a token names.
    seq: Option<u64>,
}

impl AgentServices {
    /// Searches the ledger for the certificate of `peer`, which has a valid chain and no record.
    pub fn trace(&self, peer: &PeerCertificate) {
        Services::trace(&self.0, peer);
    }
}

impl AdminServices {
    /// The same at the operators' listener.
    pub fn trace(&self, peer: &PeerCertificate) {
        Services::trace(&self.0, peer);
    }
}

impl Services {
    /// Returns at once; a thread reads the ledger, for one certificate at a time. A copied certificate can cause
    /// this, a forged one cannot.
    fn trace(services: &Arc<Self>, peer: &PeerCertificate) {
        // A certificate that expired long ago would cause a read of the whole ledger.
        if peer.not_after().plus_s(OLDER_S) < services.state.clock.now() || services.knows(peer) {
            return;
        }
        let serial = *peer.serial().as_bytes();
        {
            let mut watched = services.notifications.rollback.lock();
            let is_known = watched.found.contains(&serial);
            if watched.is_tracing || is_known || watched.is_silent() {
                return;
            }
            watched.is_tracing = true;
        }
        let Ok(runtime) = Handle::try_current() else { return services.notifications.rollback.traced(None) };
        let (services, peer) = (Arc::clone(services), peer.clone());
        runtime.spawn(async move {
            let is_recorded = Self::read_back(Arc::clone(&services), peer.clone()).await;
            services.notifications.rollback.traced(is_recorded.unwrap_or(false).then_some(serial));
            if is_recorded == Some(false) {
                let (subject, id) = (peer.spiffe().to_string(), peer.serial().to_string());
                let unknown = UnknownCredential { credential: "certificate", subject, id, seq: None };
                services.suspect_rollback(unknown, peer.connection()).await;
            }
        });
    }

    /// Whether the certificate has a record, also if it is blocked.
    fn knows(&self, peer: &PeerCertificate) -> bool {
        let (serial, key) = (peer.serial(), peer.key());
        self.state.store.read(|world, _| {
            let agent_is = |name, kind| {
                let agent = world.registry.agent_named(name).filter(|agent| agent.kind() == kind);
                agent.is_some_and(|agent| agent.instance_of(serial.as_bytes(), &key).is_some())
            };
            match peer.spiffe() {
                SpiffeId::Agent { name, .. } => agent_is(name, AgentKind::Agent),
                SpiffeId::ResourceServer { name, .. } => agent_is(name, AgentKind::ResourceServer),
                SpiffeId::Operator { name, .. } => {
                    let operator = world.operators.named(name);
                    operator.is_some_and(|one| one.holding(serial.as_bytes(), &key).is_some())
                }
            }
        })
    }

    /// Whether an entry names the certificate; `None` if the ledger could not be read.
    async fn read_back(services: Arc<Self>, peer: PeerCertificate) -> Option<bool> {
        let (reply, answer) = oneshot::channel();
        let started = std::thread::Builder::new().name("trace".to_owned()).spawn(move || {
            give_way();
            let found = services.is_recorded(&peer);
            // Before the result is sent: the caller may then delete the directory.
            drop(services);
            drop(reply.send(found));
        });
        if let Err(error) = started {
            tracing::warn!(error = %io_reason(&error), "the ledger was not searched for an unknown certificate: the thread could not be started");
        }
        answer.await.ok()?.unwrap_or_else(|error| {
            tracing::error!(%error, "the ledger could not be searched for an unknown certificate");
            None
        })
    }

    /// Searches the serial in the events that plan certificates, the newest entries first. An entry that is older
    /// than the certificate ends the search, unless the clock was set back once: then the times do not show the
    /// order.
    fn is_recorded(&self, peer: &PeerCertificate) -> Result<Option<bool>, ReadError> {
        let serial = hex(peer.serial().as_bytes());
        let oldest = peer.not_before().plus_s(OLDER_S.saturating_neg());
        let is_in_order = self.state.store.read(|world, _| !world.revocations.has_time_gone_back());
        let mut end = self.state.store.head().seq;
        while end > 0 {
            if !self.state.store.is_open() {
                return Ok(None);
            }
            let start = end.saturating_sub(PAGE);
            let mut next = start.saturating_add(1);
            let mut is_older = false;
            while next <= end {
                let left = usize::try_from(end.saturating_sub(next)).unwrap_or(usize::MAX).saturating_add(1);
                let entries = self.state.store.entries(next, left)?;
                let Some(last) = entries.last() else { return Ok(None) };
                next = last.seq.saturating_add(1);
                is_older = last.time < oldest;
                let names = |event: &[u8]| event.windows(serial.len()).any(|part| part == serial.as_bytes());
                if entries.iter().any(|entry| names(&entry.event)) {
                    return Ok(Some(true));
                }
            }
            if is_older && is_in_order {
                break;
            }
            end = start;
        }
        Ok(Some(false))
    }

    /// Raises the alarm if a token of `subject`, presented on `connection`, names an entry that the ledger does not have.
    pub(crate) async fn suspect_token(
        &self,
        subject: String,
        error: PresentError,
        connection: Option<Connection>,
    ) {
        let PresentError::Unrecorded { token, seq } = error else { return };
        let unknown =
            UnknownCredential { credential: "token", subject, id: token.to_string(), seq: Some(seq) };
        self.suspect_rollback(unknown, connection).await;
    }

    async fn suspect_rollback(&self, unknown: UnknownCredential, connection: Option<Connection>) {
        {
            let mut watched = self.notifications.rollback.lock();
            if watched.is_silent() {
                return;
            }
            watched.last = Some(Stopwatch::start());
        }
        let UnknownCredential { credential, subject, id, seq } = unknown;
        let (agent, operator) = match subject.parse() {
            Ok(SpiffeId::Agent { name, .. } | SpiffeId::ResourceServer { name, .. }) => (Some(name), None),
            Ok(SpiffeId::Operator { name, .. }) => (None, Some(name)),
            Err(_) => (None, None),
        };
        let head = self.state.store.head().seq;
        let event = RollbackSuspected { credential, subject, agent, operator, id, seq, head };
        let RollbackSuspected { credential, subject, id, head, .. } = &event;
        self.notifications.meters.alarms().raise(
            Alarm::RollbackSuspected,
            format_args!(
                "{credential} {id} of {subject} was signed by this broker, and its ledger, which ends at {head}, does \
                 not have it: the ledger is an older copy: stop the broker and put the newest ledger back, \
                 see docs/how-to/recover.md"
            ),
        );
        let recorded = self.state.record_request(&event, connection).await;
        if let Err(error) = recorded {
            tracing::error!(%error, "an alarm could not be recorded");
        }
    }
}
