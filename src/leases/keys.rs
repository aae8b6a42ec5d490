//! The keys that decisions on this room's records rely on.

use crate::base::{AgentId, CapabilityName, LeaseId};
use crate::ledger::Key;

/// What leases of this capability are of.
#[must_use]
pub fn offer(capability: &CapabilityName) -> Key {
    Key::of("lease-offer", capability.as_str().as_bytes())
}

/// How many leases this agent has.
#[must_use]
pub fn of_agent(agent: AgentId) -> Key {
    Key::of("leases-of-agent", agent.as_bytes())
}

/// How far this lease has come, as long as [`endings`] says nothing.
#[must_use]
pub fn lease(lease: LeaseId) -> Key {
    Key::of("lease", lease.as_bytes())
}

/// That leases, whichever, are to end.
#[must_use]
pub fn endings() -> Key {
    Key::of("lease-endings", b"")
}
