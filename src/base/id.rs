use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use super::encoding::{ShortText, from_base32};
use super::entropy::Entropy;
use super::timestamp::Timestamp;

/// The text is not an id of this kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an id: it has `{kind}_` and 26 characters of 0-9 and a-v")]
pub struct IdError {
    kind: &'static str,
}

impl IdError {
    /// Where a person finds ids of this kind.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self.kind {
            "inc" => "copy the id from `keyward incident list`",
            "appr" => "copy the id from `keyward approval list`",
            "lease" => "copy the id from `keyward lease list`",
            "slot" => "copy the id from `keyward slot list`",
            "inst" => "copy the id from `keyward agent show`",
            _ => "copy the id from `keyward audit list` or `keyward audit show`",
        }
    }
}

fn mint(now: Timestamp, entropy: &dyn Entropy) -> Uuid {
    let ms = u64::try_from(now.ms()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(ms, &entropy.plain_bytes::<10>()).into_uuid()
}

fn parse(prefix: &'static str, text: &str) -> Result<Uuid, IdError> {
    let wrong = IdError { kind: prefix };
    let tail = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).ok_or(wrong)?;
    let bytes = from_base32(tail).ok_or(wrong)?;
    Uuid::from_slice(&bytes).map_err(|_| wrong)
}

/// A prefix of at most six letters, an underscore, and 16 bytes in base32.
const ID_BYTES_MAX: usize = 33;

macro_rules! typed_ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// Prefix and UUIDv7 in lower-case base32: stable, sortable by creation time, never a secret.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(Uuid);

        impl $name {
            /// The text before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id, made at `now`.
            #[must_use]
            pub fn mint(now: Timestamp, entropy: &dyn Entropy) -> Self {
                Self(mint(now, entropy))
            }

            /// When it was made, by the clock of its maker.
            #[must_use]
            pub fn minted_at(&self) -> Timestamp {
                // UUIDv7: the upper 48 bits are milliseconds since 1970 (RFC 9562 §5.7).
                Timestamp::from_ms(i64::try_from(self.0.as_u128() >> 80).unwrap_or(i64::MAX))
            }

            fn text(&self) -> ShortText<ID_BYTES_MAX> {
                ShortText::new(concat!($prefix, "_")).base32(self.0.as_bytes())
            }

            /// The id's 16 bytes, for associated data and keys.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The id of these 16 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.text().as_str())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse($prefix, text).map(Self)
            }
        }

        /// Text in human-readable formats, 16 bytes in the ledger's compact format.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                if to.is_human_readable() { self.text().serialize(to) } else { self.0.as_bytes().serialize(to) }
            }
        }

        super::name::json_schema!($name, concat!("^", $prefix, "_[0-9a-v]{26}$"));

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                if from.is_human_readable() {
                    String::deserialize(from)?.parse().map_err(de::Error::custom)
                } else {
                    <[u8; 16]>::deserialize(from).map(Self::from_bytes)
                }
            }
        }
    )*};
}

typed_ids! {
    /// Names one agent. A name can be used again after the agent is removed; an id cannot.
    AgentId = "agent";
    /// Names one enrolment of an agent: one key holder at a time.
    InstanceId = "inst";
    /// Names one enrolment code; not the code itself.
    CodeId = "code";
    /// Names one operator.
    OperatorId = "oper";
    /// Names one upstream secret, across all its versions.
    SecretId = "secret";
    /// Names one decision, in tokens and in the ledger.
    DecisionId = "dec";
    /// Names one access token: its `jti`. Not the token itself.
    TokenId = "tok";
    /// Names one HTTP request.
    RequestId = "req";
    /// Names one accepted connection.
    ConnectionId = "conn";
    /// Names one ledger.
    LedgerId = "ledger";
    /// Names one key slot of the keyring.
    SlotId = "slot";
    /// Names one rotation of one secret, from its trigger to its end.
    RotationId = "rot";
    /// Names one incident, in the entries of its containment and its end.
    IncidentId = "inc";
    /// Names one lease: one login upstream, from its intent to its end.
    LeaseId = "lease";
    /// Names one request for approval, from its opening to its last use.
    ApprovalId = "appr";
}

#[cfg(test)]
mod tests {
    use super::super::entropy::SystemEntropy;
    use super::*;

    #[test]
    fn an_id_reads_back_from_its_text() {
        let id = AgentId::mint(Timestamp::from_s(1_700_000_000), &SystemEntropy);
        let text = id.to_string();
        assert!(text.starts_with("agent_"), "{text}");
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(id.minted_at(), Timestamp::from_s(1_700_000_000));
    }

    #[test]
    fn ids_sort_by_the_time_of_their_making() {
        let early = TokenId::mint(Timestamp::from_s(1), &SystemEntropy);
        let late = TokenId::mint(Timestamp::from_s(2), &SystemEntropy);
        assert!(early < late && early.to_string() < late.to_string());
    }

    #[test]
    fn another_kind_or_another_spelling_is_refused() {
        let id = AgentId::mint(Timestamp::from_s(1), &SystemEntropy).to_string();
        assert!(id.parse::<TokenId>().is_err());
        assert!(id.to_uppercase().parse::<AgentId>().is_err());
        assert!(format!("{id} ").parse::<AgentId>().is_err());
        assert!("agent_".parse::<AgentId>().is_err());
    }
}
