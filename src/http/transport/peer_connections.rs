use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// The wait and the age of an unauthenticated connection.
pub(crate) type ConnectionKey = (Waits, u64);

/// The wait of an unauthenticated connection, in the order of eviction.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Waits {
    /// For a message of its peer.
    Peer,
    /// For the broker: its handshake waits for its turn, or is computed. It is not evicted.
    Broker,
}

/// Whether the peer is unknown, the number of its unauthenticated connections, the one to evict, and the peer.
pub(crate) type Load = (bool, usize, Reverse<ConnectionKey>, IpAddr);

/// The connections of one peer.
#[derive(Default)]
pub(crate) struct PeerConnections {
    /// In the order of eviction. Dropping a sender evicts the connection.
    pub(crate) unauthenticated: BTreeMap<ConnectionKey, oneshot::Sender<Infallible>>,
    /// The number of them that wait for the broker.
    pub(crate) turns: usize,
    pub(crate) authenticated: usize,
    /// At its newest connection.
    pub(crate) is_known: bool,
    /// The time at which all its handshakes so far would have ended, one after another.
    pub(crate) handshakes_until: Option<Instant>,
}

impl PeerConnections {
    pub(crate) fn load(&self, peer: IpAddr) -> Option<Load> {
        Some((!self.is_known, self.unauthenticated.len(), Reverse(self.first()?), peer))
    }

    /// The connection to evict, if there is one.
    pub(crate) fn first(&self) -> Option<ConnectionKey> {
        self.unauthenticated.keys().next().copied().filter(|(waits, _)| *waits != Waits::Broker)
    }

    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.unauthenticated.is_empty()
            && self.authenticated == 0
            && self.handshakes_until.is_none_or(|until| until <= now)
    }
}
