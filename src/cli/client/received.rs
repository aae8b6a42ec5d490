use std::fmt;
use std::ops::Deref;

use serde::de::DeserializeOwned;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A response, with the JSON that the broker sent: a newer broker may send fields that this version does not know, and
/// programs get all of them.
#[derive(Clone)]
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

/// Without what was sent, which may contain a secret as plain text.
impl<T: fmt::Debug> fmt::Debug for Received<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("answer", &self.answer).finish_non_exhaustive()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::TokenAnswer;

    #[test]
    fn debug_text_of_an_answer_shows_no_secret() {
        let sent = json!({
            "access_token": "CNRY", "token_type": "Bearer", "expires_in": 60, "scope": "reports.read",
            "token_id": "tok_00000000000000000000000000", "decision_id": "dec_00000000000000000000000000",
            "constrained": [], "of_tomorrow": "CNRY",
        });
        let received: Received<TokenAnswer> = serde_json::from_value(sent).unwrap();
        let shown = format!("{received:?}");
        assert!(shown.contains("reports.read") && !shown.contains("CNRY"), "{shown}");
    }
}
