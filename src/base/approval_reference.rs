use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::entropy::Entropy;
use super::id::ApprovalId;

/// Consonants that are hard to confuse (RFC 8628 §6.1).
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const LETTERS: usize = 8;

/// A short name of a request for approval that a person can type, e.g. `WDJB-MJHT`. It names the request and proves nothing.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UserCode([u8; LETTERS]);

impl UserCode {
    /// A new code.
    #[must_use]
    pub fn draw(entropy: &dyn Entropy) -> Self {
        // Two bytes a letter: the remainder prefers no letter noticeably.
        let bytes = entropy.plain_bytes::<16>();
        let mut letters = [0; LETTERS];
        for (letter, pair) in letters.iter_mut().zip(bytes.chunks_exact(2)) {
            let number = pair
                .iter()
                .fold(0, |number: usize, byte| number.wrapping_mul(256).wrapping_add(usize::from(*byte)));
            let place = number.checked_rem(ALPHABET.len()).unwrap_or(0);
            *letter = ALPHABET.get(place).copied().unwrap_or(b'B');
        }
        Self(letters)
    }
}

impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, letter) in self.0.iter().enumerate() {
            let separator = if index == LETTERS / 2 { "-" } else { "" };
            write!(f, "{separator}{}", char::from(*letter))?;
        }
        Ok(())
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text names no request for approval. Never contains the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a request for approval: write its id (`appr_…`) or its code, e.g. `WDJB-MJHT`")]
pub struct ApprovalReferenceError;

/// Case and hyphens do not matter, because a person types the code (RFC 8628 §6.1).
impl FromStr for UserCode {
    type Err = ApprovalReferenceError;

    fn from_str(text: &str) -> Result<Self, ApprovalReferenceError> {
        let letters: Vec<u8> =
            text.bytes().filter(|byte| *byte != b'-').map(|byte| byte.to_ascii_uppercase()).collect();
        let letters: [u8; LETTERS] = letters.try_into().map_err(|_| ApprovalReferenceError)?;
        if letters.iter().all(|letter| ALPHABET.contains(letter)) {
            Ok(Self(letters))
        } else {
            Err(ApprovalReferenceError)
        }
    }
}

impl Serialize for UserCode {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UserCode {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

super::name::json_schema!(UserCode, "^[BCDFGHJ-NP-TV-XZ]{4}-[BCDFGHJ-NP-TV-XZ]{4}$");

/// A request for approval, by its id or its code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ApprovalReference {
    /// By its id.
    Id(ApprovalId),
    /// By its code.
    Code(UserCode),
}

impl fmt::Display for ApprovalReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            // Paths are in lower case.
            Self::Code(code) => f.write_str(&code.to_string().to_lowercase()),
        }
    }
}

impl FromStr for ApprovalReference {
    type Err = ApprovalReferenceError;

    fn from_str(text: &str) -> Result<Self, ApprovalReferenceError> {
        let id = text.parse().map(Self::Id);
        id.or_else(|_| text.parse().map(Self::Code))
    }
}

super::name::json_schema!(ApprovalReference, "^(appr_[0-9a-v]{26}|[A-Za-z]{4}-?[A-Za-z]{4})$");

#[cfg(test)]
mod tests {
    use super::super::entropy::SystemEntropy;
    use super::super::timestamp::Timestamp;
    use super::*;

    #[test]
    fn a_code_reads_back_as_a_person_types_it() {
        let code = UserCode::draw(&SystemEntropy);
        let text = code.to_string();
        assert_eq!(text.len(), LETTERS + 1, "{text}");
        for typed in [text.clone(), text.to_lowercase(), text.replace('-', "")] {
            assert_eq!(typed.parse(), Ok(code), "{typed}");
        }
        for wrong in ["", "AAAA-AAAA", "BCDF-GHJ", "BCDF-GHJKL", "BCDF GHJK"] {
            assert!(wrong.parse::<UserCode>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_reference_is_an_id_or_a_code() {
        let id = ApprovalId::mint(Timestamp::from_s(1), &SystemEntropy);
        assert_eq!(id.to_string().parse(), Ok(ApprovalReference::Id(id)));
        let code = UserCode::draw(&SystemEntropy);
        let reference = ApprovalReference::Code(code);
        assert_eq!(code.to_string().parse(), Ok(reference));
        assert_eq!(reference.to_string(), code.to_string().to_lowercase());
        assert!("appr_x".parse::<ApprovalReference>().is_err());
    }
}
