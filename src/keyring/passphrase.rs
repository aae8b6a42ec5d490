use std::fmt;

use crate::base::Sensitive;
use crate::base::limits::{PASSPHRASE_BYTES_MAX, PASSPHRASE_CHARS_MIN};

/// A passphrase that opens a slot.
///
/// Its bytes are taken as they come: a passphrase that is typed on different keyboards had better be
/// of characters that are the same on all of them.
pub struct Passphrase(Sensitive<Vec<u8>>);

/// Why something is not taken as a passphrase. Says nothing of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// It is too easy to guess.
    #[error("a passphrase has at least {PASSPHRASE_CHARS_MIN} characters")]
    Short,
    /// It is too long.
    #[error("a passphrase has at most {PASSPHRASE_BYTES_MAX} bytes")]
    Long,
    /// It is not one line of text.
    #[error("a passphrase is one line of text")]
    NotALine,
}

impl Passphrase {
    /// The input without the line break at its end.
    ///
    /// # Errors
    /// [`PassphraseError`], never for being short: that is judged when it is chosen.
    pub fn entered(bytes: &Sensitive<Vec<u8>>) -> Result<Self, PassphraseError> {
        let typed = bytes.expose();
        let line = typed.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let line = line.unwrap_or(typed);
        if line.len() > PASSPHRASE_BYTES_MAX {
            return Err(PassphraseError::Long);
        }
        match std::str::from_utf8(line) {
            Ok(text) if !text.chars().any(char::is_control) => Ok(Self(Sensitive::new(line.to_vec()))),
            Ok(_) | Err(_) => Err(PassphraseError::NotALine),
        }
    }

    /// A passphrase for a new slot.
    ///
    /// # Errors
    /// [`PassphraseError`].
    pub fn chosen(bytes: &Sensitive<Vec<u8>>) -> Result<Self, PassphraseError> {
        let passphrase = Self::entered(bytes)?;
        passphrase.check_length()?;
        Ok(passphrase)
    }

    /// Whether it may be chosen for a slot.
    pub(super) fn check_length(&self) -> Result<(), PassphraseError> {
        let chars = std::str::from_utf8(self.0.expose()).map_or(0, |text| text.chars().count());
        if chars < PASSPHRASE_CHARS_MIN { Err(PassphraseError::Short) } else { Ok(()) }
    }

    pub(super) fn bytes(&self) -> &Sensitive<Vec<u8>> {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entered(bytes: &[u8]) -> Result<Passphrase, PassphraseError> {
        Passphrase::entered(&Sensitive::new(bytes.to_vec()))
    }

    #[test]
    fn the_line_break_at_its_end_is_not_part_of_it() {
        for typed in [&b"fifteen letters"[..], b"fifteen letters\n", b"fifteen letters\r\n"] {
            assert_eq!(entered(typed).unwrap().bytes().expose(), b"fifteen letters");
        }
        assert_eq!(entered(b" spaces stay \n").unwrap().bytes().expose(), b" spaces stay ");
    }

    #[test]
    fn what_is_no_line_of_text_is_refused() {
        for bad in
            [&b"one line\nand another one"[..], b"two line breaks\n\n", b"a NUL \0 within", b"\xff\xfe"]
        {
            assert_eq!(entered(bad).unwrap_err(), PassphraseError::NotALine, "{bad:?}");
        }
    }

    #[test]
    fn a_passphrase_has_a_minimum_of_characters_and_a_maximum_of_bytes() {
        let checked = |text: &str| entered(text.as_bytes()).unwrap().check_length();
        assert_eq!(checked(&"x".repeat(PASSPHRASE_CHARS_MIN)), Ok(()));
        assert_eq!(checked(&"\u{e4}".repeat(PASSPHRASE_CHARS_MIN)), Ok(()));
        for short in [String::new(), "x".repeat(PASSPHRASE_CHARS_MIN - 1), "\u{e4}".repeat(14)] {
            assert_eq!(checked(&short), Err(PassphraseError::Short), "{short}");
        }
        assert!(entered(&vec![b'x'; PASSPHRASE_BYTES_MAX]).is_ok());
        assert_eq!(entered(&vec![b'x'; PASSPHRASE_BYTES_MAX + 1]).unwrap_err(), PassphraseError::Long);
    }
}
