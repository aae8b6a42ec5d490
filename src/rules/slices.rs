use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::declared::Policy;
use super::facts::Facts;
use super::rule::{PrincipalScope, ResourceScope};
use crate::base::{OwnerName, PolicyName};

/// Policies by the head of their rules: a decision looks only at those whose head its request can match. A rule without a
/// scope is found by every request.
#[derive(Clone, Debug, Default)]
pub(super) struct Slices(HashMap<SliceKey, BTreeMap<PolicyName, Arc<Policy>>>);

/// What the policies of a slice have in common.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct SliceKey {
    /// A policy of an owner concerns only the capabilities of this owner.
    owner: Option<OwnerName>,
    principal: PrincipalScope,
    resource: ResourceScope,
}

impl SliceKey {
    fn of(policy: &Policy) -> Self {
        let head = policy.rule.head();
        Self { owner: policy.owner.clone(), principal: head.principal, resource: head.resource }
    }
}

impl Slices {
    pub(super) fn of<'a>(policies: impl IntoIterator<Item = &'a Arc<Policy>>) -> Self {
        let mut slices = Self::default();
        policies.into_iter().for_each(|policy| slices.add(policy));
        slices
    }

    pub(super) fn add(&mut self, policy: &Arc<Policy>) {
        let slice = self.0.entry(SliceKey::of(policy)).or_default();
        slice.insert(policy.name.clone(), Arc::clone(policy));
    }

    pub(super) fn remove(&mut self, policy: &Policy) {
        let key = SliceKey::of(policy);
        if let Some(slice) = self.0.get_mut(&key) {
            slice.remove(&policy.name);
            if slice.is_empty() {
                self.0.remove(&key);
            }
        }
    }

    /// The policies that can match a request with these facts.
    pub(super) fn concerning<'a>(&'a self, facts: &Facts<'_>) -> Vec<&'a Arc<Policy>> {
        let mut found = Vec::new();
        let owners: Vec<_> = std::iter::once(None).chain(facts.capability.owner.map(Some)).collect();
        let agent = PrincipalScope::Agent(facts.agent.name.clone());
        let roles = facts.agent.roles.iter().cloned().map(PrincipalScope::Role);
        let principals: Vec<_> = [PrincipalScope::Any, agent].into_iter().chain(roles).collect();
        let capability = ResourceScope::Capability(facts.capability.name.clone());
        let environment = facts.capability.environment.cloned().map(ResourceScope::Environment);
        for resource in [ResourceScope::Any, capability].into_iter().chain(environment) {
            for principal in &principals {
                for owner in &owners {
                    let (owner, principal) = (owner.cloned(), principal.clone());
                    let key = SliceKey { owner, principal, resource: resource.clone() };
                    let slice = self.0.get(&key).into_iter().flat_map(BTreeMap::values);
                    found.extend(slice.filter(|policy| policy.rule.concerns(facts.action)));
                }
            }
        }
        found
    }
}
