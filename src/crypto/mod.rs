//! Sealing, deriving, digesting and signing: mechanisms that know no product noun.
//!
//! The only room that names the AEAD and the signature library. Keys come in as
//! [`Sensitive`](crate::base::Sensitive) bytes and never go out again; a private signing key stays
//! in its [`EcdsaKey`] and gives signatures and a public key, nothing else.

mod aead;
mod counted;
mod counter;
mod derive;
mod digest;
mod keyed_digest;
mod note;
mod recipient;
mod shamir;
mod signing;
mod stretch;

pub use aead::{Aad, AeadKey, AeadWiper, KeyId, SEAL_OVERHEAD_BYTES, UnsealError, sealed_by};
pub use counted::{CountedKey, Exhausted};
pub use counter::CounterKey;
pub use derive::derive_key;
pub use digest::{Digest, HexText, MacKey, Sha256Stream, matches, sha256, sha256_parts};
pub use keyed_digest::{KeyedDigest, ValueDigestKeys};
pub use note::{Ed25519Key, verify_ed25519};
pub use recipient::{RecipientError, RecipientKey};
pub use shamir::{combine, split};
pub use signing::{EcdsaKey, KeyError, SignatureForm, p256_der, p256_point, verify_p256};
pub use stretch::{StretchCost, StretchError, stretch};
