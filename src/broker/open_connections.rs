use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::last_seen::LastSeen;
use crate::base::limits::CLOSED_CONNECTIONS_MAX;
use crate::base::{AgentName, Timestamp};
use crate::pki::{PeerCertificate, SpiffeId};

/// The open connections of client certificates, and the last ones that the broker closed because of a revocation. In
/// memory only.
#[derive(Debug, Default)]
pub struct OpenConnections(Mutex<Connections>);

#[derive(Debug, Default)]
struct Connections {
    /// By serial number, address and key: the peer, and its number of connections.
    open: HashMap<Vec<u8>, (Arc<PeerCertificate>, usize)>,
    closed: VecDeque<ClosedConnection>,
    seen: LastSeen,
}

/// A connection that the broker closed because its certificate was no longer accepted.
#[derive(Clone, Debug)]
pub struct ClosedConnection {
    /// The peer.
    pub peer: Arc<PeerCertificate>,
    /// When the connection had ended.
    pub at: Timestamp,
}

impl OpenConnections {
    /// A connection of `peer` is open from now on.
    pub fn opened(&self, peer: &PeerCertificate) {
        let mut connections = self.lock();
        let (_, count) = connections.open.entry(key(peer)).or_insert_with(|| (Arc::new(peer.clone()), 0));
        *count = count.saturating_add(1);
        if let Some(agent) = agent_of(peer) {
            connections.seen.opened(agent);
        }
    }

    /// A connection of `peer` has ended at `at`; `is_cut` if the broker closed it because of a revocation.
    pub fn ended(&self, peer: &PeerCertificate, at: Timestamp, is_cut: bool) {
        let mut connections = self.lock();
        let key = key(peer);
        let Some((held, count)) = connections.open.get_mut(&key) else { return };
        *count = count.saturating_sub(1);
        let (held, is_last) = (Arc::clone(held), *count == 0);
        if is_last {
            connections.open.remove(&key);
        }
        if let Some(agent) = agent_of(peer) {
            connections.seen.ended(agent, at);
        }
        if is_cut {
            if connections.closed.len() >= CLOSED_CONNECTIONS_MAX {
                connections.closed.pop_front();
            }
            connections.closed.push_back(ClosedConnection { peer: held, at });
        }
    }

    /// The last time since the start at which an agent or resource server was connected: `now` while a connection is open.
    pub(crate) fn last_seen(&self, agent: &AgentName, now: Timestamp) -> Option<Timestamp> {
        self.lock().seen.at(agent, now)
    }

    /// Forgets when the agent or resource server, which is deleted, was connected.
    pub(crate) fn forget(&self, agent: &AgentName) {
        self.lock().seen.forget(agent);
    }

    /// The peers with open connections, and how many each has.
    #[must_use]
    pub fn open(&self) -> Vec<(Arc<PeerCertificate>, usize)> {
        self.lock().open.values().cloned().collect()
    }

    /// The connections that were closed since `since`, the oldest first; the newest `CLOSED_CONNECTIONS_MAX` are known.
    #[must_use]
    pub fn closed_since(&self, since: Timestamp) -> Vec<ClosedConnection> {
        self.lock().closed.iter().filter(|closed| closed.at >= since).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The agent or resource server of the certificate.
fn agent_of(peer: &PeerCertificate) -> Option<&AgentName> {
    match peer.spiffe() {
        SpiffeId::Agent { name, .. } | SpiffeId::ResourceServer { name, .. } => Some(name),
        SpiffeId::Operator { .. } => None,
    }
}

fn key(peer: &PeerCertificate) -> Vec<u8> {
    let from = peer.from().map(|from| from.to_string()).unwrap_or_default();
    [peer.serial().as_bytes().as_slice(), peer.key().as_bytes(), from.as_bytes()].concat()
}
