use std::collections::BTreeSet;

use crate::base::code;
use crate::broker::failure::Failure;

/// Checks that at most one of the `known` hashes begins with `hash`.
pub(super) fn unambiguous(hash: &str, known: impl Iterator<Item = String>) -> Result<(), Failure> {
    let meant: BTreeSet<String> = known.filter(|one| one.starts_with(hash)).collect();
    let (Some(one), Some(other)) = (meant.first(), meant.iter().nth(1)) else { return Ok(()) };
    let why = format!("several versions have a hash that begins with {hash}, e.g. {one} and {other}");
    Err(Failure::new(code::POLICY_VERSION_UNKNOWN).because(why).mended_by("name more characters of the hash"))
}

/// Fewest characters of a hash that name a version.
const HASH_CHARS_MIN: usize = 8;

/// The beginning of a hash in hex that `text` is.
pub(super) fn hash(text: &str) -> Result<String, Failure> {
    let text = text.trim().to_ascii_lowercase();
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || !(HASH_CHARS_MIN..=64).contains(&text.len()) {
        let why = format!("the hash is not {HASH_CHARS_MIN} to 64 of the characters 0-9 and a-f");
        return Err(Failure::new(code::POLICY_VERSION_UNKNOWN).because(why));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_named_by_its_beginning() {
        assert_eq!(hash(" ABCDEF01 ").unwrap(), "abcdef01");
        let known = || ["abcdef0123", "abcdef0124", "ff"].map(str::to_owned).into_iter();
        assert!(unambiguous("abcdef0123", known()).is_ok() && unambiguous("00", known()).is_ok());
        assert!(unambiguous("abcdef01", [known().next(), known().next()].into_iter().flatten()).is_ok());
        assert_eq!(unambiguous("abcdef01", known()).unwrap_err().code, code::POLICY_VERSION_UNKNOWN);
        for text in ["abcdef0", "ghijklmn", &"a".repeat(65), ""] {
            assert_eq!(hash(text).unwrap_err().code, code::POLICY_VERSION_UNKNOWN, "{text}");
        }
    }
}
