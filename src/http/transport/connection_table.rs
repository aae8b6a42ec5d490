use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connection_limits::ConnectionCaps;
use super::known_peers::KnownPeers;
use super::peer_connections::{ConnectionKey, Load, PeerConnections, Waits};
use crate::base::limits::HANDSHAKES_UNDER_WAY_MAX;
use crate::pki::Serial;

/// Handshakes per second of one peer, if its connection limit is lower.
const HANDSHAKES_PER_S: u32 = 64;

/// Completes when the connection is evicted.
pub(crate) type Evicted = oneshot::Receiver<Infallible>;

/// The connections of a listener by peer and by certificate, and the order of their eviction.
pub(crate) struct ConnectionTable {
    caps: ConnectionCaps,
    next: u64,
    counts: ConnectionCounts,
    peers: HashMap<IpAddr, PeerConnections>,
    /// The peers with unauthenticated connections, by their number, then by the oldest; the last one is evicted from.
    by_load: BTreeSet<Load>,
    by_certificate: HashMap<Serial, usize>,
    known: KnownPeers,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct ConnectionCounts {
    pub(crate) unauthenticated: usize,
    /// The number of them that wait for the broker.
    pub(crate) turns: usize,
    pub(crate) authenticated: usize,
}

impl ConnectionTable {
    pub(crate) fn new(caps: ConnectionCaps) -> Self {
        Self {
            caps,
            next: 0,
            counts: ConnectionCounts::default(),
            peers: HashMap::new(),
            by_load: BTreeSet::new(),
            by_certificate: HashMap::new(),
            known: KnownPeers::default(),
        }
    }

    /// Adds an unauthenticated connection of `peer`; `None` if the table is full and no connection can be evicted.
    pub(crate) fn add(&mut self, peer: IpAddr) -> Option<(ConnectionKey, Evicted)> {
        if !self.make_room(peer) {
            return None;
        }
        let (kept, evicted) = oneshot::channel();
        let key = (Waits::Peer, self.next);
        self.next = self.next.saturating_add(1);
        self.counts.unauthenticated = self.counts.unauthenticated.saturating_add(1);
        let is_known = self.known.contains(&peer);
        self.change(peer, |of| {
            of.is_known = is_known;
            of.unauthenticated.insert(key, kept);
        });
        self.sweep();
        Some((key, evicted))
    }

    /// The time at which another handshake of `peer` may begin: see `ConnectionSlot::turn`.
    pub(crate) fn handshake_turn(&mut self, peer: IpAddr) -> Option<Instant> {
        let now = Instant::now();
        if !self.has_turn(peer) {
            return None;
        }
        let most = u32::try_from(self.caps.max_per_peer).unwrap_or(u32::MAX);
        let each = Duration::from_secs(1).checked_div(most.max(HANDSHAKES_PER_S)).unwrap_or_default();
        let of = self.peers.entry(peer).or_default();
        let begin = of.handshakes_until.map_or(now, |until| until.max(now));
        let at = begin.checked_sub(each.saturating_mul(most)).map_or(now, |at| at.max(now));
        if at.saturating_duration_since(now) > each.saturating_mul((most / 2).max(1)) {
            return None;
        }
        of.handshakes_until = begin.checked_add(each);
        Some(at)
    }

    /// Notes the wait of an unauthenticated connection; returns its new key, if it was not evicted.
    pub(crate) fn wait_for(
        &mut self,
        waits: Waits,
        peer: IpAddr,
        key: ConnectionKey,
    ) -> Option<ConnectionKey> {
        let kept = self.forget(peer, key)?;
        let (key, turns) = ((waits, key.1), usize::from(waits == Waits::Broker));
        self.counts.unauthenticated = self.counts.unauthenticated.saturating_add(1);
        self.counts.turns = self.counts.turns.saturating_add(turns);
        self.change(peer, |of| {
            of.turns = of.turns.saturating_add(turns);
            of.unauthenticated.insert(key, kept);
        });
        Some(key)
    }

    /// Makes a connection authenticated: see `ConnectionSlot::keep`.
    pub(crate) fn authenticate(
        &mut self,
        peer: IpAddr,
        key: ConnectionKey,
        serial: Serial,
    ) -> Option<oneshot::Sender<Infallible>> {
        let most = self.caps.max_per_certificate();
        if self.by_certificate.get(&serial).is_some_and(|count| *count >= most) {
            return None;
        }
        let kept = self.forget(peer, key)?;
        self.counts.authenticated = self.counts.authenticated.saturating_add(1);
        self.known.add(peer, self.caps.max);
        self.change(peer, |of| {
            of.is_known = true;
            of.authenticated = of.authenticated.saturating_add(1);
        });
        let count = self.by_certificate.entry(serial).or_insert(0);
        *count = count.saturating_add(1);
        Some(kept)
    }

    /// Removes an authenticated connection.
    pub(crate) fn remove_authenticated(&mut self, peer: IpAddr, serial: &Serial) {
        self.counts.authenticated = self.counts.authenticated.saturating_sub(1);
        self.change(peer, |of| of.authenticated = of.authenticated.saturating_sub(1));
        if let Some(count) = self.by_certificate.get_mut(serial) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_certificate.remove(serial);
            }
        }
    }

    /// Removes an unauthenticated connection, unless it was evicted.
    pub(crate) fn forget(&mut self, peer: IpAddr, key: ConnectionKey) -> Option<oneshot::Sender<Infallible>> {
        let turns = usize::from(key.0 == Waits::Broker);
        let kept = self.change(peer, |of| {
            let kept = of.unauthenticated.remove(&key)?;
            of.turns = of.turns.saturating_sub(turns);
            Some(kept)
        })?;
        self.counts.unauthenticated = self.counts.unauthenticated.saturating_sub(1);
        self.counts.turns = self.counts.turns.saturating_sub(turns);
        Some(kept)
    }

    /// Whether a place for `peer` is free, if necessary after an eviction.
    fn make_room(&mut self, peer: IpAddr) -> bool {
        let own = self.peers.get(&peer);
        let held = own.map_or(0, |of| of.unauthenticated.len().saturating_add(of.authenticated));
        if held >= self.caps.max_per_peer {
            return self.evict_from(peer);
        }
        let unauthenticated = self.counts.unauthenticated;
        let all = unauthenticated.saturating_add(self.counts.authenticated);
        if all < self.caps.max && unauthenticated < self.caps.max_unauthenticated() {
            return true;
        }
        self.by_load.last().map(|(.., peer)| *peer).is_some_and(|peer| self.evict_from(peer))
    }

    /// Evicts an unauthenticated connection of `peer` that waits for the peer, if there is one.
    fn evict_from(&mut self, peer: IpAddr) -> bool {
        let first = self.peers.get(&peer).and_then(PeerConnections::first);
        first.and_then(|key| self.forget(peer, key)).is_some()
    }

    /// Whether another handshake of `peer` may wait for the broker. At most half of the unauthenticated connections do. In
    /// the last quarter of these a peer can have an eighth of all, and the last eighth is reserved for peers that have had
    /// an authenticated connection.
    fn has_turn(&self, peer: IpAddr) -> bool {
        let most = HANDSHAKES_UNDER_WAY_MAX.min(self.caps.max_unauthenticated().div_ceil(2));
        let (left, eighth) = (most.saturating_sub(self.counts.turns), most / 8);
        let (own, is_known) = self.peers.get(&peer).map_or((0, false), |of| (of.turns, of.is_known));
        match left {
            0 => false,
            _ if left <= eighth && !is_known => false,
            _ if left <= eighth.saturating_mul(2) => own < eighth,
            _ => true,
        }
    }

    fn change<T>(&mut self, peer: IpAddr, change: impl FnOnce(&mut PeerConnections) -> T) -> T {
        let of = self.peers.entry(peer).or_default();
        if let Some(load) = of.load(peer) {
            self.by_load.remove(&load);
        }
        let changed = change(of);
        if let Some(load) = of.load(peer) {
            self.by_load.insert(load);
        }
        if of.is_idle(Instant::now()) {
            self.peers.remove(&peer);
        }
        changed
    }

    /// Removes peers without recent connections, once there are more peers than connections.
    fn sweep(&mut self) {
        if self.peers.len() > self.caps.max.saturating_mul(2) {
            let now = Instant::now();
            self.peers.retain(|_, of| !of.is_idle(now));
        }
    }

    #[cfg(test)]
    pub(crate) const fn counts(&self) -> ConnectionCounts {
        self.counts
    }

    #[cfg(test)]
    pub(crate) fn has_peer(&self, peer: &IpAddr) -> bool {
        self.peers.contains_key(peer)
    }

    /// The number of peers, of peers with unauthenticated connections, and of certificates.
    #[cfg(test)]
    pub(crate) fn sizes(&self) -> [usize; 3] {
        [self.peers.len(), self.by_load.len(), self.by_certificate.len()]
    }
}
