use schemars::JsonSchema;
use serde::Serialize;

use crate::base::encoding::base64url;
use crate::crypto::sha256;

/// A public P-256 key in JOSE form (RFC 7517, RFC 7518 §6.2).
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Jwk {
    kty: &'static str,
    crv: &'static str,
    x: String,
    y: String,
    #[serde(rename = "use")]
    usage: &'static str,
    alg: &'static str,
    /// The key's thumbprint (RFC 7638).
    pub kid: String,
}

impl Jwk {
    /// The key whose uncompressed point is `04 ‖ x ‖ y`.
    #[must_use]
    pub fn from_point(point: &[u8]) -> Option<Self> {
        let coordinates = point.strip_prefix(&[4]).filter(|rest| rest.len() == 64)?;
        let (x, y) = coordinates.split_at_checked(32)?;
        let (x, y) = (base64url(x), base64url(y));
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = sha256(canonical.as_bytes()).base64url();
        Some(Self { kty: "EC", crv: "P-256", x, y, usage: "sig", alg: "ES256", kid })
    }

    /// The coordinates in base64url.
    #[must_use]
    pub(super) fn coordinates(&self) -> (&str, &str) {
        (&self.x, &self.y)
    }
}

/// The keys that verify tokens, as served at `/.well-known/jwks.json`.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
pub struct KeySet {
    /// The keys.
    pub keys: Vec<Jwk>,
}
