use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connection_limits::ConnectionCaps;
use super::connection_table::{ConnectionTable, Evicted};
use super::peer_connections::{ConnectionKey, Waits};
use crate::pki::Serial;

/// The connections of a listener, within its limits.
///
/// A connection is unauthenticated until its handshake has shown an admitted certificate. At the limit, a new connection
/// evicts an unauthenticated one that waits for its peer: one of the same peer if the peer is at its own limit, otherwise
/// one of the peer with the most of them; peers that have had an authenticated connection come last. The oldest
/// connection of a peer is evicted first. A connection that waits for the broker, or is authenticated, is never evicted.
#[derive(Clone)]
pub(crate) struct ConnectionSlots(Arc<Mutex<ConnectionTable>>);

/// A connection's slot, which is returned on drop.
pub(crate) struct ConnectionSlot {
    slots: ConnectionSlots,
    key: ConnectionKey,
    peer: IpAddr,
    holder: Option<Authenticated>,
}

/// The certificate of the connection, and the sender that would have evicted it.
struct Authenticated {
    serial: Serial,
    _kept: oneshot::Sender<Infallible>,
}

impl ConnectionSlots {
    pub(crate) fn new(caps: ConnectionCaps) -> Self {
        Self(Arc::new(Mutex::new(ConnectionTable::new(caps))))
    }

    /// A slot for a connection of `peer`; `None` if all are taken and no connection can be evicted.
    pub(crate) fn take(&self, peer: IpAddr) -> Option<(ConnectionSlot, Evicted)> {
        let (key, evicted) = self.lock().add(peer)?;
        Some((ConnectionSlot { slots: self.clone(), key, peer, holder: None }, evicted))
    }

    fn lock(&self) -> MutexGuard<'_, ConnectionTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionSlot {
    /// The time at which the handshake of this connection may begin, after its complete first message. A peer can have as
    /// many handshakes at once as connections, and then the same number per second, or `HANDSHAKES_PER_S`. `None` if half
    /// of this number wait already, or too many of all peers; the refused one is not counted, so that a flood that has
    /// ended locks no client out.
    pub(crate) fn turn(&mut self) -> Option<Instant> {
        let mut table = self.slots.lock();
        let at = table.handshake_turn(self.peer)?;
        self.key = table.wait_for(Waits::Broker, self.peer, self.key).unwrap_or(self.key);
        Some(at)
    }

    /// From here on the connection waits for its peer.
    pub(crate) fn answered(&mut self) {
        if self.key.0 == Waits::Broker {
            let waiting = self.slots.lock().wait_for(Waits::Peer, self.peer, self.key);
            self.key = waiting.unwrap_or(self.key);
        }
    }

    /// Makes the connection authenticated, after an admitted certificate with this serial. `false` if the certificate is at
    /// its connection limit, or the connection was evicted.
    pub(crate) fn keep(&mut self, serial: Serial) -> bool {
        let kept = self.slots.lock().authenticate(self.peer, self.key, serial);
        self.holder = kept.map(|kept| Authenticated { serial, _kept: kept });
        self.holder.is_some()
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut table = self.slots.lock();
        match &self.holder {
            Some(holder) => table.remove_authenticated(self.peer, &holder.serial),
            // An evicted connection is not in the table.
            None => drop(table.forget(self.peer, self.key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::limits::HANDSHAKES_UNDER_WAY_MAX;
    use crate::http::transport::connection_table::ConnectionCounts;

    fn slots(max: usize, max_per_peer: usize) -> ConnectionSlots {
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
        let slots = slots(8, 2);
        let (_first, mut first) = slots.take(peer(1)).unwrap();
        let (_second, mut second) = slots.take(peer(1)).unwrap();
        assert!(!is_evicted(&mut first), "at the cap");
        let (_third, _) = slots.take(peer(1)).unwrap();
        assert!(is_evicted(&mut first) && !is_evicted(&mut second), "one beyond it");
    }

    #[test]
    fn without_a_free_place_the_peer_with_most_connections_loses_one() {
        let slots = slots(8, 8);
        let (_operator, mut operator) = slots.take(peer(1)).unwrap();
        let mut flood: Vec<_> = (0..5).map(|_| slots.take(peer(2)).unwrap()).collect();
        assert!(!is_evicted(&mut flood[0].1), "six of eight are for unauthenticated connections");
        for attempt in 0..20_u8 {
            flood.push(slots.take(peer(3 + attempt % 2)).unwrap());
        }
        assert!(is_evicted(&mut flood[0].1) && !is_evicted(&mut operator));
        assert_eq!(slots.lock().counts().unauthenticated, 6);
    }

    #[test]
    fn an_authenticated_connection_keeps_its_place() {
        let slots = slots(4, 4);
        let (mut slot, mut evicted) = slots.take(peer(1)).unwrap();
        assert!(slot.keep(serial(1)));
        let flood: Vec<_> = (0..20).map(|_| slots.take(peer(1)).unwrap()).collect();
        assert!(!is_evicted(&mut evicted));
        drop(flood);
        let held = |slots: &ConnectionSlots| {
            let table = slots.lock();
            let (counts, [.., certificates]) = (table.counts(), table.sizes());
            (counts.unauthenticated, counts.authenticated, certificates)
        };
        assert_eq!(held(&slots), (0, 1, 1));
        drop(slot);
        assert_eq!(held(&slots), (0, 0, 0));
    }

    #[test]
    fn a_peer_that_was_authenticated_loses_no_place_to_unknown_ones() {
        let slots = slots(8, 8);
        let (mut slot, _evicted) = slots.take(peer(1)).unwrap();
        assert!(slot.keep(serial(1)));
        drop(slot);
        let (_operator, mut operator) = slots.take(peer(1)).unwrap();
        let flood: Vec<_> = (2..100).map(|i| slots.take(peer(i)).unwrap()).collect();
        assert!(!is_evicted(&mut operator), "one connection each, and this is the oldest");
        drop(flood);
        let own: Vec<_> = (0..8).map(|_| slots.take(peer(1)).unwrap()).collect();
        assert!(is_evicted(&mut operator), "its own peer's");
        drop(own);
    }

    #[test]
    fn authenticated_connections_alone_refuse_a_new_one() {
        let slots = slots(2, 2);
        let mut kept: Vec<_> = (1..=2_u8).map(|i| slots.take(peer(i)).unwrap().0).collect();
        assert!(kept.iter_mut().zip([serial(1), serial(2)]).all(|(slot, serial)| slot.keep(serial)));
        assert!(slots.take(peer(3)).is_none());
        kept.pop();
        assert!(slots.take(peer(3)).is_some());
    }

    #[test]
    fn one_certificate_has_a_quarter_of_what_its_peer_may_have() {
        let slots = slots(32, 8);
        let mut kept: Vec<_> = (0..3_u8).map(|_| slots.take(peer(1)).unwrap().0).collect();
        assert!(kept[0].keep(serial(7)) && kept[1].keep(serial(7)));
        assert!(!kept[2].keep(serial(7)), "one beyond");
        assert!(kept[2].keep(serial(8)), "another certificate");
    }

    #[test]
    fn a_connection_that_waits_for_the_broker_is_not_evicted() {
        let slots = slots(8, 3);
        let (mut turn, mut turn_evicted) = slots.take(peer(1)).unwrap();
        let (mut answered, mut answered_evicted) = slots.take(peer(1)).unwrap();
        let (_silent, mut silent_evicted) = slots.take(peer(1)).unwrap();
        turn.turn().unwrap();
        answered.turn().unwrap();
        answered.answered();
        let (mut next, _) = slots.take(peer(1)).unwrap();
        assert!(is_evicted(&mut answered_evicted) && !is_evicted(&mut silent_evicted), "the oldest");
        next.turn().unwrap();
        let (mut last, _) = slots.take(peer(1)).unwrap();
        assert!(is_evicted(&mut silent_evicted));
        last.turn().unwrap();
        assert!(slots.take(peer(1)).is_none(), "all three wait for the broker");
        assert!(!is_evicted(&mut turn_evicted));
        drop((turn, answered, next, last));
        assert_eq!(slots.lock().counts(), ConnectionCounts::default());
    }

    /// How many of so many connections of `peer` get a turn.
    fn turns(slots: &ConnectionSlots, peer: IpAddr, connections: usize) -> (usize, Vec<ConnectionSlot>) {
        let mut taken: Vec<_> = (0..connections).filter_map(|_| Some(slots.take(peer)?.0)).collect();
        (taken.iter_mut().filter_map(ConnectionSlot::turn).count(), taken)
    }

    #[test]
    fn peers_with_many_handshakes_leave_turns_and_places_to_others() {
        // 96 unauthenticated ones, of which 48 may wait for the broker.
        let slots = slots(128, 64);
        let (first, _held) = turns(&slots, peer(1), 64);
        assert_eq!(first, 36, "three quarters");
        let (second, _held_too) = turns(&slots, peer(2), 32);
        assert_eq!(second, 6, "an eighth");
        assert_eq!(turns(&slots, peer(3), 1).0, 0, "the rest is for the proven");
        let (mut slot, _evicted) = slots.take(peer(4)).unwrap();
        assert!(slot.keep(serial(1)));
        assert_eq!(turns(&slots, peer(4), 8).0, 6);
    }

    #[test]
    fn no_more_handshakes_wait_for_the_broker_than_the_limit() {
        let slots = slots(HANDSHAKES_UNDER_WAY_MAX * 4, HANDSHAKES_UNDER_WAY_MAX * 4);
        let (given, _held) = turns(&slots, peer(1), HANDSHAKES_UNDER_WAY_MAX);
        assert_eq!(given, HANDSHAKES_UNDER_WAY_MAX / 4 * 3);
    }

    #[test]
    fn a_place_that_was_lost_is_not_kept() {
        let slots = slots(4, 1);
        let (mut first, _evicted) = slots.take(peer(1)).unwrap();
        let _second = slots.take(peer(1)).unwrap();
        assert!(!first.keep(serial(1)));
        drop(first);
        assert_eq!(slots.lock().counts().unauthenticated, 1);
    }

    #[test]
    fn handshakes_of_one_peer_are_spread_after_as_many_as_it_may_connect() {
        let slots = slots(8, 4);
        let (mut first, _evicted) = slots.take(peer(1)).unwrap();
        let (mut other, _evicted) = slots.take(peer(2)).unwrap();
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
        assert!(slots.lock().has_peer(&peer(1)), "connecting anew does not help");
    }

    #[test]
    fn peers_that_left_are_forgotten() {
        let slots = slots(2, 2);
        for i in 0..100 {
            drop(slots.take(peer(i)));
        }
        assert_eq!(slots.lock().sizes(), [0; 3]);
    }
}
