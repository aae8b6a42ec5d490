//! The keys that decisions on this room's records rely on.

use crate::base::{AgentId, ApprovalId};
use crate::ledger::Key;

/// The votes on this approval, and its uses.
#[must_use]
pub fn approval(id: ApprovalId) -> Key {
    Key::of_id("approval", id.as_bytes())
}

/// Which approvals this agent has asked for.
#[must_use]
pub fn of_agent(agent: AgentId) -> Key {
    Key::of_id("approvals-of-agent", agent.as_bytes())
}
