use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::vault::SealedValue;
use crate::base::{AgentName, CapabilityName, DecisionId, InstanceId, OperatorName, SecretId, SecretName};
use crate::base::{OwnerName, Timestamp, TokenId};
use crate::index::Tree;
use crate::ledger::Kind;
use crate::store::{At, Event, Projection};

/// Sealed values, by secret id and version.
pub const VALUES: Tree = Tree::new("secret-value");

/// A secret was given a new value.
#[derive(Debug, Serialize)]
pub struct SecretStored<'a> {
    /// Who gave it.
    pub operator: &'a OperatorName,
    /// The secret's name.
    pub secret: &'a SecretName,
    /// Its id.
    pub secret_id: SecretId,
    /// The new version.
    pub version: u32,
    /// Whose it is from here on, when that is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<&'a OwnerName>,
}

impl Event for SecretStored<'_> {
    const KIND: Kind = Kind(0x0301);
    const NAME: &'static str = "secret.stored";
}

/// A secret's value is about to leave for an agent.
#[derive(Debug, Serialize)]
pub struct SecretRevealed<'a> {
    /// Who gets it.
    pub agent: &'a AgentName,
    /// Which of its instances.
    pub instance: InstanceId,
    /// On which token.
    pub token: TokenId,
    /// Under which capability.
    pub capability: &'a CapabilityName,
    /// The secret's name.
    pub secret: &'a SecretName,
    /// The version that leaves.
    pub version: u32,
    /// The decision that allowed it.
    pub decision: DecisionId,
    /// The policy snapshot it was decided on, in hex.
    pub snapshot: String,
    /// The rules that determined it.
    pub rules: Vec<String>,
    /// The keyed digest of the request, in hex.
    pub request: String,
}

impl Event for SecretRevealed<'_> {
    const KIND: Kind = Kind(0x0302);
    const NAME: &'static str = "secret.revealed";
}

/// A state change of this room.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Effect {
    /// Stores a version and makes it the current one; creates the secret when it is the first.
    Store {
        /// The secret.
        id: SecretId,
        /// Its name.
        name: SecretName,
        /// The version.
        version: u32,
        /// Its value, sealed.
        sealed: SealedValue,
    },
    /// Says whose a secret is.
    Own {
        /// The secret's name.
        name: SecretName,
        /// Its owner.
        owner: OwnerName,
    },
}

/// One version of a secret: where it is, not what it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Version {
    /// Counts up from 1.
    pub number: u32,
    /// The entry that brought it.
    pub seq: u64,
    /// When it came.
    pub stored_at: Timestamp,
}

/// One secret.
#[derive(Clone, Debug)]
pub struct Secret {
    /// Its id.
    pub id: SecretId,
    /// Its name.
    pub name: SecretName,
    /// The version that is handed out.
    pub current: Version,
    /// Whose it is; nobody's when there is none.
    pub owner: Option<OwnerName>,
}

/// All secrets in memory, without their values.
#[derive(Debug, Default)]
pub struct Catalogue {
    secrets: BTreeMap<SecretName, Secret>,
}

impl Catalogue {
    /// The secret of this name.
    #[must_use]
    pub fn named(&self, name: &SecretName) -> Option<&Secret> {
        self.secrets.get(name)
    }

    /// All secrets, by name.
    pub fn all(&self) -> impl Iterator<Item = &Secret> {
        self.secrets.values()
    }

    /// Takes in one effect.
    pub fn apply(&mut self, at: At, effect: &Effect) {
        match effect {
            Effect::Store { id, name, version, .. } => {
                let current = Version { number: *version, seq: at.seq, stored_at: at.time };
                let owner = self.secrets.get(name).and_then(|before| before.owner.clone());
                self.secrets.insert(name.clone(), Secret { id: *id, name: name.clone(), current, owner });
            }
            Effect::Own { name, owner } => {
                if let Some(secret) = self.secrets.get_mut(name) {
                    secret.owner = Some(owner.clone());
                }
            }
        }
    }

    /// What `effect` puts into the index.
    pub fn project(effect: &Effect, out: &mut Projection) {
        if let Effect::Store { id, version, sealed, .. } = effect {
            out.put(VALUES, keys::value(*id, *version), sealed.to_bytes());
        }
    }
}

/// The keys that decisions on this room's records rely on, and those of its index records.
pub mod keys {
    use crate::base::{SecretId, SecretName};
    use crate::ledger::Key;

    /// What is current of the secret of this name.
    #[must_use]
    pub fn secret(name: &SecretName) -> Key {
        Key::of("secret", name.as_str().as_bytes())
    }

    /// Whether there is a secret of this name, and whose it is.
    #[must_use]
    pub fn existence(name: &SecretName) -> Key {
        Key::of("secret-existence", name.as_str().as_bytes())
    }

    /// Where the value of this version lies in the index.
    #[must_use]
    pub fn value(id: SecretId, version: u32) -> Vec<u8> {
        [&id.as_bytes()[..], &version.to_be_bytes()].concat()
    }
}
