use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::effect::Effect;
use super::keys;
use crate::base::limits::{DESTROYED_LISTED_MAX, VERSIONS_DESTROYED_AT_ONCE_MAX};
use crate::base::{FormerTies, OwnerName, SecretId, SecretName, Sensitivity, Timestamp};
use crate::index::IndexTree;
use crate::store::{At, Projection};

/// Sealed values, by secret id and version.
pub const VALUES: IndexTree = IndexTree::new("secret-value");

/// Data keys that were wrapped anew, likewise.
pub const KEYS: IndexTree = IndexTree::new("secret-key");

/// The stage of a version.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum VersionStage {
    /// Stored, and not handed out yet.
    Pending,
    /// The one that is handed out.
    Current,
    /// Kept: it was handed out once, or was given up.
    Former,
    /// Ended for good.
    Destroyed,
}

impl VersionStage {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Current => "current",
            Self::Former => "former",
            Self::Destroyed => "destroyed",
        }
    }
}

/// One version of a secret: where it is, not what it is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Version {
    /// Counts up from 1.
    pub number: u32,
    /// The entry that brought it.
    pub seq: u64,
    /// When it came.
    pub stored_at: Timestamp,
    /// The capabilities.
    pub stage: VersionStage,
    /// The entry that wrapped its data key anew, if one did.
    pub rewrapped: Option<u64>,
    /// The entry since which it is a former one, if it is.
    pub retired: Option<u64>,
}

impl Version {
    const fn retire(&mut self, seq: u64) {
        (self.stage, self.retired) = (VersionStage::Former, Some(seq));
    }
}

/// One secret.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Secret {
    /// Its id.
    pub id: SecretId,
    /// Its name.
    pub name: SecretName,
    /// The version that is handed out; none before the first one is.
    pub current: Option<Version>,
    /// The owner, if there is one.
    pub owner: Option<OwnerName>,
    /// The requirements for a reader.
    pub sensitivity: Sensitivity,
    /// The entry that set the sensitivity; `None` if none did.
    pub classified_seq: Option<u64>,
    versions: BTreeMap<u32, Version>,
}

impl Secret {
    /// The version of this number.
    #[must_use]
    pub fn version(&self, number: u32) -> Option<Version> {
        self.versions.get(&number).copied()
    }

    /// All versions, the newest first.
    pub fn versions(&self) -> impl Iterator<Item = Version> {
        self.versions.values().rev().copied()
    }

    /// Whether it was deleted: it has no value any more. A new version ends that.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        let is_destroyed = |version: &Version| version.stage == VersionStage::Destroyed;
        self.current.is_none() && !self.versions.is_empty() && self.versions.values().all(is_destroyed)
    }

    /// Those that were handed out once, or given up, the newest first.
    pub fn former(&self) -> impl Iterator<Item = Version> {
        self.versions().filter(|version| version.stage == VersionStage::Former)
    }

    /// The former versions that are too many once `joining` more have been retired, when `keep` are kept:
    /// those that were retired longest ago, without those that `is_needed`.
    #[must_use]
    pub fn surplus(&self, keep: u32, joining: usize, is_needed: &dyn Fn(u32) -> bool) -> Vec<u32> {
        let mut former: Vec<Version> = self.former().collect();
        former.sort_by_key(|version| (version.retired, version.number));
        let kept = usize::try_from(keep).unwrap_or(usize::MAX).saturating_sub(joining);
        let surplus = former.len().saturating_sub(kept).min(VERSIONS_DESTROYED_AT_ONCE_MAX);
        let numbers = former.into_iter().map(|version| version.number).take(surplus);
        numbers.filter(|number| !is_needed(*number)).collect()
    }

    /// The newest version's number; 0 before there is one.
    #[must_use]
    pub fn newest(&self) -> u32 {
        self.versions.last_key_value().map_or(0, |(number, _)| *number)
    }

    fn rewrap(&mut self, number: u32, seq: u64) {
        if let Some(version) = self.versions.get_mut(&number) {
            version.rewrapped = Some(seq);
            if version.stage == VersionStage::Current {
                self.current = Some(*version);
            }
        }
    }

    fn hand_out(&mut self, number: u32, seq: u64) {
        for version in self.versions.values_mut() {
            if version.stage == VersionStage::Current {
                version.retire(seq);
            }
        }
        self.current = self.versions.get_mut(&number).map(|version| {
            (version.stage, version.retired) = (VersionStage::Current, None);
            *version
        });
    }

    /// Numbers count on, so that the newest is never the one that goes.
    fn destroy(&mut self, number: u32) {
        if let Some(version) = self.versions.get_mut(&number) {
            version.stage = VersionStage::Destroyed;
        }
        let destroyed = |version: &&Version| version.stage == VersionStage::Destroyed;
        let oldest = self.versions.values().find(destroyed).map(|version| version.number);
        let count = self.versions.values().filter(destroyed).count();
        if let Some(oldest) = oldest.filter(|_| count > DESTROYED_LISTED_MAX) {
            self.versions.remove(&oldest);
        }
    }
}

/// All secrets in memory, without their values.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Catalogue {
    secrets: BTreeMap<SecretName, Secret>,
    turned: Option<ActiveValueKey>,
    seals: u64,
    former_owners: FormerTies<SecretName, OwnerName>,
}

/// The value key that wraps.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ActiveValueKey {
    /// Its generation.
    pub generation: u32,
    /// The beginning.
    pub since: Timestamp,
}

impl Catalogue {
    /// The secret of this name, if it was not deleted.
    #[must_use]
    pub fn existing(&self, name: &SecretName) -> Option<&Secret> {
        self.named(name).filter(|secret| !secret.is_deleted())
    }

    /// The secret of this name, also a deleted one: its name stays with its owner.
    #[must_use]
    pub fn named(&self, name: &SecretName) -> Option<&Secret> {
        self.secrets.get(name)
    }

    /// Adds a secret without a value to a state that no ledger records: declarations can name it.
    pub fn assume(
        &mut self,
        id: SecretId,
        name: SecretName,
        owner: Option<OwnerName>,
        sensitivity: Sensitivity,
    ) {
        let versions = BTreeMap::new();
        let secret = Secret {
            id,
            name: name.clone(),
            current: None,
            owner,
            sensitivity,
            classified_seq: None,
            versions,
        };
        self.secrets.insert(name, secret);
    }

    /// The owners of the secret that it lost after entry `issued`.
    pub fn former_owners(&self, name: &SecretName, issued: u64) -> impl Iterator<Item = &OwnerName> {
        self.former_owners.of(name, issued)
    }

    /// All secrets, by name.
    pub fn all(&self) -> impl Iterator<Item = &Secret> {
        self.secrets.values()
    }

    /// Which generation of the value key wraps, and since when; none before it has turned once.
    #[must_use]
    pub const fn turned(&self) -> Option<ActiveValueKey> {
        self.turned
    }

    /// How many records the value key that wraps has sealed, by what entries say: versions that were stored or wrapped
    /// anew, and logins.
    #[must_use]
    pub const fn seals(&self) -> u64 {
        self.seals
    }

    /// Counts a record that the value key has sealed.
    pub const fn count_seal(&mut self) {
        self.seals = self.seals.saturating_add(1);
    }

    /// Entry times go on from `now`, which is before `was`: no key has wrapped since later than that, and no version
    /// was stored later. Schedules count from there.
    pub fn time_went_back(&mut self, now: Timestamp, was: Timestamp) {
        self.former_owners.time_went_back(now);
        self.turned = self.turned.map(|wraps| ActiveValueKey { since: wraps.since.min(now), ..wraps });
        for secret in self.secrets.values_mut() {
            for version in secret.versions.values_mut().chain(&mut secret.current) {
                version.stored_at = version.stored_at.brought_back(was, now).min(now);
            }
        }
    }

    /// Applies an effect.
    pub fn apply(&mut self, at: At, effect: &Effect) {
        match effect {
            Effect::Store { id, name, version, .. } => {
                self.keep(at, *id, name, *version).hand_out(*version, at.seq);
                self.count_seal();
            }
            Effect::Prepare { id, name, version, .. } => {
                self.keep(at, *id, name, *version);
                self.count_seal();
            }
            Effect::Promote { name, version } => {
                self.with(name, |secret| secret.hand_out(*version, at.seq));
            }
            Effect::Abandon { name, version } => self.with(name, |secret| {
                if let Some(version) = secret.versions.get_mut(version) {
                    version.retire(at.seq);
                }
            }),
            Effect::Destroy { name, version, .. } => self.with(name, |secret| secret.destroy(*version)),
            Effect::Delete { name, versions, .. } => self.with(name, |secret| {
                versions.iter().for_each(|number| secret.destroy(*number));
                secret.current = None;
            }),
            Effect::Rewrap { name, version, .. } => {
                self.with(name, |secret| secret.rewrap(*version, at.seq));
                self.count_seal();
            }
            Effect::Turn(generation) => {
                self.turned = Some(ActiveValueKey { generation: *generation, since: at.time });
                self.seals = 0;
            }
            Effect::Classify { name, sensitivity } => {
                self.with(name, |secret| {
                    (secret.sensitivity, secret.classified_seq) = (*sensitivity, Some(at.seq));
                });
            }
            Effect::Own { name, owner } => self.own(at, name, owner),
        }
    }

    fn own(&mut self, at: At, name: &SecretName, owner: &OwnerName) {
        let Some(secret) = self.secrets.get_mut(name) else { return };
        let before = secret.owner.replace(owner.clone());
        if let Some(before) = before.filter(|before| before != owner) {
            self.former_owners.add(at.seq, at.time, name.clone(), before);
        }
    }

    fn with(&mut self, name: &SecretName, change: impl FnOnce(&mut Secret)) {
        if let Some(secret) = self.secrets.get_mut(name) {
            change(secret);
        }
    }

    /// The secret with one more version, which is pending.
    fn keep(&mut self, at: At, id: SecretId, name: &SecretName, number: u32) -> &mut Secret {
        let secret = self.secrets.entry(name.clone()).or_insert_with(|| Secret {
            id,
            name: name.clone(),
            current: None,
            owner: None,
            sensitivity: Sensitivity::default(),
            classified_seq: None,
            versions: BTreeMap::new(),
        });
        let (seq, stored_at, stage) = (at.seq, at.time, VersionStage::Pending);
        let version = Version { number, seq, stored_at, stage, rewrapped: None, retired: None };
        secret.versions.insert(number, version);
        secret
    }

    /// The writes of `effect` to the index.
    pub fn project(effect: &Effect, out: &mut Projection) {
        match effect {
            Effect::Store { id, version, sealed, .. } | Effect::Prepare { id, version, sealed, .. } => {
                out.put(VALUES, keys::value(*id, *version), sealed.to_bytes());
            }
            Effect::Destroy { id, version, .. } => {
                out.remove(VALUES, keys::value(*id, *version));
                out.remove(KEYS, keys::value(*id, *version));
            }
            Effect::Delete { id, versions, .. } => {
                for version in versions {
                    out.remove(VALUES, keys::value(*id, *version));
                    out.remove(KEYS, keys::value(*id, *version));
                }
            }
            Effect::Rewrap { id, version, wrapped_key, .. } => {
                out.put(KEYS, keys::value(*id, *version), wrapped_key.clone());
            }
            Effect::Own { .. }
            | Effect::Classify { .. }
            | Effect::Promote { .. }
            | Effect::Abandon { .. }
            | Effect::Turn(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;

    #[test]
    fn so_many_versions_are_destroyed_by_one_entry() {
        let now = Timestamp::from_s(1_800_000_000);
        let (id, name) = (SecretId::mint(now, &SystemEntropy), "a".parse().unwrap());
        let mut secrets = Catalogue::default();
        let mut surplus = |versions: usize| {
            for number in 1..=u32::try_from(versions).unwrap() {
                let at = At { seq: u64::from(number), time: now };
                secrets.keep(at, id, &name, number).hand_out(number, at.seq);
            }
            secrets.named(&name).unwrap().surplus(0, 0, &|_| false).len()
        };
        // The newest is the current one.
        assert_eq!(surplus(VERSIONS_DESTROYED_AT_ONCE_MAX), VERSIONS_DESTROYED_AT_ONCE_MAX - 1);
        assert_eq!(
            surplus(VERSIONS_DESTROYED_AT_ONCE_MAX + 1),
            VERSIONS_DESTROYED_AT_ONCE_MAX,
            "at the limit"
        );
        assert_eq!(
            surplus(VERSIONS_DESTROYED_AT_ONCE_MAX + 2),
            VERSIONS_DESTROYED_AT_ONCE_MAX,
            "one beyond it"
        );
    }
}
