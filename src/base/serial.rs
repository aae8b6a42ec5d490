use std::fmt;
use std::str::FromStr;

use super::encoding::{from_hex, hex};
use super::entropy::Entropy;

/// A certificate's serial: 128 random bits, of which the first is 0 (positive) and the second 1
/// (never short), so that every serial has 16 bytes. New with every certificate.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Serial([u8; 16]);

impl Serial {
    /// A new serial.
    #[must_use]
    pub fn draw(entropy: &dyn Entropy) -> Self {
        let mut bytes = entropy.bytes::<16>();
        if let Some(first) = bytes.first_mut() {
            *first = (*first & 0x3f) | 0x40;
        }
        Self(bytes)
    }

    /// The serial of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The text is not a serial as this broker prints it. Never carries the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a certificate's serial: 32 lower-case hexadecimal digits")]
pub struct SerialError;

impl FromStr for Serial {
    type Err = SerialError;

    fn from_str(text: &str) -> Result<Self, SerialError> {
        let bytes = from_hex(text).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        bytes.map(Self).ok_or(SerialError)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

super::name::json_schema!(Serial, "^[0-9a-f]{32}$");
