//! The keys that decisions on this room's records rely on.

use crate::base::{AgentId, AgentName, CapabilityName, CodeId, InstanceId, RoleName};
use crate::crypto::Digest;
use crate::ledger::Key;

/// All declarations: files are applied one after another.
#[must_use]
pub fn declarations() -> Key {
    Key::of("declarations", b"")
}

/// The declaration of this capability.
#[must_use]
pub fn capability(name: &CapabilityName) -> Key {
    Key::of("capability", name.as_str().as_bytes())
}

/// The declaration of this role.
#[must_use]
pub fn role(name: &RoleName) -> Key {
    Key::of("role", name.as_str().as_bytes())
}

/// The declaration and existence of this agent.
#[must_use]
pub fn agent(id: AgentId) -> Key {
    Key::of_id("agent", id.as_bytes())
}

/// The set of agents.
#[must_use]
pub fn agents() -> Key {
    Key::of("agents", b"")
}

/// The agent of this name.
#[must_use]
pub fn agent_name(name: &AgentName) -> Key {
    Key::of("agent-name", name.as_str().as_bytes())
}

/// The number of instances of this agent.
#[must_use]
pub fn instances(id: AgentId) -> Key {
    Key::of_id("agent-instances", id.as_bytes())
}

/// When this agent last read a secret of the sensitivity `high`.
#[must_use]
pub fn sensitive_reads(id: AgentId) -> Key {
    Key::of_id("agent-sensitive-reads", id.as_bytes())
}

/// Whether this code is still to be redeemed.
#[must_use]
pub fn code(id: CodeId) -> Key {
    Key::of_id("code", id.as_bytes())
}

/// The certificates of this instance.
#[must_use]
pub fn certificate(id: InstanceId) -> Key {
    Key::of_id("certificate", id.as_bytes())
}

/// Which agents have certificates for the public key with this digest.
#[must_use]
pub fn public_key(digest: &Digest) -> Key {
    Key::of("public-key", digest.as_bytes())
}

/// Whether a second use of this code has been reported.
#[must_use]
pub fn code_alarm(id: CodeId) -> Key {
    Key::of_id("code-alarm", id.as_bytes())
}
