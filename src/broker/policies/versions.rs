//! Versions of policies, as the ledger has them: each application says which policies it changed, and its state change has
//! their rules.

use serde::Deserialize;

use super::declared_as_of::{DeclaredAsOf, DeclaringEntries};
use super::version_hash::{hash, unambiguous};
use super::views::policy_with_rule;
use crate::base::limits::{PAST_DECLARATIONS_READ_MAX, POLICY_VERSIONS_LISTED_MAX};
use crate::base::{Cancellation, MOMENT_FORMS, Moment, OwnerName, PolicyName, Scope, Timestamp, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::declarations::export::exported_rules;
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::crypto::Digest;
use crate::ledger::Entry;
use crate::policy::{Authorised, ReadLedger, ReadPolicySets};
use crate::rules::{self, Policy, RulesChange};
use crate::wire::{
    DeclaredKind, ExportAnswer, PastPolicyAnswer, PolicySetAnswer, PolicySetTextAnswer, PolicySetsAnswer,
    PolicyVersionAnswer, PolicyVersionBody, PolicyVersionsAnswer,
};

/// A version of a policy, from its entry on. The rule stays in the ledger until it is shown: a policy can have thousands of
/// versions.
struct PolicyVersion {
    policy: IdentifiedPolicy,
    applied: AppliedAt,
    /// The entry that changed or removed the policy; `None` for the present version.
    ended: Option<AppliedAt>,
}

/// A version with its policy.
pub(super) struct ShownVersion {
    pub(super) policy: Policy,
    version: PolicyVersion,
}

/// What is kept of a policy.
struct IdentifiedPolicy {
    hash: Digest,
    owner: Option<OwnerName>,
}

impl IdentifiedPolicy {
    fn of(policy: Policy) -> Self {
        Self { hash: policy.rule.digest(), owner: policy.owner }
    }
}

/// An application.
#[derive(Clone, Debug)]
struct AppliedAt {
    seq: u64,
    at: Timestamp,
    by: String,
    /// The second operator, which approved the plan.
    approved_by: Option<String>,
}

/// An application, and the set that it made.
#[derive(Clone, Debug)]
pub(super) struct AppliedSet {
    applied: AppliedAt,
    /// The hash of the policy snapshot from here on.
    pub(super) snapshot: String,
}

/// The sets that one search found.
struct FoundSets {
    /// The newest first.
    sets: Vec<AppliedSet>,
    /// The entry from which on the ledger was searched.
    since_seq: u64,
}

/// The fields of `declarations.applied` that say what changed.
#[derive(Deserialize)]
struct Applied {
    operator: String,
    changes: Vec<ChangedObject>,
    snapshot: String,
    approved: Option<SecondOperator>,
}

#[derive(Deserialize)]
struct SecondOperator {
    operator: String,
}

#[derive(Deserialize)]
struct ChangedObject {
    kind: String,
    name: String,
}

impl Applied {
    fn of(entry: &Entry) -> Option<Self> {
        serde_json::from_slice(&entry.event).ok()
    }

    fn changes(&self, kind: DeclaredKind, name: Option<&str>) -> bool {
        let is_it =
            |one: &ChangedObject| one.kind == kind.as_str() && name.is_none_or(|name| one.name == name);
        self.changes.iter().any(is_it)
    }

    fn at(self, entry: &Entry) -> AppliedSet {
        let approved_by = self.approved.map(|second| second.operator);
        let applied = AppliedAt { seq: entry.seq, at: entry.time, by: self.operator, approved_by };
        AppliedSet { applied, snapshot: self.snapshot }
    }
}

/// The versions that one search found.
struct FoundVersions {
    /// The newest first.
    versions: Vec<PolicyVersion>,
    /// The entry from which on the ledger was searched.
    since_seq: u64,
}

impl FoundVersions {
    /// The version with this hash, or with a hash that begins so.
    fn with_hash(self, hash: &str) -> Result<Option<PolicyVersion>, Failure> {
        unambiguous(hash, self.versions.iter().map(|one| one.policy.hash.hex()))?;
        Ok(self.versions.into_iter().find(|one| one.policy.hash.hex().starts_with(hash)))
    }
}

/// The newest versions that an answer lists.
struct Listed<A> {
    items: Vec<A>,
    /// The number of others.
    further: usize,
}

impl<A> Listed<A> {
    fn of<V>(all: &[V], answer: impl FnMut(&V) -> A) -> Self {
        let further = all.len().saturating_sub(POLICY_VERSIONS_LISTED_MAX);
        Self { items: all.iter().take(POLICY_VERSIONS_LISTED_MAX).map(answer).collect(), further }
    }
}

/// The past time in `text`.
fn past(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let found = Moment::parse(text).map(|moment| moment.seen_from(now));
    let why = || format!("`at` is not {MOMENT_FORMS}, or it is in the future");
    found.filter(|at| *at <= now).ok_or_else(|| Failure::new(code::JSON_INVALID).because(why()))
}

impl AdminServices {
    /// The versions of the policy `name` within the operator's scope, the newest first.
    ///
    /// # Errors
    /// [`Failure`] if the policy never existed within the scope.
    pub fn policy_versions(
        &self,
        by: &Authorised<ReadLedger>,
        name: &PolicyName,
        work: &Cancellation,
    ) -> Result<PolicyVersionsAnswer, Failure> {
        let scope = by.operator().scope();
        let FoundVersions { versions, since_seq } = self.0.policy_versions(scope, name, None, work)?;
        if versions.is_empty() && since_seq > 1 {
            return Err(version_unknown(name, "", since_seq));
        }
        if versions.is_empty() {
            return Err(Failure::new(code::POLICY_UNKNOWN));
        }
        let Listed { items: versions, further } = Listed::of(&versions, version);
        Ok(PolicyVersionsAnswer {
            name: name.clone(),
            versions,
            further,
            since_seq,
            complete: since_seq <= 1,
        })
    }

    /// The version of the policy `name` that was in force at a time, or that has a hash, with its rule.
    ///
    /// # Errors
    /// [`Failure`] if there is none within the scope.
    pub fn policy_version(
        &self,
        by: &Authorised<ReadLedger>,
        name: &PolicyName,
        wanted: &PolicyVersionBody,
        work: &Cancellation,
    ) -> Result<PastPolicyAnswer, Failure> {
        let scope = by.operator().scope();
        let ShownVersion { policy, version: shown } = match (&wanted.at, &wanted.hash) {
            (Some(at), None) => {
                let at = past(at, self.0.state.clock.now())?;
                self.0.policy_in_force(scope, name, at, work)?
            }
            (None, Some(text)) => self.0.policy_with_hash(scope, name, text, work)?,
            (Some(_), Some(_)) | (None, None) => {
                let why = "the request has not exactly one of `at` and `hash`";
                return Err(Failure::new(code::JSON_INVALID).because(why));
            }
        };
        Ok(PastPolicyAnswer { policy: policy_with_rule(&policy), version: version(&shown) })
    }

    /// The applications that changed policies, environments or groups of approvers, the newest first.
    ///
    /// # Errors
    /// [`Failure`] if the ledger is damaged there.
    pub fn policy_sets(
        &self,
        _by: &Authorised<ReadPolicySets>,
        work: &Cancellation,
    ) -> Result<PolicySetsAnswer, Failure> {
        let changes_set = |applied: &Applied| OF_SET.iter().any(|kind| applied.changes(*kind, None));
        let FoundSets { sets, since_seq } = self.0.policy_sets(changes_set, work)?;
        let Listed { items: sets, further } = Listed::of(&sets, set);
        Ok(PolicySetsAnswer { sets, further, since_seq, complete: since_seq <= 1 })
    }

    /// The policies, environments and groups of approvers of the set with this hash, as a declaration file.
    ///
    /// # Errors
    /// [`Failure`] if no application made it, or the ledger has too many entries.
    pub fn policy_set(
        &self,
        by: &Authorised<ReadPolicySets>,
        hash: &str,
        work: &Cancellation,
    ) -> Result<PolicySetTextAnswer, Failure> {
        let (applied, then) = self.0.policy_set(hash, work)?;
        let ExportAnswer { text, objects, .. } = self
            .0
            .state
            .store
            .read(|world, _| exported_rules(world, &then.rules, by.operator().scope(), work))?;
        Ok(PolicySetTextAnswer { set: set(&applied), text, objects })
    }
}

impl Services {
    /// The versions of a policy within `scope`, the newest first, as of the time `until`.
    fn policy_versions(
        &self,
        scope: &Scope,
        name: &PolicyName,
        until: Option<Timestamp>,
        work: &Cancellation,
    ) -> Result<FoundVersions, Failure> {
        let mut changes: Vec<(AppliedAt, Option<IdentifiedPolicy>)> = Vec::new();
        let entries = DeclaringEntries { from: 1, through: self.state.store.head().seq, until };
        let since_seq = entries.each(self, work, |entry| {
            let applied = Applied::of(entry);
            let kind = DeclaredKind::Policy;
            if let Some(applied) = applied.filter(|one| one.changes(kind, Some(name.as_str())))
                && let Some(AfterChange(policy)) = self.policy_changed_by(entry, name)?
            {
                changes.push((applied.at(entry).applied, policy.map(IdentifiedPolicy::of)));
            }
            Ok(())
        })?;
        changes.sort_unstable_by_key(|(applied, _)| std::cmp::Reverse(applied.seq));
        let (mut versions, mut ended) = (Vec::new(), None);
        for (applied, policy) in changes {
            let until = ended.replace(applied.clone());
            let policy = policy.filter(|policy| scope.covers(policy.owner.as_ref()));
            versions.extend(policy.map(|policy| PolicyVersion { policy, applied, ended: until }));
        }
        Ok(FoundVersions { versions, since_seq })
    }

    /// What the state change of `entry` does with the policy, if it changes it: its new declaration, or its removal.
    fn policy_changed_by(&self, entry: &Entry, name: &PolicyName) -> Result<Option<AfterChange>, Failure> {
        for effect in self.state.store.effects(entry)? {
            if let Effect::Rules(rules::Effect::Declare(change)) = effect
                && let Some(policy) = changed(change, name)
            {
                return Ok(Some(policy));
            }
        }
        Ok(None)
    }

    /// The policy of a version, with its rule.
    fn policy_of(&self, name: &PolicyName, version: &PolicyVersion) -> Result<Option<Policy>, Failure> {
        let seq = version.applied.seq;
        let entries = self.state.store.entries(seq, 1)?;
        let Some(entry) = entries.first().filter(|entry| entry.seq == seq) else { return Ok(None) };
        Ok(self.policy_changed_by(entry, name)?.and_then(|AfterChange(policy)| policy))
    }

    /// The policy that was in force at a time.
    fn policy_in_force(
        &self,
        scope: &Scope,
        name: &PolicyName,
        at: Timestamp,
        work: &Cancellation,
    ) -> Result<ShownVersion, Failure> {
        let FoundVersions { versions, since_seq } = self.policy_versions(scope, name, Some(at), work)?;
        let unknown = || version_unknown(name, &format!(" at {at}"), since_seq);
        let version = versions.into_iter().next().filter(|one| one.ended.is_none()).ok_or_else(unknown)?;
        let policy = self.policy_of(name, &version)?.ok_or_else(unknown)?;
        Ok(ShownVersion { policy, version })
    }

    /// The policy of the version with this hash, or with a hash that begins so.
    pub(super) fn policy_with_hash(
        &self,
        scope: &Scope,
        name: &PolicyName,
        text: &str,
        work: &Cancellation,
    ) -> Result<ShownVersion, Failure> {
        let wanted = hash(text)?;
        let found = self.policy_versions(scope, name, None, work)?;
        let since_seq = found.since_seq;
        let unknown = || version_unknown(name, &format!(" with the hash {wanted}"), since_seq);
        let version = found.with_hash(&wanted)?.ok_or_else(unknown)?;
        let policy = self.policy_of(name, &version)?.ok_or_else(unknown)?;
        Ok(ShownVersion { policy, version })
    }

    /// The sets of the applications that `is_wanted` accepts.
    fn policy_sets(
        &self,
        is_wanted: impl Fn(&Applied) -> bool,
        work: &Cancellation,
    ) -> Result<FoundSets, Failure> {
        let mut sets: Vec<AppliedSet> = Vec::new();
        let entries = DeclaringEntries { from: 1, through: self.state.store.head().seq, until: None };
        let since_seq = entries.each(self, work, |entry| {
            sets.extend(Applied::of(entry).filter(&is_wanted).map(|one| one.at(entry)));
            Ok(())
        })?;
        sets.sort_unstable_by_key(|one| std::cmp::Reverse(one.applied.seq));
        Ok(FoundSets { sets, since_seq })
    }

    /// The newest set with this hash, or with a hash that begins so. Each application has one, also one that changed only
    /// capabilities or roles: the entries of decisions name it.
    pub(super) fn policy_set(
        &self,
        text: &str,
        work: &Cancellation,
    ) -> Result<(AppliedSet, DeclaredAsOf), Failure> {
        let wanted = hash(text)?;
        let FoundSets { sets, since_seq } = self.policy_sets(|_| true, work)?;
        unambiguous(&wanted, sets.iter().map(|one| one.snapshot.clone()))?;
        let found = sets.into_iter().find(|one| one.snapshot.starts_with(&wanted));
        let found = found.ok_or_else(|| unfound(&format!("set with the hash {wanted}"), since_seq))?;
        let then = self.declared_as_of(found.applied.seq, work)?;
        let then = then.ok_or_else(|| unmade(&wanted, found.applied.seq))?;
        Ok((found, then))
    }
}

/// The kinds of the objects of a set.
pub(super) const OF_SET: [DeclaredKind; 3] =
    [DeclaredKind::Policy, DeclaredKind::Environment, DeclaredKind::ApproverGroup];

/// A policy after a change: its new declaration, or `None` if it was removed.
struct AfterChange(Option<Policy>);

/// What the change does with the policy.
fn changed(change: RulesChange, name: &PolicyName) -> Option<AfterChange> {
    let is_removed = change.removed_policies.contains(name);
    let declared = change.policies.into_iter().find(|policy| policy.name == *name);
    (declared.is_some() || is_removed).then_some(AfterChange(declared))
}

fn version_unknown(name: &PolicyName, when: &str, since_seq: u64) -> Failure {
    let fix = format!("`keyward policy history {name}` lists the versions of the policy with their hashes");
    unfound(&format!("version of policy `{name}`{when}"), since_seq).mended_by(fix)
}

/// The failure of a search for `what`, which began at the entry `since_seq`.
fn unfound(what: &str, since_seq: u64) -> Failure {
    let why = if since_seq <= 1 {
        format!("there is no {what}")
    } else {
        format!(
            "there is no {what} from ledger entry {since_seq} on, and earlier entries were not searched: one request reads at \
             most {PAST_DECLARATIONS_READ_MAX} entries"
        )
    };
    Failure::new(code::POLICY_VERSION_UNKNOWN).because(why)
}

/// The failure of a set that is known, but needs too many entries.
fn unmade(hash: &str, seq: u64) -> Failure {
    let why = format!(
        "the set with the hash {hash} is of ledger entry {seq}, and its policies are in more than \
         {PAST_DECLARATIONS_READ_MAX} ledger entries, which is more than one request reads"
    );
    let fix = "bring single policies back: `keyward policy rollback NAME --to HASH`";
    Failure::new(code::POLICY_VERSION_UNKNOWN).because(why).mended_by(fix)
}

fn version(PolicyVersion { policy, applied, ended }: &PolicyVersion) -> PolicyVersionAnswer {
    PolicyVersionAnswer {
        hash: policy.hash.hex(),
        owner: policy.owner.clone(),
        from: applied.at.to_string(),
        until: ended.as_ref().map(|ended| ended.at.to_string()),
        by: applied.by.clone(),
        approved_by: applied.approved_by.clone(),
        seq: applied.seq,
    }
}

fn set(AppliedSet { applied, snapshot }: &AppliedSet) -> PolicySetAnswer {
    let AppliedAt { seq, at, by, approved_by } = applied.clone();
    PolicySetAnswer { hash: snapshot.clone(), from: at.to_string(), by, approved_by, seq }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_says_where_an_incomplete_search_began() {
        let why = |since_seq| {
            let failure = version_unknown(&"p".parse().unwrap(), " with the hash 00", since_seq);
            assert_eq!(failure.code, code::POLICY_VERSION_UNKNOWN);
            failure.why.into_owned()
        };
        assert_eq!(why(1), "there is no version of policy `p` with the hash 00");
        assert!(why(501).contains("from ledger entry 501 on, and earlier entries were not searched"));
    }

    #[test]
    fn versions_are_listed_up_to_the_limit() {
        for (count, further) in [(POLICY_VERSIONS_LISTED_MAX, 0), (POLICY_VERSIONS_LISTED_MAX + 1, 1)] {
            let versions: Vec<usize> = (0..count).collect();
            let listed = Listed::of(&versions, |version| *version);
            assert_eq!((listed.items.len(), listed.further), (POLICY_VERSIONS_LISTED_MAX, further));
            assert_eq!(listed.items.first(), Some(&0), "the newest come first");
        }
    }
}
