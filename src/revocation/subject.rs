use serde::{Deserialize, Serialize};

use crate::base::encoding::hex;
use crate::base::{
    AgentId, CapabilityName, InstanceId, Network, OperatorEnrolment, OperatorId, OwnerName, RoleName,
    SecretName, TokenId,
};

/// A subject that credentials are issued under. Its place is its stored form: further kinds
/// join at the end, and in [`Subject::KINDS`].
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Subject {
    /// An agent, with all its instances, tokens and enrolment codes.
    Agent(AgentId),
    /// One instance of an agent, with its certificate and tokens.
    Instance(InstanceId),
    /// One token.
    Token(TokenId),
    /// An operator, with all its certificates and enrolment codes.
    Operator(OperatorId),
    /// A role: the tokens and leases of its capabilities, with agents that hold it.
    Role(RoleName),
    /// A capability: the tokens and leases for it.
    Capability(CapabilityName),
    /// An owner: its agents, the tokens and leases of its capabilities, and the operators bound to it.
    Owner(OwnerName),
    /// A secret: the tokens that reach it, and the leases that it administers.
    Secret(SecretName),
    /// The certificate with this serial, and what is bound to it.
    Certificate([u8; 16]),
    /// An instance's tokens and leases, with all that is ever delegated from them; its certificate stays.
    Lineage(InstanceId),
    /// A network: what was enrolled from its addresses, and what is presented from them.
    Network(Network),
    /// All that agents and resource servers hold. Operators stay, or nobody could end it.
    Everything,
    /// One enrolment of an operator: its certificate of then and every renewal, and the codes that were made with them.
    OperatorEnrolment(OperatorEnrolment),
}

impl Subject {
    /// The word for each kind. Every kind has a row in the table of `tests/it/liveness`.
    pub const KINDS: [&str; 13] = [
        "agent",
        "instance",
        "token",
        "operator",
        "role",
        "capability",
        "owner",
        "secret",
        "certificate",
        "lineage",
        "network",
        "everything",
        "operator-enrolment",
    ];

    /// The word for what it is.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Agent(_) => "agent",
            Self::Instance(_) => "instance",
            Self::Token(_) => "token",
            Self::Operator(_) => "operator",
            Self::Role(_) => "role",
            Self::Capability(_) => "capability",
            Self::Owner(_) => "owner",
            Self::Secret(_) => "secret",
            Self::Certificate(_) => "certificate",
            Self::Lineage(_) => "lineage",
            Self::Network(_) => "network",
            Self::Everything => "everything",
            Self::OperatorEnrolment(_) => "operator-enrolment",
        }
    }

    /// Whether a revocation of the subject also revokes certificates for good. The certificates of other subjects are
    /// refused only while the subject is suspended or contained.
    #[must_use]
    pub const fn ends_certificates(&self) -> bool {
        match self {
            Self::Agent(_)
            | Self::Instance(_)
            | Self::Operator(_)
            | Self::Certificate(_)
            | Self::OperatorEnrolment(_) => true,
            Self::Token(_)
            | Self::Role(_)
            | Self::Capability(_)
            | Self::Owner(_)
            | Self::Secret(_)
            | Self::Lineage(_)
            | Self::Network(_)
            | Self::Everything => false,
        }
    }

    /// Its id, its name, or how else it is called.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Agent(id) => id.to_string(),
            Self::Instance(id) | Self::Lineage(id) => id.to_string(),
            Self::Token(id) => id.to_string(),
            Self::Operator(id) => id.to_string(),
            Self::Role(name) => name.to_string(),
            Self::Capability(name) => name.to_string(),
            Self::Owner(name) => name.to_string(),
            Self::Secret(name) => name.to_string(),
            Self::Certificate(serial) => hex(serial),
            Self::Network(network) => network.to_string(),
            Self::Everything => "everything".to_owned(),
            Self::OperatorEnrolment(OperatorEnrolment { operator, enrolled_seq }) => {
                format!("{operator}/{enrolled_seq}")
            }
        }
    }
}

/// The keys that decisions on this room's records rely on.
pub mod keys {
    use std::sync::LazyLock;

    use super::Subject;
    use crate::ledger::Key;

    /// Whether what was issued under this subject counts.
    #[must_use]
    pub fn subject(subject: &Subject) -> Key {
        match subject {
            Subject::Agent(id) => Key::of_id("revocation-agent", id.as_bytes()),
            Subject::Instance(id) => Key::of_id("revocation-instance", id.as_bytes()),
            Subject::Token(id) => Key::of_id("revocation-token", id.as_bytes()),
            Subject::Operator(id) => Key::of_id("revocation-operator", id.as_bytes()),
            Subject::Role(_)
            | Subject::Capability(_)
            | Subject::Owner(_)
            | Subject::Secret(_)
            | Subject::Certificate(_)
            | Subject::Lineage(_)
            | Subject::Network(_)
            | Subject::Everything
            | Subject::OperatorEnrolment(_) => wide(),
        }
    }

    /// Whether what was issued under any subject counts that many credentials share. One key for all of them:
    /// they are marked in incidents, and every decision relies on it.
    #[must_use]
    pub fn wide() -> Key {
        static KEY: LazyLock<Key> = LazyLock::new(|| Key::of("revocation-wide", b""));
        *KEY
    }
}
