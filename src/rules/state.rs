use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::approver_group::{ApproverGroup, GroupsChange};
use super::declared::{Environment, Policy};
use super::facts::Facts;
use super::keys;
use super::model::Question;
use super::slices::Slices;
use super::verdict::Verdict;
use crate::base::{ApproverGroupName, EnvironmentName, OwnerName, PolicyName};
use crate::crypto::{Digest, sha256, sha256_parts};
use crate::ledger::Key;

/// A state change of this room.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Effect {
    /// Changes what is declared, all at once.
    Declare(RulesChange),
    /// Changes the declared groups of approvers, all at once.
    DeclareGroups(GroupsChange),
}

/// Changes of policies and environments.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct RulesChange {
    /// Policies declared or replaced.
    pub policies: Vec<Policy>,
    /// Policies removed.
    pub removed_policies: Vec<PolicyName>,
    /// Environments declared or replaced.
    pub environments: Vec<Environment>,
    /// Environments removed.
    pub removed_environments: Vec<EnvironmentName>,
}

impl RulesChange {
    /// Whether it changes nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.policies.is_empty()
            && self.removed_policies.is_empty()
            && self.environments.is_empty()
            && self.removed_environments.is_empty()
    }
}

impl Effect {
    /// Adds what it advances: a decision that relied on one of these keys before is made again.
    pub fn advances(&self, keys: &mut Vec<Key>) {
        match self {
            Self::Declare(_) | Self::DeclareGroups(_) => keys.push(keys::rules()),
        }
    }

    /// Whether it takes something away: such an entry is anchored at once.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        match self {
            Self::Declare(_) | Self::DeclareGroups(_) => true,
        }
    }
}

/// Policies and environments in memory.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(from = "StoredRules")]
pub struct Rules {
    policies: BTreeMap<PolicyName, Arc<Policy>>,
    environments: BTreeMap<EnvironmentName, Environment>,
    groups: BTreeMap<ApproverGroupName, ApproverGroup>,
    #[serde(skip)]
    slices: Arc<Slices>,
    /// `None` without policies, environments and groups.
    #[serde(skip)]
    digest: Option<Digest>,
    /// Whether a policy tests when an agent last read a sensitive secret.
    #[serde(skip)]
    test_past_reads: bool,
}

/// What a snapshot has of [`Rules`].
#[derive(Deserialize)]
struct StoredRules {
    policies: BTreeMap<PolicyName, Arc<Policy>>,
    environments: BTreeMap<EnvironmentName, Environment>,
    groups: BTreeMap<ApproverGroupName, ApproverGroup>,
}

impl From<StoredRules> for Rules {
    fn from(StoredRules { policies, environments, groups }: StoredRules) -> Self {
        let slices = Arc::new(Slices::of(policies.values()));
        let mut rules = Self { policies, environments, groups, slices, digest: None, test_past_reads: false };
        rules.settle();
        rules
    }
}

impl Rules {
    /// Whether no policy is declared: every verdict is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// Whether a policy tests when an agent last read a secret of the sensitivity `high`: decisions then rely on it.
    #[must_use]
    pub const fn test_past_reads(&self) -> bool {
        self.test_past_reads
    }

    /// The policy of this name.
    #[must_use]
    pub fn policy(&self, name: &PolicyName) -> Option<&Policy> {
        self.policies.get(name).map(|policy| &**policy)
    }

    /// All policies, by name.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies.values().map(|policy| &**policy)
    }

    /// The environment of this name.
    #[must_use]
    pub fn environment(&self, name: &EnvironmentName) -> Option<&Environment> {
        self.environments.get(name)
    }

    /// All environments, by name.
    pub fn environments(&self) -> impl Iterator<Item = &Environment> {
        self.environments.values()
    }

    /// The group of approvers of this name.
    #[must_use]
    pub fn group(&self, name: &ApproverGroupName) -> Option<&ApproverGroup> {
        self.groups.get(name)
    }

    /// All groups of approvers, by name.
    pub fn groups(&self) -> impl Iterator<Item = &ApproverGroup> {
        self.groups.values()
    }

    /// The owners of policies, environments and groups of approvers.
    pub fn owners(&self) -> impl Iterator<Item = &OwnerName> {
        let policies = self.policies().filter_map(|policy| policy.owner.as_ref());
        let groups = self.groups().filter_map(|group| group.owner.as_ref());
        let environments = self.environments().filter_map(|environment| environment.owner.as_ref());
        policies.chain(environments).chain(groups)
    }

    /// The hash of the policy snapshot: of the declarations with the hash `declared`, and of these rules.
    #[must_use]
    pub fn snapshot_with(&self, declared: Digest) -> Digest {
        match &self.digest {
            None => declared,
            Some(digest) => sha256_parts(&[declared.as_bytes(), digest.as_bytes()]),
        }
    }

    /// The hash of all policies, environments and groups of approvers; `None` without any.
    #[must_use]
    pub const fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Applies an effect.
    pub fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Declare(change) => self.change(change),
            Effect::DeclareGroups(change) => self.change_groups(change),
        }
    }

    /// These rules after `change` and the change of `groups`.
    #[must_use]
    pub fn after(&self, change: &RulesChange, groups: &GroupsChange) -> Self {
        let mut after = self.clone();
        after.change(change);
        after.change_groups(groups);
        after
    }

    fn change(&mut self, change: &RulesChange) {
        let RulesChange { policies, removed_policies, environments, removed_environments } = change;
        let slices = Arc::make_mut(&mut self.slices);
        for name in removed_policies.iter().chain(policies.iter().map(|policy| &policy.name)) {
            if let Some(before) = self.policies.remove(name) {
                slices.remove(&before);
            }
        }
        for policy in policies {
            let policy = Arc::new(policy.clone());
            slices.add(&policy);
            self.policies.insert(policy.name.clone(), policy);
        }
        removed_environments.iter().for_each(|name| drop(self.environments.remove(name)));
        self.environments.extend(environments.iter().map(|one| (one.name.clone(), one.clone())));
        self.settle();
    }

    fn change_groups(&mut self, change: &GroupsChange) {
        change.removed.iter().for_each(|name| drop(self.groups.remove(name)));
        self.groups.extend(change.groups.iter().map(|one| (one.name.clone(), one.clone())));
        self.settle();
    }

    /// Computes what follows from the declarations.
    fn settle(&mut self) {
        self.digest = self.digested();
        self.test_past_reads = self.policies.values().any(|policy| policy.rule.tests_past_reads());
    }

    /// The hash of all policies, environments and groups, in the order of their names.
    fn digested(&self) -> Option<Digest> {
        let Self { policies, environments, groups, .. } = self;
        let rules =
            (!policies.is_empty() || !environments.is_empty()).then(|| digest(policies, environments));
        let groups = (!groups.is_empty())
            .then(|| sha256(&serde_json::to_vec(&groups.values().collect::<Vec<_>>()).unwrap_or_default()));
        match (rules, groups) {
            (rules, None) => rules,
            (None, Some(groups)) => Some(groups),
            (Some(rules), Some(groups)) => Some(sha256_parts(&[rules.as_bytes(), groups.as_bytes()])),
        }
    }

    /// The verdict of the policies on a request. Only policies whose head fits the request are evaluated.
    #[must_use]
    pub fn judge(&self, facts: &Facts<'_>) -> Verdict {
        self.judge_without(facts, None)
    }

    /// [`Self::judge`] as if the policy `disregarded` did not exist.
    #[must_use]
    pub fn judge_without(&self, facts: &Facts<'_>, disregarded: Option<&PolicyName>) -> Verdict {
        let mut policies = self.slices.concerning(facts);
        policies.retain(|policy| disregarded != Some(&policy.name));
        Self::verdict(facts, policies)
    }

    /// [`Self::judge`] without slices: every policy is evaluated.
    #[cfg(test)]
    pub(super) fn judge_unsliced(&self, facts: &Facts<'_>) -> Verdict {
        let is_concerned =
            |policy: &&Arc<Policy>| policy.owner.is_none() || policy.owner.as_ref() == facts.capability.owner;
        Self::verdict(facts, self.policies.values().filter(is_concerned).collect())
    }

    fn verdict(facts: &Facts<'_>, policies: Vec<&Arc<Policy>>) -> Verdict {
        if policies.is_empty() {
            return Verdict::default();
        }
        let question = Question::of(facts);
        let (untested, tested): (Vec<&Arc<Policy>>, Vec<&Arc<Policy>>) =
            policies.into_iter().partition(|policy| policy.rule.tests_hidden(facts));
        let results = tested.into_iter().map(|policy| (policy, policy.rule.evaluate(question.as_ref())));
        Verdict::of(results.map(|(policy, result)| (&**policy, result))).untested(!untested.is_empty())
    }
}

/// The hash of all policies and environments, in the order of their names.
fn digest(
    policies: &BTreeMap<PolicyName, Arc<Policy>>,
    environments: &BTreeMap<EnvironmentName, Environment>,
) -> Digest {
    let policies = policies.values().map(|one| (&one.name, one.rule.digest().hex(), &one.owner));
    let content = (policies.collect::<Vec<_>>(), environments.values().collect::<Vec<_>>());
    // Lists of names and texts always have a JSON form.
    sha256(&serde_json::to_vec(&content).unwrap_or_default())
}
