use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::name::ParameterName;

/// The value of a parameter of a capability. It can be sensitive: its text form has no value.
#[derive(Clone, Eq, PartialEq)]
pub enum ParameterValue {
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(String),
    /// `true` or `false`.
    Boolean(bool),
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ParameterType {
    /// A whole number of at most 2^53 - 1, or its negative.
    Integer,
    /// One line of text.
    Text,
    /// `true` or `false`.
    Boolean,
}

impl ParameterType {
    /// The word for it in declarations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Text => "text",
            Self::Boolean => "boolean",
        }
    }
}

impl fmt::Display for ParameterType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ParameterValue {
    /// The type.
    #[must_use]
    pub const fn kind(&self) -> ParameterType {
        match self {
            Self::Integer(_) => ParameterType::Integer,
            Self::Text(_) => ParameterType::Text,
            Self::Boolean(_) => ParameterType::Boolean,
        }
    }
}

/// Only the type: the value can be sensitive.
impl fmt::Debug for ParameterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().as_str())
    }
}

/// As JSON, for requests, tokens and responses.
impl Serialize for ParameterValue {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(number) => to.serialize_i64(*number),
            Self::Text(text) => to.serialize_str(text),
            Self::Boolean(is_so) => to.serialize_bool(*is_so),
        }
    }
}

impl<'de> Deserialize<'de> for ParameterValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match GivenValue::deserialize(from)? {
            GivenValue::Plain(value) => Ok(value),
            GivenValue::Other | GivenValue::Hidden => Err(de::Error::custom("not a value of a parameter")),
        }
    }
}

/// A value as a request gives it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum GivenValue {
    /// A value of one of the types.
    Plain(ParameterValue),
    /// JSON of another type.
    Other,
    /// A sensitive value of a recorded request: only its digest is known.
    Hidden,
}

impl<'de> Deserialize<'de> for GivenValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Values;

        impl<'de> Visitor<'de> for Values {
            type Value = GivenValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value of a parameter")
            }

            fn visit_bool<E>(self, is_so: bool) -> Result<GivenValue, E> {
                Ok(GivenValue::Plain(ParameterValue::Boolean(is_so)))
            }

            fn visit_i64<E>(self, number: i64) -> Result<GivenValue, E> {
                Ok(GivenValue::Plain(ParameterValue::Integer(number)))
            }

            fn visit_u64<E>(self, number: u64) -> Result<GivenValue, E> {
                let number = i64::try_from(number).map(ParameterValue::Integer);
                Ok(number.map_or(GivenValue::Other, GivenValue::Plain))
            }

            fn visit_f64<E>(self, _: f64) -> Result<GivenValue, E> {
                Ok(GivenValue::Other)
            }

            fn visit_str<E>(self, text: &str) -> Result<GivenValue, E> {
                Ok(GivenValue::Plain(ParameterValue::Text(text.to_owned())))
            }

            fn visit_unit<E>(self) -> Result<GivenValue, E> {
                Ok(GivenValue::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<GivenValue, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(GivenValue::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<GivenValue, A::Error> {
                while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(GivenValue::Other)
            }
        }

        from.deserialize_any(Values)
    }
}

/// The values that a request gives the parameters of one capability, by the names that it uses. They are not checked.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct GivenParameters(BTreeMap<String, GivenValue>);

impl GivenParameters {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &GivenValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The value that is given `name`.
    #[must_use]
    pub fn get(&self, name: &ParameterName) -> Option<&GivenValue> {
        self.0.get(name.as_str())
    }

    /// Gives `name` this value; `false` if it has one.
    pub fn give(&mut self, name: &str, value: GivenValue) -> bool {
        self.0.insert(name.to_owned(), value).is_none()
    }

    /// Those whose name `is_kept` accepts.
    #[must_use]
    pub fn only(&self, is_kept: impl Fn(&str) -> bool) -> Self {
        Self(
            self.iter()
                .filter(|(name, _)| is_kept(name))
                .map(|(name, one)| (name.to_owned(), one.clone()))
                .collect(),
        )
    }
}

/// Only the names: values can be sensitive.
impl fmt::Debug for GivenParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// As a client sends them.
impl Serialize for GivenParameters {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().filter_map(|(name, value)| match value {
            GivenValue::Plain(value) => Some((name, value)),
            GivenValue::Other | GivenValue::Hidden => None,
        }))
    }
}

impl<'de> Deserialize<'de> for GivenParameters {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = GivenParameters;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a value for each parameter")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<GivenParameters, A::Error> {
                let mut given = GivenParameters::default();
                while let Some((name, value)) = fields.next_entry::<String, GivenValue>()? {
                    if !given.give(&name, value) {
                        return Err(de::Error::custom("duplicate field"));
                    }
                }
                Ok(given)
            }
        }

        from.deserialize_map(Names)
    }
}

impl JsonSchema for GivenParameters {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "GivenParameters".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        values_schema()
    }
}

/// An object with a value for each parameter.
fn values_schema() -> Schema {
    json_schema!({ "type": "object", "additionalProperties": { "type": ["integer", "string", "boolean"] } })
}

/// The values of the parameters of one capability that a token has.
#[derive(Clone, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct GrantedParameters(BTreeMap<ParameterName, ParameterValue>);

impl GrantedParameters {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&ParameterName, &ParameterValue)> {
        self.0.iter()
    }

    /// Sets a value.
    pub fn set(&mut self, name: ParameterName, value: ParameterValue) {
        self.0.insert(name, value);
    }
}

/// Only the names: values can be sensitive.
impl fmt::Debug for GrantedParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl JsonSchema for GrantedParameters {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "GrantedParameters".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        values_schema()
    }
}

/// The values of parameters that policies test.
#[derive(Clone, Copy, Debug)]
pub struct ParameterFacts<'a> {
    /// The values.
    pub given: &'a GrantedParameters,
    /// Parameters of a recorded request whose values are not known.
    pub hidden: &'a BTreeSet<ParameterName>,
}

impl ParameterFacts<'static> {
    /// No parameters.
    #[must_use]
    pub const fn none() -> Self {
        static GIVEN: GrantedParameters = GrantedParameters::new();
        static HIDDEN: BTreeSet<ParameterName> = BTreeSet::new();
        Self { given: &GIVEN, hidden: &HIDDEN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(json: &str) -> Result<GivenParameters, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn parameters_are_read_by_their_json_type() {
        let read = given(
            r#"{"a":1,"b":"x","c":true,"d":1.5,"e":null,"f":[1,[2]],"g":{"h":1},"i":18446744073709551615}"#,
        );
        let read = read.unwrap();
        let kinds: Vec<Option<ParameterType>> = read
            .iter()
            .map(|(_, value)| match value {
                GivenValue::Plain(value) => Some(value.kind()),
                GivenValue::Other | GivenValue::Hidden => None,
            })
            .collect();
        let known = [ParameterType::Integer, ParameterType::Text, ParameterType::Boolean].map(Some);
        assert_eq!(kinds[..3], known);
        assert!(kinds[3..].iter().all(Option::is_none));
        for wrong in [r#"{"a":1,"a":2}"#, "[]", "1"] {
            assert!(given(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn debug_text_of_parameters_has_no_value() {
        let read = given(r#"{"account":"CNRY","pin":4711}"#).unwrap();
        let granted: GrantedParameters = serde_json::from_str(r#"{"account":"CNRY","pin":4711}"#).unwrap();
        for text in [format!("{read:?}"), format!("{granted:?}"), format!("{:?}", granted.iter().next())] {
            assert!(text.contains("account") && !text.contains("CNRY") && !text.contains("4711"), "{text}");
        }
    }
}
