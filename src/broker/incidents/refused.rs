//! Certificates that the broker refused: counted by caller and source, summarised in the ledger, and an alarm about
//! contained subjects that keep trying.

use std::time::Duration;

use crate::authn::{AuthnError, incidents_against};
use crate::base::limits::REVOCATION_WAIT_MS;
use crate::base::{Connection, IncidentId};
use crate::broker::caller_services::{AdminServices, AgentServices};
use crate::broker::services::Services;
use crate::broker::world::records;
use crate::pki::tls::{PeerRefusal, RefusedPeer};
use crate::pki::{PeerCertificate, SpiffeId};
use crate::quota::{Note, RefusalCount, RefusalSummary, RefusedAt, RefusedSources};
use crate::revocation::{CertificateRefused, RefusedCaller, RefusedIdentity, RefusedSource, RefusedTimes};
use crate::telemetry::{Alarm, RefusedCertificate};

const UNKNOWN: &str = "unknown";

impl AgentServices {
    /// Counts a handshake that was refused.
    pub fn note_refused_handshake(&self, refused: &RefusedPeer, connection: Connection) {
        self.0.note_refused_handshake(refused, connection);
    }

    /// Counts a request whose certificate was refused.
    pub fn note_refused_request(&self, peer: &PeerCertificate, error: AuthnError) {
        self.0.note_refused_request(peer, error);
    }
}

impl AdminServices {
    /// Counts a request whose certificate was refused.
    pub fn note_refused_request(&self, peer: &PeerCertificate, error: AuthnError) {
        self.0.note_refused_request(peer, error);
    }

    /// Counts a handshake that was refused.
    pub fn note_refused_handshake(&self, refused: &RefusedPeer, connection: Connection) {
        self.0.note_refused_handshake(refused, connection);
    }
}

impl Services {
    /// Counts a request whose certificate was refused.
    pub(crate) fn note_refused_request(&self, peer: &PeerCertificate, error: AuthnError) {
        let Some(connection) = peer.connection() else { return };
        let reason = match error {
            AuthnError::Revoked => Some("revoked"),
            AuthnError::Suspended => Some("suspended"),
            AuthnError::AuthorityRevoked => Some("authority_revoked"),
            AuthnError::Unknown => Some(UNKNOWN),
            AuthnError::OutOfTime
            | AuthnError::WrongKind
            | AuthnError::ResourceServer
            | AuthnError::Elsewhere
            | AuthnError::NotFromHost => None,
        };
        self.note_refused(peer, reason, connection, RefusedAt::Request);
    }

    fn note_refused_handshake(&self, refused: &RefusedPeer, connection: Connection) {
        match refused {
            RefusedPeer::Known(peer, cause) => {
                let reason = match cause {
                    PeerRefusal::Revoked => Some("revoked"),
                    PeerRefusal::Suspended => Some("suspended"),
                    PeerRefusal::Authority => Some("authority_revoked"),
                    PeerRefusal::Unknown => Some(UNKNOWN),
                    PeerRefusal::OutOfTime | PeerRefusal::WrongKind => None,
                };
                let peer = peer.clone().presented_on(connection);
                self.note_refused(&peer, reason, connection, RefusedAt::Handshake);
            }
            RefusedPeer::Unknown => {
                let (name, reason) = (None, "authority_unknown");
                let caller = RefusedIdentity { kind: UNKNOWN, name, reason, incidents: Vec::new() };
                self.count_refused(caller, connection, RefusedAt::Handshake);
            }
        }
    }

    /// Counts a refusal of `peer`, which an authority of the broker signed, and raises the alarm if it is contained. A
    /// certificate that has expired, or is at the wrong listener, counts only if it is contained.
    fn note_refused(
        &self,
        peer: &PeerCertificate,
        reason: Option<&'static str>,
        connection: Connection,
        at: RefusedAt,
    ) {
        let incidents = self.state.store.read(|world, _| incidents_against(peer, records(world)));
        let contained = (!incidents.is_empty()).then_some("contained");
        let Some(reason) = contained.or(reason) else { return };
        let (kind, name) = match peer.spiffe() {
            SpiffeId::Agent { name, .. } => ("agent", name.to_string()),
            SpiffeId::ResourceServer { name, .. } => ("resource-server", name.to_string()),
            SpiffeId::Operator { name, .. } => ("operator", name.to_string()),
        };
        if let Some(incident) = incidents.first() {
            self.raise_contained(*incident, &format!("{kind}/{name}"), connection, at);
        }
        incidents.iter().for_each(|one| self.notifications.refusals.note_last(one, connection.source));
        let is_contained = !incidents.is_empty();
        self.count_refused(RefusedIdentity { kind, name: Some(name), reason, incidents }, connection, at);
        if is_contained {
            self.notifications.refusals.ask_for_summary();
        }
    }

    fn count_refused(&self, caller: RefusedIdentity, connection: Connection, at: RefusedAt) {
        let Connection { source, id } = connection;
        let stage = match at {
            RefusedAt::Handshake => "handshake",
            RefusedAt::Request => "request",
        };
        let RefusedIdentity { kind, name, reason, .. } = &caller;
        let (identity, reason) = (*kind, *reason);
        tracing::debug!(
            connection = %id, peer = %source, identity, name = name.as_deref().unwrap_or_default(), reason, stage,
            "a certificate was refused"
        );
        self.notifications.meters.certificate_refused(RefusedCertificate { identity, reason, stage });
        self.notifications.refusals.count(caller, source, at);
    }

    /// At most one alarm a minute for each incident and source.
    fn raise_contained(&self, incident: IncidentId, subject: &str, connection: Connection, at: RefusedAt) {
        let Connection { source, id } = connection;
        let Note::Record { unrecorded } = self.notifications.refusals.note_alarm(&incident, source) else {
            return;
        };
        let what = match at {
            RefusedAt::Handshake => "was presented at a handshake",
            RefusedAt::Request => "was used for a request",
        };
        self.notifications.meters.alarms().raise(
            Alarm::ContainedSubjectRefused,
            format_args!(
                "{subject}: a certificate of this contained subject {what} from {source} (connection {id}) and refused, {unrecorded} more times since the last alarm; incident {incident}: find the program at this address and stop it"
            ),
        );
    }

    /// Records a summary of the certificates that were refused since the last one: at most one entry a minute, the first one
    /// about a contained subject at once. If it
    /// cannot be recorded, the next one has its counts.
    pub async fn record_refused_certificates(&self) {
        if self.state.store.is_read_only() {
            return;
        }
        let Some(summary) = self.notifications.refusals.take_due() else { return };
        let event = summarised(&summary);
        let wait = Duration::from_millis(REVOCATION_WAIT_MS);
        match tokio::time::timeout(wait, self.state.record(&event)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "a summary of refused certificates could not be recorded");
                self.notifications.refusals.restore(summary);
            }
            // The ledger may still take it: its counts are not told twice.
            Err(_) => tracing::error!("a summary of refused certificates was not recorded in time"),
        }
    }
}

fn summarised(summary: &RefusalSummary<RefusedIdentity>) -> CertificateRefused {
    let caller = |(identity, sources): (&RefusedIdentity, &RefusedSources)| {
        let by_source = sources.by_source.iter();
        RefusedCaller {
            kind: identity.kind,
            name: identity.name.clone(),
            reason: identity.reason,
            incidents: identity.incidents.clone(),
            sources: by_source
                .map(|(source, count)| RefusedSource { source: source.to_string(), times: times(*count) })
                .collect(),
            left_out: Some(sources.left_out).filter(|count| *count > 0),
            others: others(sources.others),
        }
    };
    CertificateRefused {
        since: summary.since.map(|since| since.to_string()).unwrap_or_default(),
        callers: summary.callers.iter().map(caller).collect(),
        others: others(summary.others),
    }
}

const fn times(count: RefusalCount) -> RefusedTimes {
    RefusedTimes { presented: count.handshakes, requests: count.requests }
}

fn others(count: RefusalCount) -> Option<RefusedTimes> {
    (!count.is_zero()).then(|| times(count))
}
