//! Bytes as text: one owner for hex, base64url and base32, all strict and without padding.

use std::fmt;

use data_encoding::{BASE32_DNSSEC, BASE32_NOPAD_VISUAL, BASE64, BASE64URL_NOPAD, HEXLOWER};
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Bytes of lower-case hexadecimal; `None` for anything else.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    HEXLOWER.decode(text.as_bytes()).ok()
}

/// base64url without padding (RFC 4648 §5).
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

/// Appends base64url without padding.
pub fn append_base64url(bytes: &[u8], to: &mut String) {
    BASE64URL_NOPAD.encode_append(bytes, to);
}

/// Bytes of unpadded base64url; `None` for anything else, non-zero trailing bits included.
#[must_use]
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()
}

/// base64 with padding (RFC 4648 §4): what signed notes are written in.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Bytes of padded base64; `None` for anything else.
#[must_use]
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.as_bytes()).ok()
}

/// Lower-case base32 without padding, in the extended-hex alphabet (RFC 4648 §7): sorts like its bytes.
#[must_use]
pub fn base32(bytes: &[u8]) -> String {
    BASE32_DNSSEC.encode(bytes)
}

/// Bytes of lower-case unpadded base32; `None` for anything else, upper case included.
#[must_use]
pub fn from_base32(text: &str) -> Option<Vec<u8>> {
    let bytes = BASE32_DNSSEC.decode(text.as_bytes()).ok()?;
    (base32(&bytes) == text).then_some(bytes)
}

/// Upper-case base32 (RFC 4648 §6) in groups of four, for people who write it down and type it in again.
#[must_use]
pub fn handwritten(bytes: &[u8]) -> Zeroizing<String> {
    let plain = Zeroizing::new(BASE32_NOPAD_VISUAL.encode(bytes));
    // Large enough for the hyphens: a string that grows leaves a copy behind.
    let mut grouped = Zeroizing::new(String::with_capacity(plain.len().saturating_mul(2)));
    for (at, letter) in plain.chars().enumerate() {
        if at > 0 && at % GROUP == 0 {
            grouped.push('-');
        }
        grouped.push(letter);
    }
    grouped
}

/// Bytes of a text from [`handwritten`] that a person typed: in either case, with 0, 1 and 8 for O, I and B, and
/// with hyphens, spaces or nothing between the groups.
#[must_use]
pub fn from_handwritten(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut letters = Zeroizing::new(Vec::with_capacity(text.len()));
    letters.extend(text.bytes().filter(|byte| !b"- ".contains(byte)).map(|byte| byte.to_ascii_uppercase()));
    BASE32_NOPAD_VISUAL.decode(&letters).ok().map(Zeroizing::new)
}

const GROUP: usize = 4;

/// Text of at most `N` bytes without an allocation, for texts that every request writes. A part that does not fit
/// is left out.
#[derive(Clone, Copy)]
pub struct ShortText<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> ShortText<N> {
    /// Begins with `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut short = Self { bytes: [0; N], len: 0 };
        short.append(text.len(), |place| place.copy_from_slice(text.as_bytes()));
        short
    }

    /// Adds lower-case hexadecimal.
    #[must_use]
    pub fn hex(mut self, bytes: &[u8]) -> Self {
        self.append(HEXLOWER.encode_len(bytes.len()), |place| HEXLOWER.encode_mut(bytes, place));
        self
    }

    /// Adds base32, as [`base32`] writes it.
    #[must_use]
    pub fn base32(mut self, bytes: &[u8]) -> Self {
        self.append(BASE32_DNSSEC.encode_len(bytes.len()), |place| BASE32_DNSSEC.encode_mut(bytes, place));
        self
    }

    /// Adds formatted text.
    pub fn write(&mut self, arguments: fmt::Arguments<'_>) {
        // Cannot fail: a text that does not fit is left out.
        let _: fmt::Result = fmt::Write::write_fmt(self, arguments);
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let written = self.bytes.get(..self.len).unwrap_or_default();
        std::str::from_utf8(written).unwrap_or_default()
    }

    fn append(&mut self, len: usize, write: impl FnOnce(&mut [u8])) {
        let end = self.len.saturating_add(len);
        if let Some(place) = self.bytes.get_mut(self.len..end) {
            write(place);
            self.len = end;
        }
    }
}

impl<const N: usize> fmt::Write for ShortText<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.append(text.len(), |place| place.copy_from_slice(text.as_bytes()));
        Ok(())
    }
}

impl<const N: usize> fmt::Debug for ShortText<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> Serialize for ShortText<N> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_back_what_it_wrote() {
        let bytes = [0, 1, 2, 250, 255];
        assert_eq!(from_hex(&hex(&bytes)).as_deref(), Some(&bytes[..]));
        assert_eq!(from_base64url(&base64url(&bytes)).as_deref(), Some(&bytes[..]));
        assert_eq!(from_base32(&base32(&bytes)).as_deref(), Some(&bytes[..]));
    }

    #[test]
    fn short_text_leaves_out_a_part_that_does_not_fit() {
        let bytes = [0, 1, 2, 250, 255];
        assert_eq!(ShortText::<10>::new("").hex(&bytes).as_str(), hex(&bytes));
        assert_eq!(ShortText::<9>::new("").hex(&bytes).as_str(), "");
        assert_eq!(ShortText::<40>::new("a_").base32(&bytes).as_str(), format!("a_{}", base32(&bytes)));
        assert_eq!(ShortText::<2>::new("abc").as_str(), "");
    }

    #[test]
    fn a_second_spelling_of_the_same_bytes_is_refused() {
        assert_eq!(from_hex("FF"), None);
        assert_eq!(from_base32(&base32(b"keyward").to_uppercase()), None);
        assert_eq!(from_base64url("_x"), None, "non-zero trailing bits");
        assert_eq!(from_base64url("AA=="), None);
    }

    #[test]
    fn a_handwritten_text_is_read_in_every_spelling() {
        let bytes: Vec<u8> = (0..=255).step_by(3).collect();
        let text = handwritten(&bytes);
        assert!(text.starts_with("AABQ-MCIM"), "{}", *text);
        let mistaken = text.replace('O', "0").replace('I', "1").replace('B', "8");
        for typed in [text.to_string(), text.to_lowercase(), text.replace('-', " "), mistaken] {
            assert_eq!(from_handwritten(&typed).as_deref(), Some(&bytes), "{typed}");
        }
        for bad in ["A", "AB", "A9", "AAAA_AAAA", "AAAA=", "\u{e4}\u{e4}"] {
            assert_eq!(from_handwritten(bad), None, "{bad}");
        }
    }
}
