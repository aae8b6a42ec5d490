//! Upstream secrets: their names and versions, and the sealing of their values.
//!
//! The state knows names, versions and places; values exist sealed in the ledger and the index, and
//! in clear only as a [`SecretValue`], between opening and the response body. Applying an effect
//! never needs the key that opens values.

mod effect;
mod events;
pub mod keys;
mod state;
mod vault;

pub use effect::Effect;
pub use events::{
    ApprovedSensitivity, SecretDeleted, SecretRevealed, SecretStored, SensitivityLowered, SensitivityRaised,
    ValueKeyRotated, ValueKeyShed, VersionChanged, VersionsRewrapped,
};
pub use state::{ActiveValueKey, Catalogue, KEYS, Secret, VALUES, Version, VersionStage};
pub use vault::{Opener, SealedValue, Sealer, SecretValue, StoredVersion, VaultError};
