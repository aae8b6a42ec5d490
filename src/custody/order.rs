use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::encoding::hex;
use crate::base::{
    AgentId, AgentName, CapabilityName, CodeId, Connection, IncidentId, InstanceId, LeaseId,
    OperatorEnrolment, OperatorId, OperatorName, Reason, RoleName, Scope, SecretName, SubjectName, Timestamp,
    TokenId,
};
use crate::ledger::Kind;
use crate::store::Event;

/// A revocation or suspension by a user of the broker's host. It cannot grant.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevocationOrder {
    /// Everything that was issued to an agent so far.
    RevokeAgent(AgentName),
    /// All credentials of an agent, until an operator resumes it.
    SuspendAgent(AgentName),
    /// One instance of an agent.
    RevokeInstance(InstanceId),
    /// The holder of a certificate, by its serial.
    RevokeCertificate([u8; 16]),
    /// One token.
    RevokeToken(TokenId),
    /// Every certificate and code of an operator.
    RevokeOperator(OperatorName),
    /// All credentials of an operator, until another one resumes it.
    SuspendOperator(OperatorName),
    /// Leases, with the logins that they lend.
    RevokeLeases(LeasesOf),
    /// A former version of a secret.
    DestroyVersion {
        /// The secret.
        secret: SecretName,
        /// The version.
        version: u32,
    },
    /// A generation of the token key that signs no more.
    RevokeTokenKey(u32),
    /// A generation of the certificate authority that no longer signs: its certificates have to be renewed.
    TaintAuthority(u32),
    /// A generation of the certificate authority whose certificates are revoked.
    RevokeAuthority(u32),
    /// [`Self::RemoveDeclared`] as earlier builds wrote it: it removes what the application did not keep.
    NarrowDeclarations {
        /// Capabilities that no role has any more.
        capabilities: BTreeSet<CapabilityName>,
        /// The remaining capabilities of each of these roles.
        roles: BTreeMap<RoleName, BTreeSet<CapabilityName>>,
        /// The remaining roles of each of these agents.
        agents: BTreeMap<AgentName, BTreeSet<RoleName>>,
        /// Agents that are gone.
        removed_agents: BTreeSet<AgentName>,
    },
    /// The removals of an application of declarations.
    RemoveDeclared {
        /// Capabilities that are removed or delivered in another way.
        capabilities: BTreeSet<CapabilityName>,
        /// The capabilities that each of these roles loses.
        roles: BTreeMap<RoleName, BTreeSet<CapabilityName>>,
        /// The roles that each of these agents loses.
        agents: BTreeMap<AgentName, BTreeSet<RoleName>>,
        /// Removed agents and resource servers.
        removed_agents: BTreeSet<AgentName>,
        /// The ids of the agents that are named.
        ids: BTreeMap<AgentName, AgentId>,
    },
    /// The containment of a subject, until an operator lifts it.
    Contain {
        /// The incident.
        incident: IncidentId,
        /// The subject.
        subject: SubjectName,
        /// The enrolment of the operator that gave the order, if the containment would refuse its certificate.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spared: Option<OperatorEnrolment>,
    },
    /// The freeze of the broker, until an operator thaws it.
    Freeze,
    /// One enrolment code.
    RevokeCode(CodeId),
}

impl RevocationOrder {
    /// Whether its operator must still have the right when it is recorded, because a destroyed value is lost. The other
    /// orders take access away, which can be given again. They are recorded without a check: one of them, the revocation
    /// of an authority, can revoke the certificate of its own operator.
    #[must_use]
    pub const fn depends_on_right(&self) -> bool {
        matches!(self, Self::DestroyVersion { .. })
    }

    /// The command, if it says exactly what the order takes away: a repeated order has the same one.
    #[must_use]
    pub fn exact_command(&self) -> Option<String> {
        let is_summary = matches!(
            self,
            Self::RevokeLeases(_) | Self::NarrowDeclarations { .. } | Self::RemoveDeclared { .. }
        );
        (!is_summary).then(|| self.to_string())
    }

    /// The agent that it names alone.
    const fn agent(&self) -> Option<&AgentName> {
        if let Self::RevokeAgent(name)
        | Self::SuspendAgent(name)
        | Self::Contain { subject: SubjectName::Agent(name), .. } = self
        {
            Some(name)
        } else {
            None
        }
    }

    /// The operator that it names.
    const fn operator(&self) -> Option<&OperatorName> {
        if let Self::RevokeOperator(name)
        | Self::SuspendOperator(name)
        | Self::Contain { subject: SubjectName::Operator(name), .. } = self
        {
            Some(name)
        } else {
            None
        }
    }
}

/// The command that gives the order again.
impl fmt::Display for RevocationOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RevokeAgent(name) => write!(f, "keyward agent revoke {name}"),
            Self::SuspendAgent(name) => write!(f, "keyward agent suspend {name}"),
            Self::RevokeInstance(id) => write!(f, "keyward agent revoke --instance {id}"),
            Self::RevokeCertificate(serial) => write!(f, "keyward cert revoke {}", hex(serial)),
            Self::RevokeToken(id) => write!(f, "keyward token revoke {id}"),
            Self::RevokeOperator(name) => write!(f, "keyward operator revoke {name}"),
            Self::SuspendOperator(name) => write!(f, "keyward operator suspend {name}"),
            Self::RevokeLeases(_) => f.write_str("keyward lease revoke"),
            Self::DestroyVersion { secret, version } => {
                write!(f, "keyward secret destroy {secret} {version} --yes")
            }
            Self::RevokeTokenKey(generation) => write!(f, "keyward token-key revoke {generation}"),
            Self::TaintAuthority(generation) => write!(f, "keyward authority taint {generation}"),
            Self::RevokeAuthority(generation) => write!(f, "keyward authority revoke {generation}"),
            Self::NarrowDeclarations { .. } | Self::RemoveDeclared { .. } => f.write_str("keyward apply"),
            Self::Contain { subject, .. } => write!(f, "keyward contain {subject}"),
            Self::Freeze => f.write_str("keyward freeze"),
            Self::RevokeCode(id) => write!(f, "keyward code revoke {id}"),
        }
    }
}

/// The leases of an order.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeasesOf {
    /// These.
    Each(BTreeSet<LeaseId>),
    /// Those of any of these agents or capabilities.
    Some {
        /// The agents.
        agents: BTreeSet<AgentName>,
        /// The capabilities.
        capabilities: BTreeSet<CapabilityName>,
    },
    /// All.
    Everybody,
}

/// A [`RevocationOrder`] that was ordered while the broker was sealed, or while the ledger did not take it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PendingOrder {
    /// When.
    pub at: Timestamp,
    /// The actor: `host uid N`, or an operator's name.
    pub by: String,
    /// Why, as the operator says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The operator that gave it; `None` for an order of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OrderingOperator>,
    /// The connection of the operator's request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// The order.
    pub what: RevocationOrder,
}

impl PendingOrder {
    /// Whether `other` is the same order by the same actor, perhaps at another time.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.what, &self.by, &self.operator) == (&other.what, &other.by, &other.operator)
    }
}

/// The operator of an order, as it was when it gave the order.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OrderingOperator {
    /// Its id.
    pub id: OperatorId,
    /// The name of its role.
    pub role: String,
    /// Its scope.
    pub scope: Scope,
    /// The entry by which it enrolled.
    pub enrolled_seq: u64,
}

/// The broker did not carry out a pending order, because the order has nothing to take away, or its operator no longer has
/// the right.
#[derive(Debug, Serialize)]
pub struct PendingOrderFailed<'a> {
    /// The actor: `host uid N`, or an operator's name.
    by: &'a str,
    /// When.
    at: String,
    /// The order.
    what: &'a RevocationOrder,
    /// The agent of the order.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a AgentName>,
    /// The operator of the order.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<&'a OperatorName>,
    /// Why it came to nothing: a stable code.
    code: &'static str,
}

impl<'a> PendingOrderFailed<'a> {
    /// That `order` came to nothing because of `code`.
    #[must_use]
    pub fn new(order: &'a PendingOrder, code: &'static str) -> Self {
        let PendingOrder { at, by, what, .. } = order;
        Self { by, at: at.to_string(), what, agent: what.agent(), operator: what.operator(), code }
    }
}

impl Event for PendingOrderFailed<'_> {
    const KIND: Kind = Kind(0x0812);
    const NAME: &'static str = "host.pending-order-failed";
}
