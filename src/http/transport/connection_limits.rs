/// Connection limits of a listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConnectionCaps {
    /// In all. A quarter is reserved for peers with an admitted certificate.
    pub max: usize,
    /// Per peer (an IPv4 address, or a /64 of IPv6). One certificate can have a quarter of them.
    pub max_per_peer: usize,
}

impl ConnectionCaps {
    /// These limits, lowered to a limit of open files.
    #[must_use]
    pub fn at_most(self, max: usize) -> Self {
        let max = self.max.min(max.max(1));
        Self { max, max_per_peer: self.max_per_peer.min(max) }
    }

    /// Maximum number of connections without an admitted certificate, including handshakes in progress.
    pub(crate) const fn max_unauthenticated(self) -> usize {
        self.max.saturating_sub(self.max / 4)
    }

    /// Maximum number of connections per certificate, so that its holder cannot lock out others at the same address.
    pub(crate) fn max_per_certificate(self) -> usize {
        (self.max_per_peer / 4).max(1)
    }
}
