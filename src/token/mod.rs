//! Access tokens per RFC 9068, bound to a certificate per RFC 8705.
//!
//! One form, one algorithm, one [`Signer`] and one strict [`Verifier`]. The private key is a field
//! of the signer; everybody else gets the [`KeySet`] of public keys.

mod claims;
mod events;
mod jwk;
mod key_state;
mod minted;
mod seen;
mod signer;
#[cfg(test)]
mod tests;
mod verifier;

pub use claims::{AuthorizationDetail, Claims, Confirmation, DetailType};
pub use events::{IssuanceRefused, TokenDenied, TokenMinted, TokenRefused, TokenRepeated};
pub use jwk::{Jwk, KEY_SET, KeySet};
pub use key_state::{Effect, TokenKeyStaged, TokenKeys, keys};
pub use minted::{Minted, MintedLately};
pub use signer::{AccessToken, SignError, Signer};
pub use verifier::{TokenError, Verifier, unverified_claims};
