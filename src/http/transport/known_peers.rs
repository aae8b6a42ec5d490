use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// The latest peers with an authenticated connection, up to a maximum. An attacker without a certificate is not one of
/// them, unless it shares an address with one.
#[derive(Debug, Default)]
pub(crate) struct KnownPeers {
    turns: HashMap<IpAddr, u64>,
    order: BTreeMap<u64, IpAddr>,
    next: u64,
}

impl KnownPeers {
    /// Notes an authenticated connection of `peer`; beyond `most` peers the oldest entry is removed.
    pub(crate) fn add(&mut self, peer: IpAddr, most: usize) {
        if let Some(before) = self.turns.insert(peer, self.next) {
            self.order.remove(&before);
        }
        self.order.insert(self.next, peer);
        self.next = self.next.saturating_add(1);
        if self.order.len() > most
            && let Some((_, first)) = self.order.pop_first()
        {
            self.turns.remove(&first);
        }
    }

    pub(crate) fn contains(&self, peer: &IpAddr) -> bool {
        self.turns.contains_key(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_peers_are_remembered() {
        let peer = |last: u8| IpAddr::from([10, 0, 0, last]);
        let mut known = KnownPeers::default();
        (1..=4).for_each(|i| known.add(peer(i), 4));
        known.add(peer(1), 4);
        known.add(peer(5), 4);
        let remembered = [1, 2, 3, 4, 5].map(|i| known.contains(&peer(i)));
        assert_eq!(remembered, [true, false, true, true, true], "the first of them was there again");
        assert_eq!((known.turns.len(), known.order.len()), (4, 4));
    }
}
