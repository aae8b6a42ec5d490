use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::entropy::Entropy;
use super::id::ConnectionId;
use super::timestamp::Timestamp;

/// An accepted connection of a listener, and the address of its peer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// Its id, in log lines and entries.
    pub id: ConnectionId,
    /// The address of the peer: an IPv4 address in its own spelling.
    pub source: IpAddr,
}

impl Connection {
    /// The connection that `source` opened at `now`.
    #[must_use]
    pub fn accepted(source: IpAddr, now: Timestamp, entropy: &dyn Entropy) -> Self {
        Self { id: ConnectionId::mint(now, entropy), source: source.to_canonical() }
    }
}
