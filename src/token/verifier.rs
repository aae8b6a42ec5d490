use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;

use super::claims::Claims;
use super::jwk::{Jwk, KeySet};
use super::seen::{Good, Seen};
use crate::base::encoding::from_base64url;
use crate::base::limits::{LEEWAY_S, TOKEN_BYTES_MAX};
use crate::base::{Audience, ClockReading};
use crate::crypto::sha256;

/// Why a token was not accepted. The caller answers 401 to each.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not an access token of this broker at all: its form, its header or its claims are others.
    #[error("this is not an access token of this broker")]
    Form,
    /// Signed by a key that this broker does not have, or no longer has.
    #[error("the token was signed with an unknown key")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the token's signature does not match")]
    Signature,
    /// Another issuer's, or for another audience.
    #[error("the token is meant for another audience")]
    Audience,
    /// It has expired.
    #[error("the token has expired")]
    Expired,
    /// It is not valid yet.
    #[error("the token is not valid yet")]
    NotYet,
}

/// The one place where tokens are verified.
///
/// The algorithm is fixed by us and never read from the header (RFC 8725 §3.1); the header holds
/// `alg`, `typ` and `kid` and nothing else, so that `crit`, `jwk` and `jku` are refused by not being
/// known; all claims are required, none may come twice; times are judged by our clock. A token that comes
/// again, byte for byte, is spared the work on its signature and form, and nothing else.
pub struct Verifier {
    keys: RwLock<HashMap<Arc<str>, Arc<DecodingKey>>>,
    seen: Seen,
    issuer: String,
    validation: Validation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader {
    alg: String,
    typ: String,
    kid: String,
}

impl Verifier {
    /// Verifies tokens of `issuer` signed with one of `keys`.
    ///
    /// # Errors
    /// [`TokenError::UnknownKey`] when a key of the set is no P-256 point.
    pub fn new(issuer: &str, keys: &KeySet) -> Result<Self, TokenError> {
        let keys = RwLock::new(decoding(keys)?);
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        // Judged below by our clock and by exact comparison, not by the crate's.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Ok(Self { keys, seen: Seen::default(), issuer: issuer.to_owned(), validation })
    }

    /// Accepts tokens signed with one of `keys` from now on, and no others.
    ///
    /// # Errors
    /// [`TokenError::UnknownKey`] when a key of the set is no P-256 point; nothing changes then.
    pub fn accept(&self, keys: &KeySet) -> Result<(), TokenError> {
        let keys = decoding(keys)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// The claims of `token`, if it is a token of this broker for `audience` that holds at `now`.
    ///
    /// Accepts `exp` and `nbf` up to [`LEEWAY_S`] seconds off. That the caller holds the certificate
    /// in `cnf` is not judged here: `authn` does, and makes the proof.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(
        &self,
        token: &str,
        audience: &Audience,
        now: ClockReading,
    ) -> Result<Arc<Claims>, TokenError> {
        let claims = self.verify_for_anybody(token, now)?;
        if claims.aud == *audience { Ok(claims) } else { Err(TokenError::Audience) }
    }

    /// The claims of `token` for any audience: to describe or revoke it, never to act on it.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify_for_anybody(&self, token: &str, now: ClockReading) -> Result<Arc<Claims>, TokenError> {
        let claims = self.signed(token)?;
        if *claims.iss != *self.issuer {
            return Err(TokenError::Audience);
        }
        if claims.exp.saturating_add(LEEWAY_S) <= now.latest().s() {
            return Err(TokenError::Expired);
        }
        if claims.nbf.max(claims.iat).saturating_sub(LEEWAY_S) > now.earliest().s() {
            return Err(TokenError::NotYet);
        }
        Ok(claims)
    }

    /// The claims of `token`, if one of the keys has signed it.
    fn signed(&self, token: &str) -> Result<Arc<Claims>, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Form);
        }
        let name = sha256(token.as_bytes());
        if let Some(Good { kid, claims }) = self.seen.find(&name) {
            return self.key(&kid).map(|_| claims);
        }
        let (kid, key) = self.key_of(token)?;
        let decoded = decode::<Claims>(token, &key, &self.validation).map_err(|error| {
            let forged = *error.kind() == jsonwebtoken::errors::ErrorKind::InvalidSignature;
            if forged { TokenError::Signature } else { TokenError::Form }
        })?;
        let claims = Arc::new(decoded.claims);
        self.seen.keep(name, Good { kid, claims: Arc::clone(&claims) });
        Ok(claims)
    }

    /// The key called `kid`: its name is its thumbprint, so that no other key ever has it.
    fn key(&self, kid: &str) -> Result<(Arc<str>, Arc<DecodingKey>), TokenError> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let found = keys.get_key_value(kid).map(|(kid, key)| (Arc::clone(kid), Arc::clone(key)));
        found.ok_or(TokenError::UnknownKey)
    }

    fn key_of(&self, token: &str) -> Result<(Arc<str>, Arc<DecodingKey>), TokenError> {
        let mut parts = token.split('.');
        let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Form);
        };
        let header = from_base64url(header).ok_or(TokenError::Form)?;
        let header: StrictHeader = serde_json::from_slice(&header).map_err(|_| TokenError::Form)?;
        if header.alg != "ES256" || header.typ != "at+jwt" {
            return Err(TokenError::Form);
        }
        self.key(&header.kid)
    }
}

/// The claims that `token` states. Nothing is verified: show them, or decide by them when to renew a
/// token of your own; never accept a token by them.
///
/// # Errors
/// [`TokenError::Form`] if it has not the form of an access token.
pub fn unverified_claims(token: &str) -> Result<Claims, TokenError> {
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError::Form);
    };
    let claims = from_base64url(claims).filter(|claims| claims.len() <= TOKEN_BYTES_MAX);
    serde_json::from_slice(&claims.ok_or(TokenError::Form)?).map_err(|_| TokenError::Form)
}

fn decoding(keys: &KeySet) -> Result<HashMap<Arc<str>, Arc<DecodingKey>>, TokenError> {
    let key = |jwk: &Jwk| {
        let (x, y) = jwk.coordinates();
        let key = DecodingKey::from_ec_components(x, y).map_err(|_| TokenError::UnknownKey)?;
        Ok((jwk.kid.as_str().into(), Arc::new(key)))
    };
    keys.keys.iter().map(key).collect()
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
