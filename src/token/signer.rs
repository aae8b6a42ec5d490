use std::fmt;

use serde::Serialize;

use super::claims::Claims;
use super::jwk::Jwk;
use crate::base::Sensitive;
use crate::base::encoding::{append_base64url, base64url};
use crate::crypto::{EcdsaKey, KeyError, SignatureForm};

/// A signed access token in compact form. It is a credential: bound, but not for anybody's eyes.
#[derive(Debug)]
pub struct AccessToken(Sensitive<String>);

impl AccessToken {
    /// The token itself: for the response body, and nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// Why a token was not signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key is of another form than tokens need.
    #[error("the token key does not sign in the JOSE format")]
    Form,
    /// The signature library failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The claims have no JSON form.
    #[error("the claims cannot be serialised")]
    Claims,
}

/// Signs access tokens with one cached key. Held by issuance alone.
pub struct Signer {
    key: EcdsaKey,
    jwk: Jwk,
    /// `base64url(header) ‖ "."`, the same for every token of this key.
    prefix: String,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'static str,
    kid: &'a str,
}

/// Most claims are shorter; longer ones cost a copy.
const USUAL_BYTES: usize = 1024;

/// A dot, and 64 bytes in base64url.
const SIGNATURE_BYTES: usize = 1 + 86;

impl Signer {
    /// Wipes the private key in place: it signs nothing any more.
    pub fn forget(&self) {
        self.key.forget();
    }

    /// Uses `key`.
    ///
    /// # Errors
    /// [`SignError::Form`] for a key that does not sign in JOSE's form.
    pub fn new(key: EcdsaKey) -> Result<Self, SignError> {
        if key.form() != SignatureForm::Fixed {
            return Err(SignError::Form);
        }
        let jwk = Jwk::from_point(key.public_point()).ok_or(SignError::Form)?;
        let header = Header { alg: "ES256", typ: "at+jwt", kid: &jwk.kid };
        let header = serde_json::to_vec(&header).map_err(|_| SignError::Claims)?;
        let prefix = format!("{}.", base64url(&header));
        Ok(Self { key, jwk, prefix })
    }

    /// The public half, for everybody.
    #[must_use]
    pub const fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// The length of the token with these claims, in bytes.
    #[must_use]
    pub fn token_bytes(&self, claims: &Claims) -> usize {
        let claims = serde_json::to_vec(claims).map_or(usize::MAX, |body| body.len());
        let claims = claims.saturating_mul(4).div_ceil(3);
        self.prefix.len().saturating_add(SIGNATURE_BYTES).saturating_add(claims)
    }

    /// Signs `claims` (RFC 7515 §5.1).
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign(&self, claims: &Claims) -> Result<AccessToken, SignError> {
        let mut body = Vec::with_capacity(USUAL_BYTES);
        serde_json::to_writer(&mut body, claims).map_err(|_| SignError::Claims)?;
        let claims_bytes = body.len().saturating_mul(4).div_ceil(3);
        let fixed_bytes = self.prefix.len().saturating_add(SIGNATURE_BYTES);
        // No more than it needs: all of it is wiped, byte by byte.
        let mut token = String::with_capacity(fixed_bytes.saturating_add(claims_bytes));
        token.push_str(&self.prefix);
        append_base64url(&body, &mut token);
        let signature = self.key.sign(token.as_bytes())?;
        token.push('.');
        append_base64url(&signature, &mut token);
        Ok(AccessToken(Sensitive::new(token)))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.jwk.kid)
    }
}
