//! The keys that decisions on this room's records rely on.

use crate::crypto::Digest;
use crate::ledger::Key;

/// Whether the request with this slot was carried out before. Some requests share a key, so that the
/// ledger keeps at most 65,536 of them in memory; a request that shares one is decided again.
#[must_use]
pub fn slot(slot: &Digest) -> Key {
    let [first, second, ..] = *slot.as_bytes();
    Key::of("idempotency", &[first, second])
}
