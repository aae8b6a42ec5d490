use std::ops::Deref;

use serde::de::DeserializeOwned;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A response, with the JSON that the broker sent: a newer broker may send fields that this version does not know, and
/// programs get all of them.
#[derive(Clone, Debug)]
pub(crate) struct Received<T> {
    pub(crate) sent: Value,
    pub(crate) answer: T,
}

impl<T> Deref for Received<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.answer
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Received<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let sent = Value::deserialize(from)?;
        let answer = T::deserialize(&sent).map_err(D::Error::custom)?;
        Ok(Self { sent, answer })
    }
}

impl<T> Serialize for Received<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.sent.serialize(to)
    }
}
