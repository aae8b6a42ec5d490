use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::agent::{Agent, CertificateSlot, Instance, InstanceCertificate, SignedAgentCertificate};
use super::agent_spec::AgentSpec;
use super::agents::Agents;
use super::declared::{Capability, Declarations, Delivery, Role};
use super::effect::Effect;
use super::enrolment_code::AgentCode;
use super::enrolment_codes::AgentCodes;
use super::former_names::FormerNames;
use super::key_uses::KeyUses;
use super::narrowing::Narrowing;
use super::owners::{Owned, Owners};
use super::removals::Removals;
use super::ties::Ties;
use crate::base::limits::RENEWAL_GRACE_MAX_S;
use crate::base::{
    AgentId, AgentName, Audience, CapabilityName, CodeId, EnvironmentName, InstanceId, OwnerName, RoleName,
    Timestamp,
};
use crate::crypto::{Digest, sha256};
use crate::index::IndexTree;
use crate::store::{At, Projection};

/// The certificates that instances enrolled with, by instance id, in DER.
pub const CERTIFICATES: IndexTree = IndexTree::new("certificate");
/// The certificates that instances were last renewed with, by instance id, in DER.
pub const RENEWED_CERTIFICATES: IndexTree = IndexTree::new("renewed-certificate");

/// Instances are forgotten this long after their last certificate ended: no renewal is granted so late.
const INSTANCE_MEMORY_S: i64 = RENEWAL_GRACE_MAX_S;

/// Agents, codes and declarations in memory.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Registry {
    pub(super) declarations: Arc<Declarations>,
    owners: Owners,
    former: FormerNames,
    agents: Agents,
    key_uses: KeyUses,
    codes: AgentCodes,
    /// Ties of agents and capabilities that have ended.
    pub(super) ties: Ties,
}

impl Registry {
    /// The capabilities and roles of this moment; cheap to keep.
    #[must_use]
    pub const fn declarations(&self) -> &Arc<Declarations> {
        &self.declarations
    }

    /// The owners of objects.
    #[must_use]
    pub const fn owners(&self) -> &Owners {
        &self.owners
    }

    /// Names and audiences that are declared no more, and whose they were.
    #[must_use]
    pub const fn former(&self) -> &FormerNames {
        &self.former
    }

    /// The number of names and audiences of this owner; an audience of several capabilities counts once.
    #[must_use]
    pub fn live(&self, owner: &OwnerName) -> usize {
        let is_own = |thing: &Owned| self.owners.of(thing) == Some(owner);
        let minted = self.declarations.capabilities().filter_map(|one| match &one.delivery {
            Delivery::Mint { audience } => is_own(&Owned::Capability(one.name.clone())).then_some(audience),
            Delivery::Reveal { .. } | Delivery::Lease => None,
        });
        let served = self.agents().filter(|one| is_own(&Owned::Agent(one.name.clone())));
        let audiences: BTreeSet<&Audience> =
            minted.chain(served.filter_map(|one| one.serves.as_ref())).collect();
        self.owners.count(owner).saturating_add(audiences.len())
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

    /// Whether another agent or resource server than `agent` holds `key`, or is about to.
    #[must_use]
    pub fn is_key_of_another(&self, agent: AgentId, key: &Digest) -> bool {
        let holds = |one: &Agent| {
            one.id != agent && one.instances.iter().flat_map(|its| its.holdings()).any(|its| its.key == *key)
        };
        self.key_uses.may_have(key) && self.agents.in_order().any(holds)
    }

    /// Whether an agent or resource server holds `key`, or is about to.
    #[must_use]
    pub fn is_key_of_an_agent(&self, key: &Digest) -> bool {
        let holds =
            |one: &Agent| one.instances.iter().flat_map(|its| its.holdings()).any(|its| its.key == *key);
        self.key_uses.may_have(key) && self.agents.in_order().any(holds)
    }

    /// All agents, by name.
    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.agents.in_order()
    }

    /// The code of this id.
    #[must_use]
    pub fn code(&self, id: CodeId) -> Option<&AgentCode> {
        self.codes.get(id)
    }

    /// All codes that are not forgotten.
    pub fn codes(&self) -> impl Iterator<Item = &AgentCode> {
        self.codes.iter()
    }

    /// The agents after `name`, by name.
    pub fn agents_after(&self, name: Option<&AgentName>) -> impl Iterator<Item = &Agent> {
        self.agents.after(name)
    }

    /// Applies an effect.
    pub fn apply(&mut self, at: At, effect: &Effect) {
        let ties = self.ties_of(effect);
        self.change(at, effect);
        self.keep_ended(at, ties);
    }

    fn change(&mut self, at: At, effect: &Effect) {
        match effect {
            Effect::Declare { capabilities, removed_capabilities, roles, removed_roles } => {
                self.declare(capabilities, removed_capabilities, roles, removed_roles);
            }
            Effect::PutAgent { id, spec } => self.put_agent(*id, spec),
            Effect::RemoveAgent(id) => self.remove_agent(*id),
            Effect::Narrow(narrowing) => self.withdraw(&self.removals_of(narrowing)),
            Effect::Withdraw(removals) => self.withdraw(removals),
            Effect::IssueCode { .. } => {
                AgentCode::issued(at, effect).into_iter().for_each(|code| self.codes.issue(at.time, code));
            }
            Effect::Enrol { code, agent, instance, serial, key, not_before, not_after } => {
                let instance = Instance {
                    id: *instance,
                    current: InstanceCertificate::planned(*serial, *key, (*not_before, *not_after)),
                    next: None,
                    enrolled_at: at.time,
                    enrolled_seq: at.seq,
                    enrolled_from: None,
                };
                self.enrol(at.time, *code, *agent, instance);
            }
            Effect::RecordCertificate { agent, instance, certificate } => {
                if let Some(instance) = self.instance_mut(*agent, *instance) {
                    instance.current.signed = Some(signed(at, certificate));
                }
            }
            Effect::Renew { agent, instance, serial, key, not_before, not_after } => {
                let planned = InstanceCertificate::planned(*serial, *key, (*not_before, *not_after));
                let instance = self.instance_mut(*agent, *instance);
                if let Some(before) = instance.map(|instance| instance.next.replace(Box::new(planned))) {
                    self.key_uses.add(key);
                    before.iter().for_each(|before| self.key_uses.subtract(&before.key));
                }
            }
            Effect::RecordRenewed { agent, instance, certificate } => {
                if let Some(next) = self.instance_mut(*agent, *instance).and_then(|one| one.next.as_mut()) {
                    next.signed = Some(signed(at, certificate));
                }
            }
            Effect::EnrolledFrom { agent, instance, address } => {
                if let Some(instance) = self.instance_mut(*agent, *instance) {
                    instance.enrolled_from = Some(*address);
                }
            }
            Effect::Serve { agent, audience } => self.serve(*agent, audience.as_ref()),
            Effect::Place(environments) => self.place(environments),
            Effect::Redirect(changes) => self.declarations = Arc::new(self.declarations.redirected(changes)),
            Effect::Parametrise(changes) => {
                self.declarations = Arc::new(self.declarations.parametrised(changes));
            }
            Effect::Reserve(name) => self.former.delete(name),
            Effect::ActsFor { agent, person } => self.agents.act_for(agent, person.as_ref()),
            Effect::ReadSensitive(agent) => self.agents.read_sensitive(*agent, at.time),
            Effect::Own { thing, owner } => self.owners.set(thing.clone(), owner.clone()),
            Effect::ReportCode(code) => {
                if let Some(code) = self.codes.get_mut(*code) {
                    code.report();
                }
            }
            Effect::EndCodes(codes) => codes.iter().for_each(|code| self.codes.end(at.time, *code)),
            Effect::Promote { agent, instance } => {
                if let Some(instance) = self.instance_mut(*agent, *instance)
                    && let Some(next) = instance.next.take()
                {
                    let before = std::mem::replace(&mut instance.current, *next);
                    self.key_uses.subtract(&before.key);
                }
            }
        }
    }

    fn place(&mut self, environments: &[(CapabilityName, Option<EnvironmentName>)]) {
        self.declarations = Arc::new(self.declarations.placed(environments));
    }

    fn serve(&mut self, agent: AgentId, audience: Option<&Audience>) {
        let Some(agent) = self.agents.get_mut(agent) else { return };
        if agent.serves.as_ref() == audience {
            return;
        }
        if let Some(before) = agent.serves.take() {
            let owner = self.owners.of(&Owned::Agent(agent.name.clone()));
            self.former.leave_audience(&before, owner);
        }
        audience.iter().for_each(|audience| self.former.take_audience(audience));
        agent.serves = audience.cloned();
    }

    fn instance_mut(&mut self, agent: AgentId, instance: InstanceId) -> Option<&mut Instance> {
        self.agents.get_mut(agent).and_then(|agent| agent.instances.get_mut(instance))
    }

    /// A certificate of an instance was signed by this generation of the authority.
    pub fn signed_by(
        &mut self,
        agent: AgentId,
        instance: InstanceId,
        held: CertificateSlot,
        authority: Option<u32>,
    ) {
        let Some(instance) = self.instance_mut(agent, instance) else { return };
        let holding = match held {
            CertificateSlot::Current => Some(&mut instance.current),
            CertificateSlot::Next => instance.next.as_deref_mut(),
        };
        if let Some(signed) = holding.and_then(|holding| holding.signed.as_mut()) {
            signed.authority = authority;
        }
    }

    /// The writes of `effect` to the index.
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
            | Effect::Enrol { .. }
            | Effect::Renew { .. }
            | Effect::Serve { .. }
            | Effect::Own { .. }
            | Effect::Reserve(_)
            | Effect::ReportCode(_)
            | Effect::Narrow(_)
            | Effect::Withdraw(_)
            | Effect::EndCodes(_)
            | Effect::Place(_)
            | Effect::Redirect(_)
            | Effect::Parametrise(_)
            | Effect::EnrolledFrom { .. }
            | Effect::ActsFor { .. }
            | Effect::ReadSensitive(_)
            | Effect::Promote { .. } => {}
        }
    }

    fn declare(
        &mut self,
        capabilities: &[Capability],
        gone: &[CapabilityName],
        roles: &[Role],
        gone_roles: &[RoleName],
    ) {
        let before = Arc::clone(&self.declarations);
        self.declarations = Arc::new(before.changed(capabilities, gone, roles, gone_roles));
        let minted_for = |name: &CapabilityName| match before.capability(name).map(|one| &one.delivery) {
            Some(Delivery::Mint { audience }) => Some(audience.clone()),
            Some(Delivery::Reveal { .. } | Delivery::Lease) | None => None,
        };
        let goes =
            |one: &&Capability| before.capability(&one.name).is_some_and(|old| old.delivery != one.delivery);
        for name in gone.iter().chain(capabilities.iter().filter(goes).map(|one| &one.name)) {
            if let Some(audience) = minted_for(name) {
                let owner = self.owners.of(&Owned::Capability(name.clone()));
                self.former.leave_audience(&audience, owner);
            }
        }
        let lost = gone.iter().cloned().map(Owned::Capability);
        for thing in lost.chain(gone_roles.iter().cloned().map(Owned::Role)) {
            self.former.leave(&thing, self.owners.of(&thing));
            self.owners.set(thing, None);
        }
        for capability in capabilities {
            self.former.take(&Owned::Capability(capability.name.clone()));
            // One that it had already was not judged: it may be what another owner left.
            if let Delivery::Mint { audience } = &capability.delivery
                && minted_for(&capability.name).as_ref() != Some(audience)
            {
                self.former.take_audience(audience);
            }
        }
        roles.iter().for_each(|role| self.former.take(&Owned::Role(role.name.clone())));
        let gone = gone_roles.iter().filter(|role| self.declarations.role(role).is_none());
        let gone: BTreeSet<&RoleName> = gone.collect();
        if !gone.is_empty() {
            self.agents.lose_roles(&gone);
        }
    }

    fn put_agent(&mut self, id: AgentId, spec: &AgentSpec) {
        self.former.take(&Owned::Agent(spec.name.clone()));
        self.agents.put(id, spec);
    }

    /// Its codes stay as long as any others: nobody enrols by one of an agent that is gone.
    fn remove_agent(&mut self, id: AgentId) {
        if let Some(agent) = self.agents.remove(id) {
            agent.instances.iter().for_each(|instance| self.key_uses.forget(instance));
            let thing = Owned::Agent(agent.name);
            let owner = self.owners.of(&thing);
            if let Some(audience) = agent.serves {
                self.former.leave_audience(&audience, owner);
            }
            self.former.leave(&thing, owner);
            self.owners.set(thing, None);
        }
    }

    /// The removals of `narrowing`, in the form of earlier builds.
    #[must_use]
    pub fn removals_of(&self, narrowing: &Narrowing) -> Removals {
        Removals::of_narrowing(&self.declarations, &self.agents, narrowing)
    }

    /// What remains of the objects that lose something by `removals`.
    #[must_use]
    pub fn remaining(&self, removals: &Removals) -> Narrowing {
        removals.remaining(&self.declarations, &self.agents)
    }

    fn withdraw(&mut self, removals: &Removals) {
        let narrower = removals.roles.iter().filter_map(|(name, lost)| {
            let before = &self.declarations.role(name)?.capabilities;
            let capabilities: BTreeSet<_> = before.difference(lost).cloned().collect();
            (capabilities.len() < before.len()).then(|| Role { name: name.clone(), capabilities })
        });
        let narrower: Vec<Role> = narrower.collect();
        if !narrower.is_empty() {
            self.declarations = Arc::new(self.declarations.changed(&[], &[], &narrower, &[]));
        }
        for (name, lost) in &removals.agents {
            let Some(agent) = removals.ids.get(name).and_then(|id| self.agents.get(*id)) else { continue };
            let roles = agent.roles.difference(lost).cloned().collect();
            let spec = AgentSpec { name: agent.name.clone(), roles, max_instances: agent.max_instances };
            let id = agent.id;
            self.agents.put(id, &spec);
        }
        let removed = removals.removed_agents.iter().filter_map(|name| removals.ids.get(name));
        removed.for_each(|id| self.remove_agent(*id));
    }

    fn enrol(&mut self, now: Timestamp, code: CodeId, agent: AgentId, instance: Instance) {
        if let Some(code) = self.codes.get_mut(code) {
            code.redeem(instance.current.key, instance.id);
        }
        if let Some(agent) = self.agents.get_mut(agent) {
            // Beyond the grace it can never act again: what it did is in the ledger.
            let key_uses = &mut self.key_uses;
            agent.instances.retain(|old| {
                let stays = old.not_after().plus_s(INSTANCE_MEMORY_S) > now;
                if !stays {
                    key_uses.forget(old);
                }
                stays
            });
            key_uses.add(&instance.current.key);
            agent.instances.insert(instance);
        }
    }

    /// The codes that can be redeemed and were redeemed by an instance of which `is_concerned` says so.
    pub fn open_codes_of<'a>(
        &'a self,
        now: Timestamp,
        is_concerned: impl Fn(&Instance) -> bool + 'a,
    ) -> impl Iterator<Item = CodeId> + 'a {
        let open = self.codes.iter().filter(move |code| code.expires_at > now && !code.is_used_up());
        let is_of = move |code: &&AgentCode| {
            let agent = self.agent(code.agent);
            let mut instances = code.instances().filter_map(|id| agent?.instances.get(id));
            instances.any(&is_concerned)
        };
        open.filter(is_of).map(|code| code.id)
    }

    /// Entry times go on from `now`: earlier enrolment codes are void, because a wrong clock may have set their ends.
    pub fn time_went_back(&mut self, now: Timestamp) {
        self.agents.time_went_back(now);
        self.codes.time_went_back(now);
        self.ties.time_went_back(now);
    }
}

/// What is known of a certificate that is kept; the room that reads certificates says who signed it.
fn signed(at: At, certificate: &[u8]) -> SignedAgentCertificate {
    SignedAgentCertificate { seq: at.seq, thumbprint: sha256(certificate), authority: None }
}
