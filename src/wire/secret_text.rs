use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::Sensitive;

/// A secret value in a request or response: a code, a token, a password, a passphrase. The only type with a secret that
/// can be serialised.
#[derive(Debug)]
pub struct SecretText(Sensitive<String>);

impl SecretText {
    #[must_use]
    pub const fn value(&self) -> &Sensitive<String> {
        &self.0
    }

    #[must_use]
    pub fn into_value(self) -> Sensitive<String> {
        self.0
    }

    #[must_use]
    pub fn into_bytes(self) -> Sensitive<Vec<u8>> {
        Sensitive::new(self.0.expose().clone().into_bytes())
    }
}

impl From<Sensitive<String>> for SecretText {
    fn from(value: Sensitive<String>) -> Self {
        Self(value)
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|value| Self(Sensitive::new(value)))
    }
}

impl JsonSchema for SecretText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SecretText".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_text_shows_nothing() {
        let shown = format!("{:?}", SecretText::from(Sensitive::new("CNRY".to_owned())));
        assert!(!shown.contains("CNRY"), "{shown}");
    }
}
