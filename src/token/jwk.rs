use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::base::encoding::{base64url, from_base64url};
use crate::crypto::sha256;
use crate::wire::{Endpoint, Method, Nothing};

/// List the keys that verify tokens (JWKS)
pub const KEY_SET: Endpoint<Nothing, Nothing, KeySet> = Endpoint::new(
    "KEY_SET",
    "List the keys that verify tokens (JWKS)",
    Method::GET,
    "/.well-known/jwks.json",
);

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

/// A key of any kind, as a broker sends it.
#[derive(Deserialize)]
struct SentKey {
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

#[derive(Deserialize)]
struct SentKeys {
    keys: Vec<SentKey>,
}

impl SentKey {
    /// The key, if it is one of P-256. Its name is computed, not believed.
    fn jwk(&self) -> Option<Jwk> {
        if (self.kty.as_str(), self.crv.as_str()) != ("EC", "P-256") {
            return None;
        }
        let coordinate = |text: &str| from_base64url(text).filter(|bytes| bytes.len() == 32);
        let (x, y) = (coordinate(&self.x)?, coordinate(&self.y)?);
        Jwk::from_point(&[&[4][..], &x, &y].concat())
    }
}

/// Keys of other kinds are left out: a newer broker may have them.
impl<'de> Deserialize<'de> for KeySet {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let sent = SentKeys::deserialize(from)?;
        Ok(Self { keys: sent.keys.iter().filter_map(SentKey::jwk).collect() })
    }
}
