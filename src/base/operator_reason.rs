use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::limits::REASON_CHARS_MAX;

/// An operator's reason for a command, for the ledger: one line of text.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String")]
pub struct Reason(String);

/// The text is not a reason.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a reason, note or cause is one line of 1 to {REASON_CHARS_MAX} characters; a longer text fits into several notes \
     (`keyward incident note`)"
)]
pub struct ReasonError;

impl Reason {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reason {
    type Err = ReasonError;

    fn from_str(text: &str) -> Result<Self, ReasonError> {
        let text = text.trim();
        let is_line = !text.is_empty() && !text.chars().any(char::is_control);
        if is_line && text.chars().count() <= REASON_CHARS_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(ReasonError)
        }
    }
}

impl TryFrom<String> for Reason {
    type Error = ReasonError;

    fn try_from(text: String) -> Result<Self, ReasonError> {
        text.parse()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_limited_length() {
        let longest = "é".repeat(REASON_CHARS_MAX);
        assert_eq!(longest.parse::<Reason>().unwrap().to_string(), longest);
        assert_eq!(" gone ".parse::<Reason>().unwrap().to_string(), "gone");
        for text in ["", " ", "a\nb", "a\u{1b}[0m", &format!("{longest}é")] {
            assert_eq!(text.parse::<Reason>(), Err(ReasonError), "{text:?}");
        }
    }
}
