use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::agent::CertificateSlot;
use super::agent_spec::AgentSpec;
use super::declared::{Capability, Role};
use super::former_names::DeletedName;
use super::keys;
use super::narrowing::Narrowing;
use super::owners::Owned;
use super::parameters::CapabilityParameters;
use super::removals::Removals;
use crate::base::{
    AgentId, AgentName, Audience, CapabilityName, CodeId, EnvironmentName, InstanceId, Network, OwnerName,
    Person, RoleName, Timestamp,
};
use crate::crypto::{Digest, KeyedDigest};
use crate::ledger::Key;

/// A state change of this room.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Effect {
    /// Changes what is declared, all at once.
    Declare {
        /// Capabilities declared or replaced.
        capabilities: Vec<Capability>,
        /// Capabilities taken away.
        removed_capabilities: Vec<CapabilityName>,
        /// Roles declared or replaced.
        roles: Vec<Role>,
        /// Roles taken away.
        removed_roles: Vec<RoleName>,
    },
    /// Creates an agent, or changes what was declared of it.
    PutAgent {
        /// Its id: a new one creates it.
        id: AgentId,
        /// The declaration.
        spec: AgentSpec,
    },
    /// Removes an agent with its instances and codes.
    RemoveAgent(AgentId),
    /// Redeems a code: the agent has a new instance.
    Enrol {
        /// The code's id.
        code: CodeId,
        /// The agent.
        agent: AgentId,
        /// The new instance.
        instance: InstanceId,
        /// The certificate's serial.
        serial: [u8; 16],
        /// SHA-256 of its public key.
        key: Digest,
        /// When the certificate begins to hold.
        not_before: Timestamp,
        /// When it ends.
        not_after: Timestamp,
    },
    /// Keeps a signed certificate.
    RecordCertificate {
        /// The agent.
        agent: AgentId,
        /// Its instance.
        instance: InstanceId,
        /// The certificate, DER.
        certificate: Vec<u8>,
    },
    /// Plans an instance's next certificate, in place of one that was planned and never used.
    Renew {
        /// The agent.
        agent: AgentId,
        /// Its instance.
        instance: InstanceId,
        /// The certificate's serial.
        serial: [u8; 16],
        /// SHA-256 of its public key.
        key: Digest,
        /// When the certificate begins to hold.
        not_before: Timestamp,
        /// When it ends.
        not_after: Timestamp,
    },
    /// Keeps the signed certificate of a renewal.
    RecordRenewed {
        /// The agent.
        agent: AgentId,
        /// Its instance.
        instance: InstanceId,
        /// The certificate, DER.
        certificate: Vec<u8>,
    },
    /// The next certificate was used: it is the current one, and the one before counts no more.
    Promote {
        /// The agent.
        agent: AgentId,
        /// Its instance.
        instance: InstanceId,
    },
    /// Makes an enrolment code known.
    IssueCode {
        /// The code's id.
        id: CodeId,
        /// For whom.
        agent: AgentId,
        /// SHA-256 of its 256-bit secret.
        hash: Digest,
        /// The keyed digest of its secret.
        digest: KeyedDigest,
        /// The end of its life.
        expires_at: Timestamp,
        /// The number of keys that can redeem it.
        uses: u32,
        /// From where it can be redeemed; from anywhere when there is none.
        network: Option<Network>,
    },
    /// Sets the audience that an agent serves: a resource server's, or none.
    Serve {
        /// The agent.
        agent: AgentId,
        /// The audience; absent for an agent.
        audience: Option<Audience>,
    },
    /// Sets the owner of a declared object.
    Own {
        /// The object.
        thing: Owned,
        /// The owner, if there is one.
        owner: Option<OwnerName>,
    },
    /// A second use of a code has been reported.
    ReportCode(CodeId),
    /// [`Effect::Withdraw`] as earlier builds wrote it: it removes what the application did not keep, and does not advance
    /// its agents.
    Narrow(Narrowing),
    /// Records the address from which an instance enrolled.
    EnrolledFrom {
        /// The agent.
        agent: AgentId,
        /// Its instance.
        instance: InstanceId,
        /// The address.
        address: IpAddr,
    },
    /// Reserves a name that was deleted.
    Reserve(DeletedName),
    /// Sets the person for whom an agent acts.
    ActsFor {
        /// The agent.
        agent: AgentName,
        /// The person, if one is declared.
        person: Option<Person>,
    },
    /// The removals of an application, without its additions.
    Withdraw(Removals),
    /// Enrolment codes end, also with remaining uses.
    EndCodes(Vec<CodeId>),
    /// Sets the environments of capabilities.
    Place(Vec<(CapabilityName, Option<EnvironmentName>)>),
    /// Sets the capabilities that agents are told to ask for instead of others.
    Redirect(Vec<(CapabilityName, Option<CapabilityName>)>),
    /// An agent reads a secret of the sensitivity `high`.
    ReadSensitive(AgentId),
    /// Sets the parameters of capabilities.
    Parametrise(Vec<(CapabilityName, CapabilityParameters)>),
}

impl Effect {
    /// Adds what it advances: a decision that relied on one of these keys before is made again.
    pub fn advances(&self, keys: &mut Vec<Key>) {
        match self {
            Self::Declare { capabilities, removed_capabilities, roles, removed_roles } => {
                let capabilities = capabilities.iter().map(|one| &one.name).chain(removed_capabilities);
                let roles = roles.iter().map(|one| &one.name).chain(removed_roles);
                keys.push(keys::declarations());
                keys.extend(capabilities.map(keys::capability).chain(roles.map(keys::role)));
            }
            Self::PutAgent { id, spec } => {
                keys.extend([keys::agents(), keys::agent_name(&spec.name), keys::agent(*id)]);
            }
            Self::RemoveAgent(agent) | Self::Serve { agent, .. } => keys.push(keys::agent(*agent)),
            Self::Enrol { code, agent, key, .. } => {
                keys.extend([keys::code(*code), keys::instances(*agent), keys::public_key(key)]);
            }
            Self::Renew { instance, key, .. } => {
                keys.extend([keys::certificate(*instance), keys::public_key(key)]);
            }
            Self::RecordCertificate { instance, .. }
            | Self::RecordRenewed { instance, .. }
            | Self::Promote { instance, .. } => keys.push(keys::certificate(*instance)),
            Self::Own { thing: Owned::Capability(name), .. } => keys.push(keys::capability(name)),
            Self::Own { thing: Owned::Role(name), .. } => keys.push(keys::role(name)),
            Self::Own { thing: Owned::Agent(name), .. } => keys.push(keys::agent_name(name)),
            Self::ActsFor { agent, .. } => keys.push(keys::agent_name(agent)),
            Self::ReportCode(code) => keys.push(keys::code_alarm(*code)),
            Self::Place(environments) => {
                keys.push(keys::declarations());
                keys.extend(environments.iter().map(|(capability, _)| keys::capability(capability)));
            }
            Self::Redirect(changes) => {
                keys.push(keys::declarations());
                keys.extend(changes.iter().map(|(capability, _)| keys::capability(capability)));
            }
            Self::Parametrise(changes) => {
                keys.push(keys::declarations());
                keys.extend(changes.iter().map(|(capability, _)| keys::capability(capability)));
            }
            Self::ReadSensitive(agent) => keys.push(keys::sensitive_reads(*agent)),
            Self::EndCodes(codes) => keys.extend(codes.iter().copied().map(keys::code)),
            Self::Narrow(narrowing) => narrowing.advances(keys),
            Self::Withdraw(removals) => {
                keys.push(keys::declarations());
                removals.touched(keys);
            }
            // Decisions on new names rely on the declarations.
            Self::Reserve(DeletedName::Agent(name)) => {
                keys.extend([keys::declarations(), keys::agent_name(name)]);
            }
            Self::Reserve(DeletedName::Operator(_)) => keys.push(keys::declarations()),
            Self::IssueCode { .. } | Self::EnrolledFrom { .. } => {}
        }
    }

    /// Whether it takes something away: such an entry is anchored at once.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        match self {
            Self::Declare { .. }
            | Self::PutAgent { .. }
            | Self::RemoveAgent(_)
            | Self::Serve { .. }
            | Self::Own { .. }
            | Self::Narrow(_)
            | Self::Reserve(_)
            | Self::Withdraw(_)
            | Self::EndCodes(_)
            | Self::Place(_)
            | Self::Parametrise(_) => true,
            Self::IssueCode { .. }
            | Self::Enrol { .. }
            | Self::RecordCertificate { .. }
            | Self::Renew { .. }
            | Self::RecordRenewed { .. }
            | Self::Promote { .. }
            | Self::ReportCode(_)
            | Self::EnrolledFrom { .. }
            | Self::Redirect(_)
            | Self::ReadSensitive(_)
            | Self::ActsFor { .. } => false,
        }
    }

    /// The signed certificate that it keeps, DER, and whose it is.
    #[must_use]
    pub const fn certificate(&self) -> Option<((AgentId, InstanceId), CertificateSlot, &Vec<u8>)> {
        if let Self::RecordCertificate { agent, instance, certificate } = self {
            return Some(((*agent, *instance), CertificateSlot::Current, certificate));
        }
        if let Self::RecordRenewed { agent, instance, certificate } = self {
            return Some(((*agent, *instance), CertificateSlot::Next, certificate));
        }
        None
    }
}
