/// How many connections a listener holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConnectionCaps {
    /// In all. A quarter of them is for peers with a certificate that was admitted.
    pub max: usize,
    /// From one peer (an IPv4 address, or a /64 of IPv6). One certificate may have a quarter of them.
    pub max_per_peer: usize,
}

impl ConnectionCaps {
    /// The same within a limit on open files.
    #[must_use]
    pub fn at_most(self, max: usize) -> Self {
        let max = self.max.min(max.max(1));
        Self { max, max_per_peer: self.max_per_peer.min(max) }
    }

    /// Most connections of peers without an admitted certificate, handshakes under way included.
    pub(crate) const fn max_unauthenticated(self) -> usize {
        self.max.saturating_sub(self.max / 4)
    }

    /// Most connections by one certificate: its holder cannot lock out other certificates at its address.
    pub(crate) fn max_per_certificate(self) -> usize {
        (self.max_per_peer / 4).max(1)
    }
}
