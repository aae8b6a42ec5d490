use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// The connections of a listener, within its limits.
///
/// A connection is unauthenticated until its handshake has shown an admitted certificate. At the limit, a new connection
/// evicts an unauthenticated one that waits for its peer: one of the same peer if the peer is at its own limit, otherwise
/// one of the peer with the most of them; peers that have had an authenticated connection come last. The oldest
/// connection of a peer is evicted first. A connection that waits for the broker, or is authenticated, is never evicted.
#[derive(Clone)]
pub(crate) struct ConnectionSlots(Arc<Mutex<Table>>);

/// A connection's place, which is returned on drop.
pub(crate) struct ConnectionSlot {
    places: ConnectionSlots,
    key: ConnectionKey,
    peer: IpAddr,
    holder: Option<Authenticated>,
}

/// The certificate of the connection, and the sender that would have evicted it.
struct Authenticated {
    serial: Serial,
    _kept: oneshot::Sender<Infallible>,
}

struct Table {
    caps: ConnectionCaps,
    next: u64,
    unauthenticated: usize,
    /// The number of them that wait for the broker.
    turns: usize,
    authenticated: usize,
    peers: HashMap<IpAddr, PeerConnections>,
    /// The peers with unauthenticated connections, by their number, then by the oldest; the last one is evicted from.
    by_load: BTreeSet<Load>,
    by_certificate: HashMap<Serial, usize>,
    proven: KnownPeers,
}

impl ConnectionSlots {
    pub(crate) fn new(caps: ConnectionCaps) -> Self {
        Self(Arc::new(Mutex::new(Table {
            caps,
            next: 0,
            unauthenticated: 0,
            turns: 0,
            authenticated: 0,
            peers: HashMap::new(),
            by_load: BTreeSet::new(),
            by_certificate: HashMap::new(),
            proven: KnownPeers::default(),
        })))
    }

    /// A place for a connection of `peer`; `None` if all places are taken and none can be evicted.
    pub(crate) fn take(&self, peer: IpAddr) -> Option<(ConnectionSlot, Evicted)> {
        let mut table = self.lock();
        if !table.make_room(peer) {
            return None;
        }
        let (kept, evicted) = oneshot::channel();
        let key = (Waits::Peer, table.next);
        table.next = table.next.saturating_add(1);
        table.unauthenticated = table.unauthenticated.saturating_add(1);
        let is_proven = table.proven.contains(&peer);
        table.change(peer, |of| {
            of.is_proven = is_proven;
            of.unauthenticated.insert(key, kept);
        });
        table.sweep();
        Some((ConnectionSlot { places: self.clone(), key, peer, holder: None }, evicted))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionSlot {
    /// The time at which the handshake of this connection may begin, after its complete first message. A peer can have as
    /// many handshakes at once as connections, and then the same number per second, or `HANDSHAKES_PER_S`. `None` if half
    /// of this number wait already, or too many of all peers; the refused one is not counted, so that a flood that has
    /// ended locks no client out.
    pub(crate) fn turn(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let places = self.places.clone();
        let mut table = places.lock();
        if !table.has_turn(self.peer) {
            return None;
        }
        let most = u32::try_from(table.caps.max_per_peer).unwrap_or(u32::MAX);
        let each = Duration::from_secs(1).checked_div(most.max(HANDSHAKES_PER_S)).unwrap_or_default();
        let of = table.peers.entry(self.peer).or_default();
        let begin = of.handshakes_until.map_or(now, |until| until.max(now));
        let at = begin.checked_sub(each.saturating_mul(most)).map_or(now, |at| at.max(now));
        if at.saturating_duration_since(now) > each.saturating_mul((most / 2).max(1)) {
            return None;
        }
        of.handshakes_until = begin.checked_add(each);
        self.wait_for(Waits::Broker, &mut table);
        Some(at)
    }

    /// From here on the connection waits for its peer.
    pub(crate) fn answered(&mut self) {
        if self.key.0 == Waits::Broker {
            let places = self.places.clone();
            self.wait_for(Waits::Peer, &mut places.lock());
        }
    }

    fn wait_for(&mut self, waits: Waits, table: &mut Table) {
        let Some(kept) = table.forget(self.peer, self.key) else { return };
        self.key.0 = waits;
        let (key, turns) = (self.key, usize::from(waits == Waits::Broker));
        table.unauthenticated = table.unauthenticated.saturating_add(1);
        table.turns = table.turns.saturating_add(turns);
        table.change(self.peer, |of| {
            of.turns = of.turns.saturating_add(turns);
            of.unauthenticated.insert(key, kept);
        });
    }

    /// Makes the connection authenticated, after an admitted certificate with this serial. `false` if the certificate is at
    /// its connection limit, or the connection was evicted.
    pub(crate) fn keep(&mut self, serial: Serial) -> bool {
        let mut table = self.places.lock();
        let most = table.caps.max_per_certificate();
        if table.by_certificate.get(&serial).is_some_and(|count| *count >= most) {
            return false;
        }
        let Some(kept) = table.forget(self.peer, self.key) else { return false };
        table.authenticated = table.authenticated.saturating_add(1);
        let most_proven = table.caps.max;
        table.proven.add(self.peer, most_proven);
        table.change(self.peer, |of| {
            of.is_proven = true;
            of.authenticated = of.authenticated.saturating_add(1);
        });
        let count = table.by_certificate.entry(serial).or_insert(0);
        *count = count.saturating_add(1);
        drop(table);
        self.holder = Some(Authenticated { serial, _kept: kept });
        true
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut table = self.places.lock();
        let Some(holder) = &self.holder else {
            // An evicted connection is not in the table.
            drop(table.forget(self.peer, self.key));
            return;
        };
        table.authenticated = table.authenticated.saturating_sub(1);
        table.change(self.peer, |of| of.authenticated = of.authenticated.saturating_sub(1));
        if let Some(count) = table.by_certificate.get_mut(&holder.serial) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                table.by_certificate.remove(&holder.serial);
            }
        }
    }
}

impl Table {
    /// Whether a place for `peer` is free, if necessary after an eviction.
    fn make_room(&mut self, peer: IpAddr) -> bool {
        let own = self.peers.get(&peer);
        let held = own.map_or(0, |of| of.unauthenticated.len().saturating_add(of.authenticated));
        if held >= self.caps.max_per_peer {
            return self.evict_from(peer);
        }
        let all = self.unauthenticated.saturating_add(self.authenticated);
        if all < self.caps.max && self.unauthenticated < self.caps.max_unauthenticated() {
            return true;
        }
        self.by_load.last().map(|(.., peer)| *peer).is_some_and(|peer| self.evict_from(peer))
    }

    /// Evicts an unauthenticated connection of `peer` that waits for the peer, if there is one.
    fn evict_from(&mut self, peer: IpAddr) -> bool {
        let first = self.peers.get(&peer).and_then(PeerConnections::first);
        first.and_then(|key| self.forget(peer, key)).is_some()
    }

    /// Removes an unauthenticated connection from the table, if it is there.
    fn forget(&mut self, peer: IpAddr, key: ConnectionKey) -> Option<oneshot::Sender<Infallible>> {
        let turns = usize::from(key.0 == Waits::Broker);
        let kept = self.change(peer, |of| {
            let kept = of.unauthenticated.remove(&key)?;
            of.turns = of.turns.saturating_sub(turns);
            Some(kept)
        })?;
        self.unauthenticated = self.unauthenticated.saturating_sub(1);
        self.turns = self.turns.saturating_sub(turns);
        Some(kept)
    }

    /// Whether another handshake of `peer` may wait for the broker. At most half of the unauthenticated connections do. In
    /// the last quarter of these a peer can have an eighth of all, and the last eighth is reserved for peers that have had
    /// an authenticated connection.
    fn has_turn(&self, peer: IpAddr) -> bool {
        let most = HANDSHAKES_UNDER_WAY_MAX.min(self.caps.max_unauthenticated().div_ceil(2));
        let (left, eighth) = (most.saturating_sub(self.turns), most / 8);
        let (own, is_proven) = self.peers.get(&peer).map_or((0, false), |of| (of.turns, of.is_proven));
        match left {
            0 => false,
            _ if left <= eighth && !is_proven => false,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(max: usize, max_per_peer: usize) -> ConnectionSlots {
        ConnectionSlots::new(ConnectionCaps { max, max_per_peer })
    }

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn serial(byte: u8) -> Serial {
        Serial::from_bytes([byte; 16])
    }

    fn is_evicted(evicted: &mut Evicted) -> bool {
        evicted.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn a_new_connection_takes_the_place_of_its_peer_s_oldest() {
        let places = places(8, 2);
        let (_first, mut first) = places.take(peer(1)).unwrap();
        let (_second, mut second) = places.take(peer(1)).unwrap();
        assert!(!is_evicted(&mut first), "at the cap");
        let (_third, _) = places.take(peer(1)).unwrap();
        assert!(is_evicted(&mut first) && !is_evicted(&mut second), "one beyond it");
    }

    #[test]
    fn without_a_free_place_the_peer_with_most_connections_loses_one() {
        let places = places(8, 8);
        let (_operator, mut operator) = places.take(peer(1)).unwrap();
        let mut flood: Vec<_> = (0..5).map(|_| places.take(peer(2)).unwrap()).collect();
        assert!(!is_evicted(&mut flood[0].1), "six of eight are for unauthenticated connections");
        for attempt in 0..20_u8 {
            flood.push(places.take(peer(3 + attempt % 2)).unwrap());
        }
        assert!(is_evicted(&mut flood[0].1) && !is_evicted(&mut operator));
        assert_eq!(places.lock().unauthenticated, 6);
    }

    #[test]
    fn an_authenticated_connection_keeps_its_place() {
        let places = places(4, 4);
        let (mut place, mut evicted) = places.take(peer(1)).unwrap();
        assert!(place.keep(serial(1)));
        let flood: Vec<_> = (0..20).map(|_| places.take(peer(1)).unwrap()).collect();
        assert!(!is_evicted(&mut evicted));
        drop(flood);
        let held = |places: &ConnectionSlots| {
            let table = places.lock();
            (table.unauthenticated, table.authenticated, table.by_certificate.len())
        };
        assert_eq!(held(&places), (0, 1, 1));
        drop(place);
        assert_eq!(held(&places), (0, 0, 0));
    }

    #[test]
    fn a_peer_that_was_authenticated_loses_no_place_to_unknown_ones() {
        let places = places(8, 8);
        let (mut place, _evicted) = places.take(peer(1)).unwrap();
        assert!(place.keep(serial(1)));
        drop(place);
        let (_operator, mut operator) = places.take(peer(1)).unwrap();
        let flood: Vec<_> = (2..100).map(|i| places.take(peer(i)).unwrap()).collect();
        assert!(!is_evicted(&mut operator), "one connection each, and this is the oldest");
        drop(flood);
        let own: Vec<_> = (0..8).map(|_| places.take(peer(1)).unwrap()).collect();
        assert!(is_evicted(&mut operator), "its own peer's");
        drop(own);
    }

    #[test]
    fn authenticated_connections_alone_refuse_a_new_one() {
        let places = places(2, 2);
        let mut kept: Vec<_> = (1..=2_u8).map(|i| places.take(peer(i)).unwrap().0).collect();
        assert!(kept.iter_mut().zip([serial(1), serial(2)]).all(|(place, serial)| place.keep(serial)));
        assert!(places.take(peer(3)).is_none());
        kept.pop();
        assert!(places.take(peer(3)).is_some());
    }

    #[test]
    fn one_certificate_has_a_quarter_of_what_its_peer_may_have() {
        let places = places(32, 8);
        let mut kept: Vec<_> = (0..3_u8).map(|_| places.take(peer(1)).unwrap().0).collect();
        assert!(kept[0].keep(serial(7)) && kept[1].keep(serial(7)));
        assert!(!kept[2].keep(serial(7)), "one beyond");
        assert!(kept[2].keep(serial(8)), "another certificate");
    }

    #[test]
    fn a_connection_that_waits_for_the_broker_is_not_evicted() {
        let places = places(8, 3);
        let (mut turn, mut turn_evicted) = places.take(peer(1)).unwrap();
        let (mut answered, mut answered_evicted) = places.take(peer(1)).unwrap();
        let (_silent, mut silent_evicted) = places.take(peer(1)).unwrap();
        turn.turn().unwrap();
        answered.turn().unwrap();
        answered.answered();
        let (mut next, _) = places.take(peer(1)).unwrap();
        assert!(is_evicted(&mut answered_evicted) && !is_evicted(&mut silent_evicted), "the oldest");
        next.turn().unwrap();
        let (mut last, _) = places.take(peer(1)).unwrap();
        assert!(is_evicted(&mut silent_evicted));
        last.turn().unwrap();
        assert!(places.take(peer(1)).is_none(), "all three wait for the broker");
        assert!(!is_evicted(&mut turn_evicted));
        drop((turn, answered, next, last));
        let table = places.lock();
        assert_eq!((table.turns, table.unauthenticated), (0, 0));
    }

    /// How many of so many connections of `peer` get a turn.
    fn turns(places: &ConnectionSlots, peer: IpAddr, connections: usize) -> (usize, Vec<ConnectionSlot>) {
        let mut taken: Vec<_> = (0..connections).filter_map(|_| Some(places.take(peer)?.0)).collect();
        (taken.iter_mut().filter_map(ConnectionSlot::turn).count(), taken)
    }

    #[test]
    fn peers_with_many_handshakes_leave_turns_and_places_to_others() {
        // 96 unauthenticated ones, of which 48 may wait for the broker.
        let places = places(128, 64);
        let (first, _held) = turns(&places, peer(1), 64);
        assert_eq!(first, 36, "three quarters");
        let (second, _held_too) = turns(&places, peer(2), 32);
        assert_eq!(second, 6, "an eighth");
        assert_eq!(turns(&places, peer(3), 1).0, 0, "the rest is for the proven");
        let (mut place, _evicted) = places.take(peer(4)).unwrap();
        assert!(place.keep(serial(1)));
        assert_eq!(turns(&places, peer(4), 8).0, 6);
    }

    #[test]
    fn no_more_handshakes_wait_for_the_broker_than_the_limit() {
        let places = places(HANDSHAKES_UNDER_WAY_MAX * 4, HANDSHAKES_UNDER_WAY_MAX * 4);
        let (given, _held) = turns(&places, peer(1), HANDSHAKES_UNDER_WAY_MAX);
        assert_eq!(given, HANDSHAKES_UNDER_WAY_MAX / 4 * 3);
    }

    #[test]
    fn a_place_that_was_lost_is_not_kept() {
        let places = places(4, 1);
        let (mut first, _evicted) = places.take(peer(1)).unwrap();
        let _second = places.take(peer(1)).unwrap();
        assert!(!first.keep(serial(1)));
        drop(first);
        assert_eq!(places.lock().unauthenticated, 1);
    }

    #[test]
    fn handshakes_of_one_peer_are_spread_after_as_many_as_it_may_connect() {
        let places = places(8, 4);
        let (mut first, _evicted) = places.take(peer(1)).unwrap();
        let (mut other, _evicted) = places.take(peer(2)).unwrap();
        let now = Instant::now();
        let due: Vec<Option<Instant>> = (0..64).map(|_| first.turn()).collect();
        assert!(due[3].unwrap() <= Instant::now(), "at once");
        assert!(
            due.iter().flatten().any(|at| *at > now + Duration::from_millis(10)),
            "then one after another"
        );
        assert!(due.iter().flatten().count() < 64, "a flood is owed no more");
        assert!(other.turn().unwrap() <= Instant::now(), "another peer does not wait");
        drop((first, other));
        assert!(places.lock().peers.contains_key(&peer(1)), "connecting anew does not help");
    }

    #[test]
    fn peers_that_left_are_forgotten() {
        let places = places(2, 2);
        for i in 0..100 {
            drop(places.take(peer(i)));
        }
        let table = places.lock();
        assert_eq!((table.peers.len(), table.by_load.len()), (0, 0));
    }
}
