use serde::{Deserialize, Serialize};

/// The kind of key of a slot.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum SlotKind {
    /// A 256-bit key in a file, or in a systemd credential.
    #[serde(rename = "key-file")]
    KeyFile,
    /// A passphrase.
    #[serde(rename = "passphrase")]
    Passphrase,
    /// A number of shares together.
    #[serde(rename = "shares")]
    Shares,
}

impl SlotKind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeyFile => "key-file",
            Self::Passphrase => "passphrase",
            Self::Shares => "shares",
        }
    }
}
