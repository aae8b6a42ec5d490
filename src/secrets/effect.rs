use serde::{Deserialize, Serialize};

use super::keys;
use super::vault::SealedValue;
use crate::base::{OwnerName, SecretId, SecretName, Sensitivity};
use crate::ledger::Key;

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
    /// Sets the owner of a secret.
    Own {
        /// The secret's name.
        name: SecretName,
        /// Its owner.
        owner: OwnerName,
    },
    /// Stores a version that is not handed out yet; creates the secret when it is the first.
    Prepare {
        /// The secret.
        id: SecretId,
        /// Its name.
        name: SecretName,
        /// The version.
        version: u32,
        /// Its value, sealed.
        sealed: SealedValue,
    },
    /// Hands out this version from here on.
    Promote {
        /// The secret's name.
        name: SecretName,
        /// The version.
        version: u32,
    },
    /// Abandons a version that was never current; it is kept like a former one.
    Abandon {
        /// The secret's name.
        name: SecretName,
        /// The version.
        version: u32,
    },
    /// Ends a version for good. It opens no more once the value key has turned.
    Destroy {
        /// The secret.
        id: SecretId,
        /// Its name.
        name: SecretName,
        /// The version.
        version: u32,
    },
    /// Keeps a version's data key wrapped by a newer value key.
    Rewrap {
        /// The secret.
        id: SecretId,
        /// Its name.
        name: SecretName,
        /// The version.
        version: u32,
        /// The data key, wrapped.
        wrapped_key: Vec<u8>,
    },
    /// This generation of the value key wraps from here on.
    Turn(u32),
    /// Sets the sensitivity of a secret.
    Classify {
        /// The secret's name.
        name: SecretName,
        /// From here on.
        sensitivity: Sensitivity,
    },
    /// Destroys all remaining versions: the secret has no value any more. Its name stays with its owner, and the numbers of
    /// its versions count on.
    Delete {
        /// The secret.
        id: SecretId,
        /// Its name.
        name: SecretName,
        /// The versions.
        versions: Vec<u32>,
    },
}

impl Effect {
    /// Adds what it advances: a decision that relied on one of these keys before is made again.
    pub fn advances(&self, keys: &mut Vec<Key>) {
        match self {
            // The first version creates the secret.
            Self::Store { name, version: 1, .. } | Self::Prepare { name, version: 1, .. } => {
                keys.extend([keys::secret(name), keys::existence(name)]);
            }
            Self::Store { name, .. }
            | Self::Prepare { name, .. }
            | Self::Promote { name, .. }
            | Self::Abandon { name, .. }
            | Self::Destroy { name, .. }
            | Self::Rewrap { name, .. } => keys.push(keys::secret(name)),
            Self::Own { name, .. } | Self::Classify { name, .. } => keys.push(keys::existence(name)),
            Self::Delete { name, .. } => keys.extend([keys::secret(name), keys::existence(name)]),
            Self::Turn(_) => keys.push(keys::value_key()),
        }
    }

    /// Whether it takes something away: such an entry is anchored at once.
    #[must_use]
    pub const fn takes_away(&self) -> bool {
        match self {
            Self::Own { .. }
            | Self::Destroy { .. }
            | Self::Turn(_)
            | Self::Classify { .. }
            | Self::Delete { .. } => true,
            Self::Store { .. }
            | Self::Prepare { .. }
            | Self::Promote { .. }
            | Self::Abandon { .. }
            | Self::Rewrap { .. } => false,
        }
    }
}
