//! The keys that decisions on this room's records rely on.

use crate::base::{AgentId, CapabilityName, LeaseId};
use crate::ledger::Key;

/// The offer of leases of this capability.
#[must_use]
pub fn offer(capability: &CapabilityName) -> Key {
    Key::of("lease-offer", capability.as_str().as_bytes())
}

/// The number of leases of this agent.
#[must_use]
pub fn of_agent(agent: AgentId) -> Key {
    Key::of("leases-of-agent", agent.as_bytes())
}

/// The stage of this lease, unless it is in [`endings`].
#[must_use]
pub fn lease(lease: LeaseId) -> Key {
    Key::of("lease", lease.as_bytes())
}

/// The selection of leases that are revoked.
#[must_use]
pub fn endings() -> Key {
    Key::of("lease-endings", b"")
}
