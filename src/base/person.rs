use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::limits::PERSON_CHARS_MAX;

/// The person who is an operator, or for whom an agent acts, e.g. an email address or a name: one line of text. The broker
/// does not verify it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String")]
pub struct Person(String);

/// The text does not name a person.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a person is one line of 1 to {PERSON_CHARS_MAX} characters, e.g. an email address")]
pub struct PersonError;

impl Person {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both texts name the same person: neither the case of letters nor a name before an address in `<…>` tells persons apart.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.folded() == other.folded()
    }

    /// Whether both name the same person, or neither names one.
    #[must_use]
    pub fn are_same(one: Option<&Self>, other: Option<&Self>) -> bool {
        one.map(Self::folded) == other.map(Self::folded)
    }

    /// The text by which persons are compared: in lower case, and of `Ann Li <ann@corp.example>` only the address.
    #[must_use]
    pub fn folded(&self) -> String {
        let address = self.0.rsplit_once('<').and_then(|(_, rest)| rest.strip_suffix('>'));
        address.map(str::trim).filter(|address| !address.is_empty()).unwrap_or(&self.0).to_lowercase()
    }
}

/// Unicode's characters without a width, and those that change the direction of text: with them, two texts look the same, or
/// one hides a part of itself.
#[must_use]
pub const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

impl FromStr for Person {
    type Err = PersonError;

    fn from_str(text: &str) -> Result<Self, PersonError> {
        let text = text.trim();
        let is_line = !text.is_empty() && !text.chars().any(|c| c.is_control() || is_invisible(c));
        if is_line && text.chars().count() <= PERSON_CHARS_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(PersonError)
        }
    }
}

impl TryFrom<String> for Person {
    type Error = PersonError;

    fn try_from(text: String) -> Result<Self, PersonError> {
        text.parse()
    }
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn person_is_the_same_in_upper_and_lower_case() {
        let person = |text: &str| text.parse::<Person>().unwrap();
        assert!(person("Ann@corp.example").is_same_as(&person("ann@Corp.example")));
        assert!(!person("ann@corp.example").is_same_as(&person("anne@corp.example")));
    }

    #[test]
    fn a_person_is_one_visible_line_of_limited_length() {
        let longest = "é".repeat(PERSON_CHARS_MAX);
        assert_eq!(longest.parse::<Person>().unwrap().to_string(), longest);
        assert_eq!(
            " Ann Li <ann@corp.example> ".parse::<Person>().unwrap().as_str(),
            "Ann Li <ann@corp.example>"
        );
        let hidden = ["ann\u{202e}@corp", "a\u{200b}nn", "\u{feff}ann", "ann\u{2028}li"];
        for text in ["", " ", "a\nb", "a\u{1b}[0m", &format!("{longest}é")].into_iter().chain(hidden) {
            assert_eq!(text.parse::<Person>(), Err(PersonError), "{text:?}");
        }
    }
}
