//! The ties of agents and capabilities by which credentials are judged, and those that have ended.

use std::collections::BTreeSet;

use super::declared::{Capability, Delivery};
use super::effect::Effect;
use super::owners::Owned;
use super::state::Registry;
use super::ties::{Tie, Tied};
use crate::base::{AgentId, CapabilityName, OwnerName, RoleName, SecretName};
use crate::store::At;

impl Registry {
    /// The owners of the agent that it lost after entry `issued`.
    pub fn former_owners(&self, agent: AgentId, issued: u64) -> impl Iterator<Item = &OwnerName> {
        self.ties.of(&Tied::Agent(agent), issued).filter_map(Tie::owner)
    }

    /// The roles of the agent that it lost after entry `issued`.
    pub fn former_roles(&self, agent: AgentId, issued: u64) -> impl Iterator<Item = &RoleName> {
        self.ties.of(&Tied::Agent(agent), issued).filter_map(Tie::role)
    }

    /// The roles that the capability was in, after entry `issued`, and is not any more.
    pub fn former_roles_with(&self, capability: &CapabilityName, issued: u64) -> BTreeSet<&RoleName> {
        self.ties.of(&Tied::Capability(capability.clone()), issued).filter_map(Tie::role).collect()
    }

    /// The owners of the capability that it lost after entry `issued`.
    pub fn former_owners_of(
        &self,
        capability: &CapabilityName,
        issued: u64,
    ) -> impl Iterator<Item = &OwnerName> {
        self.ties.of(&Tied::Capability(capability.clone()), issued).filter_map(Tie::owner)
    }

    /// The secrets that the capability revealed after entry `issued`, and does not any more.
    pub fn former_secrets_of(
        &self,
        capability: &CapabilityName,
        issued: u64,
    ) -> impl Iterator<Item = &SecretName> {
        self.ties.of(&Tied::Capability(capability.clone()), issued).filter_map(Tie::secret)
    }

    /// The present ties that `effect` can end.
    pub(super) fn ties_of(&self, effect: &Effect) -> Vec<(Tied, Tie)> {
        let mut found = Vec::new();
        match effect {
            Effect::Declare { capabilities, removed_capabilities, roles, removed_roles } => {
                let names = capabilities.iter().map(|one| &one.name).chain(removed_capabilities);
                names.for_each(|name| self.ties_of_capability(name, &mut found));
                let names = roles.iter().map(|one| &one.name).chain(removed_roles);
                names.for_each(|name| self.capabilities_of(name, &mut found));
                self.roles_in(removed_roles, &mut found);
                self.holders_of(removed_capabilities, &mut found);
            }
            Effect::PutAgent { id, .. } => self.roles_of(*id, &mut found),
            Effect::Own { thing, .. } => self.owner_of(thing, &mut found),
            Effect::Withdraw(removals) => {
                removals.ids.values().for_each(|id| self.roles_of(*id, &mut found));
                removals.roles.keys().for_each(|name| self.capabilities_of(name, &mut found));
            }
            Effect::Narrow(narrowing) => {
                found = self.ties_of(&Effect::Withdraw(self.removals_of(narrowing)));
            }
            // No credential of an agent that is gone is accepted; another agent of its name has another id.
            Effect::RemoveAgent(_)
            | Effect::Enrol { .. }
            | Effect::RecordCertificate { .. }
            | Effect::Renew { .. }
            | Effect::RecordRenewed { .. }
            | Effect::Promote { .. }
            | Effect::IssueCode { .. }
            | Effect::Serve { .. }
            | Effect::ReportCode(_)
            | Effect::EnrolledFrom { .. }
            | Effect::Reserve(_)
            | Effect::EndCodes(_)
            | Effect::Place(_)
            | Effect::Redirect(_)
            | Effect::Parametrise(_)
            | Effect::ActsFor { .. }
            | Effect::ReadSensitive(_) => {}
        }
        found
    }

    /// Keeps those of `before` that the entry at `at` has ended.
    pub(super) fn keep_ended(&mut self, at: At, before: Vec<(Tied, Tie)>) {
        for (object, tie) in before {
            if !self.is_tied(&object, &tie) {
                self.ties.add(at.seq, at.time, object, tie);
            }
        }
    }

    fn is_tied(&self, object: &Tied, tie: &Tie) -> bool {
        let declarations = self.declarations();
        match (object, tie) {
            (Tied::Agent(id), Tie::Role(role)) => self.agent(*id).is_some_and(|one| one.roles.contains(role)),
            (Tied::Agent(id), Tie::Owner(owner)) => {
                let thing = self.agent(*id).map(|one| Owned::Agent(one.name.clone()));
                thing.is_some_and(|thing| self.owners().of(&thing) == Some(owner))
            }
            (Tied::Capability(name), Tie::Role(role)) => {
                declarations.role(role).is_some_and(|one| one.capabilities.contains(name))
            }
            (Tied::Capability(name), Tie::Owner(owner)) => {
                self.owners().of(&Owned::Capability(name.clone())) == Some(owner)
            }
            (Tied::Capability(name), Tie::Secret(secret)) => {
                declarations.capability(name).and_then(revealed) == Some(secret)
            }
            (Tied::Agent(_), Tie::Secret(_)) => false,
        }
    }

    fn ties_of_capability(&self, name: &CapabilityName, found: &mut Vec<(Tied, Tie)>) {
        self.owner_of(&Owned::Capability(name.clone()), found);
        if let Some(secret) = self.declarations().capability(name).and_then(revealed) {
            found.push((Tied::Capability(name.clone()), Tie::Secret(secret.clone())));
        }
    }

    fn owner_of(&self, thing: &Owned, found: &mut Vec<(Tied, Tie)>) {
        let Some(owner) = self.owners().of(thing) else { return };
        let object = match thing {
            Owned::Agent(name) => self.agent_named(name).map(|agent| Tied::Agent(agent.id)),
            Owned::Capability(name) => Some(Tied::Capability(name.clone())),
            // Credentials do not belong to the owner of a role.
            Owned::Role(_) => None,
        };
        found.extend(object.map(|object| (object, Tie::Owner(owner.clone()))));
    }

    fn capabilities_of(&self, role: &RoleName, found: &mut Vec<(Tied, Tie)>) {
        let capabilities = self.declarations().role(role).into_iter().flat_map(|one| &one.capabilities);
        found.extend(capabilities.map(|name| (Tied::Capability(name.clone()), Tie::Role(role.clone()))));
    }

    fn roles_of(&self, agent: AgentId, found: &mut Vec<(Tied, Tie)>) {
        let roles = self.agent(agent).into_iter().flat_map(|one| one.roles.iter());
        found.extend(roles.map(|role| (Tied::Agent(agent), Tie::Role(role.clone()))));
    }

    /// The agents that have one of `roles`.
    fn roles_in(&self, roles: &[RoleName], found: &mut Vec<(Tied, Tie)>) {
        if roles.is_empty() {
            return;
        }
        for agent in self.agents() {
            let held = roles.iter().filter(|role| agent.roles.contains(*role));
            found.extend(held.map(|role| (Tied::Agent(agent.id), Tie::Role(role.clone()))));
        }
    }

    /// The roles that hold one of `capabilities`.
    fn holders_of(&self, capabilities: &[CapabilityName], found: &mut Vec<(Tied, Tie)>) {
        for role in self.declarations().roles() {
            let held = capabilities.iter().filter(|name| role.capabilities.contains(*name));
            found.extend(held.map(|name| (Tied::Capability(name.clone()), Tie::Role(role.name.clone()))));
        }
    }
}

const fn revealed(capability: &Capability) -> Option<&SecretName> {
    if let Delivery::Reveal { secret } = &capability.delivery { Some(secret) } else { None }
}
