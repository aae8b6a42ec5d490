use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// What an unauthenticated connection waits for, and its age.
pub(crate) type ConnectionKey = (Waits, u64);

/// What an unauthenticated connection waits for; in the order of eviction.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Waits {
    /// Its peer: for the first message, or for the next one.
    Peer,
    /// The broker: its handshake waits for its turn, or is computed. It is not evicted.
    Broker,
}

/// Whether the peer is unproven, the number of its unauthenticated connections, the one to evict, and the peer.
pub(crate) type Load = (bool, usize, Reverse<ConnectionKey>, IpAddr);

/// The connections of one peer.
#[derive(Default)]
pub(crate) struct PeerConnections {
    /// In the order of eviction. A dropped sender evicts.
    pub(crate) unauthenticated: BTreeMap<ConnectionKey, oneshot::Sender<Infallible>>,
    /// How many of them wait for the broker.
    pub(crate) turns: usize,
    pub(crate) authenticated: usize,
    /// As of its newest connection.
    pub(crate) is_proven: bool,
    /// When all its handshakes so far would have been due, one after another.
    pub(crate) handshakes_until: Option<Instant>,
}

impl PeerConnections {
    pub(crate) fn load(&self, peer: IpAddr) -> Option<Load> {
        Some((!self.is_proven, self.unauthenticated.len(), Reverse(self.first()?), peer))
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
