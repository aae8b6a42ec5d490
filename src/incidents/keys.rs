//! The keys that decisions on this room's records rely on.

use crate::base::IncidentId;
use crate::ledger::Key;

/// The record of this incident.
#[must_use]
pub fn incident(id: IncidentId) -> Key {
    Key::of_id("incident", id.as_bytes())
}

/// Whether the broker is frozen.
#[must_use]
pub fn freezing() -> Key {
    Key::of("broker-freezing", b"")
}

/// Which subjects are contained by which incidents.
#[must_use]
pub fn open() -> Key {
    Key::of("incidents-open", b"")
}
