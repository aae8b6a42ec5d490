use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::name::{CapabilityName, ParameterName};
use super::parameter::{GivenParameters, GivenValue, GrantedParameters, ParameterValue};

/// The value of a parameter as entries, approvals and explanations have it: of a sensitive one only a keyed digest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(remote = "Self")]
pub enum RecordedValue {
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(String),
    /// `true` or `false`.
    Boolean(bool),
    /// The keyed digest of a sensitive value, in hex; empty if it is not for the reader.
    Sensitive(String),
}

/// The form of a sensitive value in JSON.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SensitiveText {
    sensitive: String,
}

/// A value in JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum JsonValue {
    Sensitive(SensitiveText),
    Plain(ParameterValue),
}

impl From<&ParameterValue> for RecordedValue {
    fn from(value: &ParameterValue) -> Self {
        match value {
            ParameterValue::Integer(number) => Self::Integer(*number),
            ParameterValue::Text(text) => Self::Text(text.clone()),
            ParameterValue::Boolean(is_so) => Self::Boolean(*is_so),
        }
    }
}

impl RecordedValue {
    /// The value, unless it is sensitive.
    #[must_use]
    pub fn value(&self) -> Option<ParameterValue> {
        match self {
            Self::Integer(number) => Some(ParameterValue::Integer(*number)),
            Self::Text(text) => Some(ParameterValue::Text(text.clone())),
            Self::Boolean(is_so) => Some(ParameterValue::Boolean(*is_so)),
            Self::Sensitive(_) => None,
        }
    }
}

/// For people: texts in quotes.
impl fmt::Display for RecordedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Boolean(is_so) => write!(f, "{is_so}"),
            Self::Sensitive(digest) if digest.is_empty() => write!(f, "sensitive"),
            Self::Sensitive(digest) => write!(f, "sensitive:{digest}"),
        }
    }
}

/// As JSON the value itself; the ledger's own form is not self-describing and has the variant.
impl Serialize for RecordedValue {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            _ if !to.is_human_readable() => Self::serialize(self, to),
            Self::Integer(number) => to.serialize_i64(*number),
            Self::Text(text) => to.serialize_str(text),
            Self::Boolean(is_so) => to.serialize_bool(*is_so),
            Self::Sensitive(digest) => SensitiveText { sensitive: digest.clone() }.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for RecordedValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if !from.is_human_readable() {
            return Self::deserialize(from);
        }
        Ok(match JsonValue::deserialize(from)? {
            JsonValue::Sensitive(SensitiveText { sensitive }) => Self::Sensitive(sensitive),
            JsonValue::Plain(value) => Self::from(&value),
        })
    }
}

impl JsonSchema for RecordedValue {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RecordedValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": ["integer", "string", "boolean"] },
                {
                    "type": "object",
                    "properties": { "sensitive": { "type": "string" } },
                    "required": ["sensitive"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

/// The recorded parameters of one capability.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(transparent)]
pub struct RecordedParameters(pub BTreeMap<ParameterName, RecordedValue>);

/// The recorded parameters of a request, by capability; capabilities without parameters are left out.
pub type ParametersByCapability = BTreeMap<CapabilityName, RecordedParameters>;

impl RecordedParameters {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them is sensitive.
    #[must_use]
    pub fn have_sensitive(&self) -> bool {
        self.0.values().any(|value| matches!(value, RecordedValue::Sensitive(_)))
    }

    /// Leaves of sensitive ones nothing but that they are sensitive.
    pub fn forget_digests(&mut self) {
        for value in self.0.values_mut() {
            if let RecordedValue::Sensitive(digest) = value {
                digest.clear();
            }
        }
    }

    /// The digests of the sensitive ones.
    pub fn digests(&self) -> impl Iterator<Item = (&ParameterName, &str)> {
        self.0.iter().filter_map(|(name, value)| match value {
            RecordedValue::Sensitive(digest) => Some((name, digest.as_str())),
            RecordedValue::Integer(_) | RecordedValue::Text(_) | RecordedValue::Boolean(_) => None,
        })
    }

    /// Whether `granted` has the same names, and the same values apart from sensitive ones.
    #[must_use]
    pub fn are_those_of(&self, granted: &GrantedParameters) -> bool {
        let fits = |recorded: &RecordedValue, value: &ParameterValue| match recorded.value() {
            Some(recorded) => recorded == *value,
            None => true,
        };
        self.0.len() == granted.iter().count()
            && granted.iter().all(|(name, value)| self.0.get(name).is_some_and(|one| fits(one, value)))
    }

    /// The request that was recorded: the values of sensitive parameters are not known.
    #[must_use]
    pub fn given(&self) -> GivenParameters {
        let mut given = GivenParameters::default();
        for (name, value) in &self.0 {
            given.give(name.as_str(), value.value().map_or(GivenValue::Hidden, GivenValue::Plain));
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded() -> RecordedParameters {
        let values = [
            ("amount", RecordedValue::Integer(-7)),
            ("currency", RecordedValue::Text("EUR".to_owned())),
            ("dry_run", RecordedValue::Boolean(true)),
            ("account", RecordedValue::Sensitive("ab12".to_owned())),
        ];
        RecordedParameters(values.into_iter().map(|(name, value)| (name.parse().unwrap(), value)).collect())
    }

    #[test]
    fn recorded_parameters_have_a_form_in_json_and_in_the_ledger() {
        let json = serde_json::to_string(&recorded()).unwrap();
        assert_eq!(json, r#"{"account":{"sensitive":"ab12"},"amount":-7,"currency":"EUR","dry_run":true}"#);
        assert_eq!(serde_json::from_str::<RecordedParameters>(&json).unwrap(), recorded());
        let stored = postcard::to_stdvec(&recorded()).unwrap();
        assert_eq!(postcard::from_bytes::<RecordedParameters>(&stored).unwrap(), recorded());
    }

    #[test]
    fn a_token_has_the_parameters_of_its_entry() {
        let granted = |text: &str| serde_json::from_str::<GrantedParameters>(text).unwrap();
        for (text, is_so) in [
            (r#"{"account":"x","amount":-7,"currency":"EUR","dry_run":true}"#, true),
            (r#"{"account":"x","amount":7,"currency":"EUR","dry_run":true}"#, false),
            (r#"{"account":"x","amount":-7,"currency":"EUR"}"#, false),
            (r#"{"account":"x","amount":-7,"currency":"EUR","dry_run":true,"more":1}"#, false),
            (r#"{"amount":-7,"currency":"EUR","dry_run":true,"more":1}"#, false),
        ] {
            assert_eq!(recorded().are_those_of(&granted(text)), is_so, "{text}");
        }
    }
}
