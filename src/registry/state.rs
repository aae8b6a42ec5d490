use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::agent::{Agent, Holding, Instance};
use super::agents::Agents;
use super::declared::{Capability, Declarations, Role};
use super::narrowing::Narrowing;
use super::owners::{Owned, Owners};
use super::plan::AgentSpec;
use crate::base::limits::RENEWAL_GRACE_MAX_S;
use crate::base::{
    AgentId, AgentName, Audience, CapabilityName, CodeId, InstanceId, Network, OwnerName, RoleName, Timestamp,
};
use crate::crypto::Digest;
use crate::index::Tree;
use crate::store::{At, Projection};

/// The certificates that instances enrolled with, by instance id, in DER.
pub const CERTIFICATES: Tree = Tree::new("certificate");
/// The certificates that instances were last renewed with, by instance id, in DER.
pub const RENEWED_CERTIFICATES: Tree = Tree::new("renewed-certificate");

/// Codes are forgotten this long after they ended: long enough to recognise a late second use.
const CODE_MEMORY_S: i64 = 24 * 3600;

/// Instances are forgotten this long after their last certificate ended: no renewal is granted so late.
const INSTANCE_MEMORY_S: i64 = RENEWAL_GRACE_MAX_S;

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
        /// What is declared of it.
        spec: AgentSpec,
    },
    /// Takes an agent away, its instances and codes with it.
    RemoveAgent(AgentId),
    /// Makes an enrolment code known.
    IssueCode {
        /// The code's id.
        id: CodeId,
        /// For whom.
        agent: AgentId,
        /// SHA-256 of its 256-bit secret.
        hash: Digest,
        /// Until when it can be redeemed.
        expires_at: Timestamp,
    },
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
    /// Makes an enrolment code known that is good for more than one use, or for less than everybody.
    IssueBoundCode {
        /// The code's id.
        id: CodeId,
        /// For whom.
        agent: AgentId,
        /// SHA-256 of its 256-bit secret.
        hash: Digest,
        /// Until when it can be redeemed.
        expires_at: Timestamp,
        /// How many keys can redeem it.
        uses: u32,
        /// From where it can be redeemed; from anywhere when there is none.
        network: Option<Network>,
    },
    /// Says which audience somebody serves: a resource server's, or none.
    Serve {
        /// Who.
        agent: AgentId,
        /// What; nothing for an agent.
        audience: Option<Audience>,
    },
    /// Says whose something is that is declared.
    Own {
        /// What.
        thing: Owned,
        /// Whose; nobody's when there is none.
        owner: Option<OwnerName>,
    },
    /// A second use of a code has been reported.
    ReportCode(CodeId),
    /// What an application takes away, without what it gives.
    Narrow(Narrowing),
}

impl Effect {
    /// Whether it takes something away: such an entry is anchored at once.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        match self {
            Self::Declare { .. }
            | Self::PutAgent { .. }
            | Self::RemoveAgent(_)
            | Self::Serve { .. }
            | Self::Own { .. }
            | Self::Narrow(_) => true,
            Self::IssueCode { .. }
            | Self::Enrol { .. }
            | Self::RecordCertificate { .. }
            | Self::Renew { .. }
            | Self::RecordRenewed { .. }
            | Self::Promote { .. }
            | Self::IssueBoundCode { .. }
            | Self::ReportCode(_) => false,
        }
    }
}

/// An enrolment code as the broker knows it: by the hash of its secret.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Code {
    /// Its id.
    pub id: CodeId,
    /// For whom it is.
    pub agent: AgentId,
    /// SHA-256 of its secret.
    pub hash: Digest,
    /// Until when it can be redeemed.
    pub expires_at: Timestamp,
    /// The entry that made it known.
    pub issued_seq: u64,
    /// How many keys can redeem it.
    pub uses: u32,
    /// From where it can be redeemed; from anywhere when there is none.
    pub network: Option<Network>,
    /// The instances that redeemed it, by their keys.
    pub redeemed: BTreeMap<Digest, InstanceId>,
    /// Whether its use by somebody else has been reported.
    pub reported: bool,
}

/// Agents, codes and declarations in memory.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Registry {
    declarations: Arc<Declarations>,
    owners: Owners,
    agents: Agents,
    codes: HashMap<CodeId, Code>,
    /// The ends of the codes, the earliest first; those of codes that are gone may linger.
    code_ends: BTreeSet<(Timestamp, CodeId)>,
}

impl Registry {
    /// The capabilities and roles of this moment; cheap to keep.
    #[must_use]
    pub const fn declarations(&self) -> &Arc<Declarations> {
        &self.declarations
    }

    /// Whose things are.
    #[must_use]
    pub const fn owners(&self) -> &Owners {
        &self.owners
    }

    /// The agent of this name.
    #[must_use]
    pub fn agent_named(&self, name: &AgentName) -> Option<&Agent> {
        self.agents.named(name)
    }

    /// The agent of this id.
    #[must_use]
    pub fn agent(&self, id: AgentId) -> Option<&Agent> {
        self.agents.get(id)
    }

    /// All agents, by name.
    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.agents.in_order()
    }

    /// The code of this id.
    #[must_use]
    pub fn code(&self, id: CodeId) -> Option<&Code> {
        self.codes.get(&id)
    }

    /// Takes in one effect.
    pub fn apply(&mut self, at: At, effect: &Effect) {
        match effect {
            Effect::Declare { capabilities, removed_capabilities, roles, removed_roles } => {
                let changed =
                    self.declarations.changed(capabilities, removed_capabilities, roles, removed_roles);
                self.declarations = Arc::new(changed);
                let capabilities = removed_capabilities.iter().cloned().map(Owned::Capability);
                for gone in capabilities.chain(removed_roles.iter().cloned().map(Owned::Role)) {
                    self.owners.set(gone, None);
                }
            }
            Effect::PutAgent { id, spec } => self.agents.put(*id, spec),
            Effect::RemoveAgent(id) => self.remove_agent(*id),
            Effect::Narrow(narrowing) => self.narrow(narrowing),
            Effect::IssueCode { id, agent, hash, expires_at } => {
                self.issue(at, (*id, *agent), (*hash, *expires_at), (1, None));
            }
            Effect::IssueBoundCode { id, agent, hash, expires_at, uses, network } => {
                self.issue(at, (*id, *agent), (*hash, *expires_at), (*uses, *network));
            }
            Effect::Enrol { code, agent, instance, serial, key, not_before, not_after } => {
                let instance = Instance {
                    id: *instance,
                    current: Holding::planned(*serial, *key, (*not_before, *not_after)),
                    next: None,
                    enrolled_at: at.time,
                    enrolled_seq: at.seq,
                    current_since: at.seq,
                };
                self.enrol(at.time, *code, *agent, instance);
            }
            Effect::RecordCertificate { agent, instance, .. } => {
                if let Some(instance) = self.instance_mut(*agent, *instance) {
                    instance.current.certificate_seq = Some(at.seq);
                }
            }
            Effect::Renew { agent, instance, serial, key, not_before, not_after } => {
                if let Some(instance) = self.instance_mut(*agent, *instance) {
                    instance.next =
                        Some(Box::new(Holding::planned(*serial, *key, (*not_before, *not_after))));
                }
            }
            Effect::RecordRenewed { agent, instance, .. } => {
                if let Some(next) = self.instance_mut(*agent, *instance).and_then(|one| one.next.as_mut()) {
                    next.certificate_seq = Some(at.seq);
                }
            }
            Effect::Serve { agent, audience } => {
                if let Some(agent) = self.agents.get_mut(*agent) {
                    agent.serves.clone_from(audience);
                }
            }
            Effect::Own { thing, owner } => self.owners.set(thing.clone(), owner.clone()),
            Effect::ReportCode(code) => {
                if let Some(code) = self.codes.get_mut(code) {
                    code.reported = true;
                }
            }
            Effect::Promote { agent, instance } => {
                if let Some(instance) = self.instance_mut(*agent, *instance)
                    && let Some(next) = instance.next.take()
                {
                    instance.current = *next;
                    instance.current_since = at.seq;
                }
            }
        }
    }

    fn instance_mut(&mut self, agent: AgentId, instance: InstanceId) -> Option<&mut Instance> {
        self.agents.get_mut(agent).and_then(|agent| agent.instances.get_mut(instance))
    }

    /// What `effect` puts into the index.
    pub fn project(effect: &Effect, out: &mut Projection) {
        match effect {
            Effect::RecordCertificate { instance, certificate, .. } => {
                out.put(CERTIFICATES, instance.as_bytes().to_vec(), certificate.clone());
            }
            Effect::RecordRenewed { instance, certificate, .. } => {
                out.put(RENEWED_CERTIFICATES, instance.as_bytes().to_vec(), certificate.clone());
            }
            Effect::Declare { .. }
            | Effect::PutAgent { .. }
            | Effect::RemoveAgent(_)
            | Effect::IssueCode { .. }
            | Effect::IssueBoundCode { .. }
            | Effect::Enrol { .. }
            | Effect::Renew { .. }
            | Effect::Serve { .. }
            | Effect::Own { .. }
            | Effect::ReportCode(_)
            | Effect::Narrow(_)
            | Effect::Promote { .. } => {}
        }
    }

    fn remove_agent(&mut self, id: AgentId) {
        if let Some(agent) = self.agents.remove(id) {
            self.owners.set(Owned::Agent(agent.name), None);
        }
        self.codes.retain(|_, code| code.agent != id);
    }

    fn narrow(&mut self, narrowing: &Narrowing) {
        let narrower = self.declarations.roles().filter_map(|role| {
            let capabilities = narrowing.left(&role.name, &role.capabilities);
            let is_narrower = capabilities.len() < role.capabilities.len();
            is_narrower.then(|| Role { name: role.name.clone(), capabilities })
        });
        let narrower: Vec<Role> = narrower.collect();
        if !narrower.is_empty() {
            self.declarations = Arc::new(self.declarations.changed(&[], &[], &narrower, &[]));
        }
        for (name, kept) in &narrowing.agents {
            let Some(agent) = self.agents.named(name) else { continue };
            let roles = agent.roles.intersection(kept).cloned().collect();
            let spec = AgentSpec { name: name.clone(), roles, max_instances: agent.max_instances };
            let id = agent.id;
            self.agents.put(id, &spec);
        }
        for name in &narrowing.removed_agents {
            if let Some(id) = self.agents.named(name).map(|agent| agent.id) {
                self.remove_agent(id);
            }
        }
    }

    fn enrol(&mut self, now: Timestamp, code: CodeId, agent: AgentId, instance: Instance) {
        if let Some(code) = self.codes.get_mut(&code) {
            code.redeemed.insert(instance.current.key, instance.id);
        }
        if let Some(agent) = self.agents.get_mut(agent) {
            // Beyond the grace it can never act again: what it did is in the ledger.
            agent.instances.retain(|old| old.not_after().plus_s(INSTANCE_MEMORY_S) > now);
            agent.instances.insert(instance);
        }
    }

    fn issue(
        &mut self,
        at: At,
        (id, agent): (CodeId, AgentId),
        (hash, expires_at): (Digest, Timestamp),
        (uses, network): (u32, Option<Network>),
    ) {
        self.forget_codes(at.time);
        let (issued_seq, redeemed, reported) = (at.seq, BTreeMap::new(), false);
        let code = Code { id, agent, hash, expires_at, issued_seq, uses, network, redeemed, reported };
        self.code_ends.insert((expires_at, id));
        self.codes.insert(id, code);
    }

    /// Entry times go on from `now`: enrolment codes of before are void, whatever a wrong clock made of their ends.
    pub fn time_went_back(&mut self, now: Timestamp) {
        for code in self.codes.values_mut() {
            code.expires_at = code.expires_at.min(now);
        }
        self.code_ends = self.codes.values().map(|code| (code.expires_at, code.id)).collect();
    }

    fn forget_codes(&mut self, now: Timestamp) {
        while let Some(&(expires_at, id)) = self.code_ends.first() {
            if expires_at.plus_s(CODE_MEMORY_S) > now {
                break;
            }
            self.code_ends.pop_first();
            self.codes.remove(&id);
        }
    }
}
