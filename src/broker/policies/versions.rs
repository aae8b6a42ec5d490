//! Versions of policies, as the ledger has them: each application says which policies it changed, and its state change has
//! their rules.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::declared_as_of::{DeclaredAsOf, DeclaringEntries};
use super::views::policy_with_rule;
use crate::base::limits::POLICY_VERSIONS_LISTED_MAX;
use crate::base::{Cancellation, MOMENT_FORMS, Moment, PolicyName, Scope, Timestamp, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::declarations::export::exported_rules;
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::broker::world::Effect;
use crate::ledger::Entry;
use crate::policy::{Authorised, ReadLedger, ReadPolicySets};
use crate::rules::{self, Policy, RulesChange};
use crate::wire::{
    DeclaredKind, ExportAnswer, PastPolicyAnswer, PlannedChange, PolicySetAnswer, PolicySetTextAnswer,
    PolicySetsAnswer, PolicyVersionAnswer, PolicyVersionBody, PolicyVersionsAnswer,
};

/// A version of a policy, from its entry on.
struct PolicyVersion {
    policy: Policy,
    applied: AppliedAt,
    /// The entry that changed or removed the policy; `None` for the present version.
    ended: Option<AppliedAt>,
}

/// An application.
#[derive(Clone, Debug)]
struct AppliedAt {
    seq: u64,
    at: Timestamp,
    by: String,
    /// The hash of the policy snapshot from here on.
    snapshot: String,
}

/// The fields of `declarations.applied` that say what changed.
#[derive(Deserialize)]
struct Applied {
    operator: String,
    changes: Vec<ChangedObject>,
    snapshot: String,
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

    fn at(self, entry: &Entry) -> AppliedAt {
        AppliedAt { seq: entry.seq, at: entry.time, by: self.operator, snapshot: self.snapshot }
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
        let known = self.versions.iter().map(|one| one.policy.rule.digest().hex());
        unambiguous(hash, known)?;
        Ok(self.versions.into_iter().find(|one| one.policy.rule.digest().hex().starts_with(hash)))
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

/// Checks that at most one of the `known` hashes begins with `hash`.
fn unambiguous(hash: &str, known: impl Iterator<Item = String>) -> Result<(), Failure> {
    let meant: BTreeSet<String> = known.filter(|one| one.starts_with(hash)).collect();
    let (Some(one), Some(other)) = (meant.first(), meant.iter().nth(1)) else { return Ok(()) };
    let why = format!("several versions have a hash that begins with {hash}, e.g. {one} and {other}");
    Err(Failure::new(code::POLICY_VERSION_UNKNOWN).because(why).mended_by("name more characters of the hash"))
}

/// Fewest characters of a hash that name a version.
const HASH_CHARS_MIN: usize = 8;

/// The beginning of a hash in hex that `text` is.
fn hash(text: &str) -> Result<String, Failure> {
    let text = text.trim().to_ascii_lowercase();
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || !(HASH_CHARS_MIN..=64).contains(&text.len()) {
        let why = format!("the hash has not {HASH_CHARS_MIN} to 64 characters 0-9 and a-f");
        return Err(Failure::new(code::POLICY_VERSION_UNKNOWN).because(why));
    }
    Ok(text)
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
        let (found, when) = match (&wanted.at, &wanted.hash) {
            (Some(at), None) => {
                let at = past(at, self.0.state.clock.now())?;
                let found = self.0.policy_versions(scope, name, Some(at), work)?;
                let newest = found.versions.into_iter().next().filter(|one| one.ended.is_none());
                (newest, format!(" at {at}"))
            }
            (None, Some(text)) => {
                let wanted = hash(text)?;
                let found = self.0.policy_versions(scope, name, None, work)?;
                (found.with_hash(&wanted)?, format!(" with the hash {wanted}"))
            }
            (Some(_), Some(_)) | (None, None) => {
                let why = "the request has not exactly one of `at` and `hash`";
                return Err(Failure::new(code::JSON_INVALID).because(why));
            }
        };
        let found = found.ok_or_else(|| version_unknown(name, &when))?;
        Ok(PastPolicyAnswer { policy: policy_with_rule(&found.policy), version: version(&found) })
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
        let (sets, since_seq) = self.0.policy_sets(work)?;
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
        let mut changes: Vec<(AppliedAt, Option<Policy>)> = Vec::new();
        let entries = DeclaringEntries { from: 1, through: self.state.store.head().seq, until };
        let since_seq = entries.each(self, work, |entry| {
            let applied = Applied::of(entry);
            let kind = DeclaredKind::Policy;
            if let Some(applied) = applied.filter(|one| one.changes(kind, Some(name.as_str()))) {
                for effect in self.state.store.effects(entry)? {
                    if let Effect::Rules(rules::Effect::Declare(change)) = effect
                        && let Some(policy) = changed(change, name)
                    {
                        changes.push((applied.at(entry), policy));
                        break;
                    }
                }
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

    /// The applications that changed policies, environments or groups, the newest first, and the entry from which on the
    /// ledger was searched.
    fn policy_sets(&self, work: &Cancellation) -> Result<(Vec<AppliedAt>, u64), Failure> {
        let mut sets = Vec::new();
        let entries = DeclaringEntries { from: 1, through: self.state.store.head().seq, until: None };
        let since_seq = entries.each(self, work, |entry| {
            let applied = Applied::of(entry);
            let applied = applied.filter(|one| OF_SET.iter().any(|kind| one.changes(*kind, None)));
            sets.extend(applied.map(|one| one.at(entry)));
            Ok(())
        })?;
        sets.sort_unstable_by_key(|one| std::cmp::Reverse(one.seq));
        Ok((sets, since_seq))
    }

    /// The newest set with this hash, or with a hash that begins so.
    fn policy_set(&self, text: &str, work: &Cancellation) -> Result<(AppliedAt, DeclaredAsOf), Failure> {
        let wanted = hash(text)?;
        let unknown = || {
            let why = format!("no application of policies has the hash {wanted}");
            Failure::new(code::POLICY_VERSION_UNKNOWN).because(why)
        };
        let (sets, _) = self.policy_sets(work)?;
        unambiguous(&wanted, sets.iter().map(|one| one.snapshot.clone()))?;
        let found = sets.into_iter().find(|one| one.snapshot.starts_with(&wanted)).ok_or_else(unknown)?;
        let then = self.declared_as_of(found.seq, work)?.ok_or_else(unknown)?;
        Ok((found, then))
    }

    /// Checks that an application makes what `rollback` names: a policy, or the whole set, with the hash of an earlier version.
    ///
    /// # Errors
    /// [`Failure`] if there is no such version, or the application makes another one.
    pub(in crate::broker) fn rolled_back(
        &self,
        scope: &Scope,
        rollback: &RollbackTarget,
        work: &Cancellation,
    ) -> Result<RolledBack, Failure> {
        match &rollback.policy {
            Some(name) => {
                let wanted = hash(&rollback.to)?;
                let found = self.policy_versions(scope, name, None, work)?.with_hash(&wanted)?;
                let found =
                    found.ok_or_else(|| version_unknown(name, &format!(" with the hash {wanted}")))?;
                Ok(RolledBack::Policy(found.policy))
            }
            None if *scope != Scope::Everything => Err(Failure::new(code::OPERATOR_SCOPE_INSUFFICIENT)),
            None => {
                let (applied, then) = self.policy_set(&rollback.to, work)?;
                Ok(RolledBack::Set { rules: Box::new(then.rules), hash: applied.snapshot })
            }
        }
    }
}

/// The kinds of the objects of a set.
const OF_SET: [DeclaredKind; 3] =
    [DeclaredKind::Policy, DeclaredKind::Environment, DeclaredKind::ApproverGroup];

/// The version that an application brings back.
#[derive(Clone, Debug)]
pub struct RollbackTarget {
    /// The policy; `None` for all policies, environments and groups of approvers.
    pub policy: Option<PolicyName>,
    /// The hash, or its beginning.
    pub to: String,
}

/// A version that the ledger has.
#[derive(Debug)]
pub(in crate::broker) enum RolledBack {
    Policy(Policy),
    Set { rules: Box<rules::Rules>, hash: String },
}

impl RolledBack {
    /// Whether `after` has this version.
    pub(in crate::broker) fn is_made_by(&self, after: &rules::Rules) -> bool {
        match self {
            Self::Policy(policy) => after.policy(&policy.name) == Some(policy),
            Self::Set { rules, .. } => after.digest() == rules.digest(),
        }
    }

    /// Whether there are changes, and all are ones of what it brings back.
    pub(in crate::broker) fn concerns_all(&self, changes: &[PlannedChange]) -> bool {
        let concerns = |change: &PlannedChange| match self {
            Self::Policy(policy) => {
                change.kind == DeclaredKind::Policy.as_str() && change.name == policy.name.as_str()
            }
            Self::Set { .. } => OF_SET.iter().any(|kind| change.kind == kind.as_str()),
        };
        !changes.is_empty() && changes.iter().all(concerns)
    }

    /// The hash of the version, in hex.
    pub(in crate::broker) fn hash(&self) -> String {
        match self {
            Self::Policy(policy) => policy.rule.digest().hex(),
            Self::Set { hash, .. } => hash.clone(),
        }
    }
}

/// What the change does with the policy: its new declaration, or its removal.
fn changed(change: RulesChange, name: &PolicyName) -> Option<Option<Policy>> {
    let is_removed = change.removed_policies.contains(name);
    let declared = change.policies.into_iter().find(|policy| policy.name == *name);
    (declared.is_some() || is_removed).then_some(declared)
}

fn version_unknown(name: &PolicyName, when: &str) -> Failure {
    Failure::new(code::POLICY_VERSION_UNKNOWN)
        .because(format!("there is no version of policy `{name}`{when}"))
}

fn version(PolicyVersion { policy, applied, ended }: &PolicyVersion) -> PolicyVersionAnswer {
    PolicyVersionAnswer {
        hash: policy.rule.digest().hex(),
        owner: policy.owner.clone(),
        from: applied.at.to_string(),
        until: ended.as_ref().map(|ended| ended.at.to_string()),
        by: applied.by.clone(),
        seq: applied.seq,
    }
}

fn set(AppliedAt { seq, at, by, snapshot }: &AppliedAt) -> PolicySetAnswer {
    PolicySetAnswer { hash: snapshot.clone(), from: at.to_string(), by: by.clone(), seq: *seq }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_named_by_its_beginning() {
        assert_eq!(hash(" ABCDEF01 ").unwrap(), "abcdef01");
        let known = || ["abcdef0123", "abcdef0124", "ff"].map(str::to_owned).into_iter();
        assert!(unambiguous("abcdef0123", known()).is_ok() && unambiguous("00", known()).is_ok());
        assert!(unambiguous("abcdef01", [known().next(), known().next()].into_iter().flatten()).is_ok());
        assert_eq!(unambiguous("abcdef01", known()).unwrap_err().code, code::POLICY_VERSION_UNKNOWN);
        for text in ["abcdef0", "ghijklmn", &"a".repeat(65), ""] {
            assert_eq!(hash(text).unwrap_err().code, code::POLICY_VERSION_UNKNOWN, "{text}");
        }
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
