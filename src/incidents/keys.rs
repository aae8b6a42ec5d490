//! The keys that decisions on this room's records rely on.

use super::incident::IncidentSubject;
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

/// Whether a new incident contains this subject. The lift of an incident only advances the incident.
#[must_use]
pub fn containing(subject: &IncidentSubject) -> Key {
    let which = subject.id.as_ref().or(subject.name.as_ref());
    let text = format!("{}/{}", subject.kind, which.map_or("", String::as_str));
    Key::of("incident-subject", text.as_bytes())
}

/// Which incidents are open.
#[must_use]
pub fn open() -> Key {
    Key::of("incidents-open", b"")
}
