use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file::KeyringError;
use crate::base::encoding::{base64url, from_base64url};
use crate::base::{Entropy, LedgerId, Sensitive, SlotId};
use crate::crypto::{Aad, AeadKey, KeyId, OpenError, derive_key};

/// What a slot is opened by. Passphrases and shares join here.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum SlotKind {
    /// A 256-bit key in a file, or in a systemd credential.
    #[serde(rename = "key-file")]
    KeyFile,
}

impl SlotKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::KeyFile => "key-file",
        }
    }
}

/// One independent way to the root key, as it stands in the keyring file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slot {
    id: SlotId,
    kind: SlotKind,
    wrapped_root: String,
}

/// The key that opens a slot. Wraps the root key and nothing else.
pub struct SlotKey(Sensitive<[u8; 32]>);

const PREFIX: &str = "keyward-slot-key-1:";
/// Longer than any key file: what is beyond it is no key.
const FILE_BYTES_MAX: u64 = 256;
/// The id that wrapped root keys carry; the slot's own id is in the associated data.
const WRAP: KeyId = KeyId { family: 0xff, generation: 1 };

impl SlotKey {
    /// Reads the key in `path`.
    ///
    /// # Errors
    /// [`KeyringError::SlotFile`] when the file is missing, open to others, or holds no key.
    pub fn from_file(path: &Path) -> Result<Self, KeyringError> {
        let refuse = |why: String| KeyringError::SlotFile { path: path.to_owned(), why };
        let file = File::open(path).map_err(|error| refuse(error.kind().to_string()))?;
        let metadata = file.metadata().map_err(|error| refuse(error.kind().to_string()))?;
        if !metadata.is_file() {
            return Err(refuse("not a file".to_owned()));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(refuse("open to group or others: chmod 600 it".to_owned()));
        }
        let mut text = zeroize::Zeroizing::new(String::with_capacity(512));
        let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| refuse(error.kind().to_string()))?;
        Self::parse(&text).ok_or_else(|| refuse("holds no slot key".to_owned()))
    }

    /// Reads the systemd credential called `name` (`LoadCredential=`, `LoadCredentialEncrypted=`).
    ///
    /// # Errors
    /// [`KeyringError::SlotFile`], also when the process was given no credentials.
    pub fn from_credential(name: &str) -> Result<Self, KeyringError> {
        match std::env::var_os("CREDENTIALS_DIRECTORY") {
            Some(directory) => Self::from_file(&PathBuf::from(directory).join(name)),
            None => Err(KeyringError::SlotFile {
                path: PathBuf::from(name),
                why: "this process was given no systemd credentials".to_owned(),
            }),
        }
    }

    /// Makes a new key and writes it to `path`, which must not exist yet.
    ///
    /// # Errors
    /// [`KeyringError::SlotFile`]; nothing was overwritten then.
    pub fn create_file(path: &Path, entropy: &dyn Entropy) -> Result<Self, KeyringError> {
        let refuse = |error: std::io::Error| KeyringError::SlotFile {
            path: path.to_owned(),
            why: error.kind().to_string(),
        };
        let key = Sensitive::<[u8; 32]>::filled(|key| entropy.fill(key));
        let encoded = zeroize::Zeroizing::new(base64url(key.expose()));
        let text = zeroize::Zeroizing::new(format!("{PREFIX}{}\n", *encoded));
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(refuse)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(refuse)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = File::open(directory.unwrap_or(Path::new("."))).map_err(refuse)?;
        directory.sync_all().map_err(refuse)?;
        Ok(Self(key))
    }

    fn parse(text: &str) -> Option<Self> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let bytes = zeroize::Zeroizing::new(from_base64url(line.strip_prefix(PREFIX)?)?);
        let key: &[u8; 32] = bytes.as_slice().try_into().ok()?;
        Some(Self(Sensitive::filled(|to| to.copy_from_slice(key))))
    }

    fn wrapping(&self) -> AeadKey {
        AeadKey::new(WRAP, &derive_key(&self.0, b"", "keyward/keyring/slot/key-file"))
    }
}

impl fmt::Debug for SlotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlotKey([redacted])")
    }
}

impl Slot {
    pub(super) fn wrap(
        id: SlotId,
        key: &SlotKey,
        ledger: LedgerId,
        root: &Sensitive<[u8; 32]>,
        entropy: &dyn Entropy,
    ) -> Self {
        let kind = SlotKind::KeyFile;
        let wrapped = key.wrapping().seal(&bound(id, kind, ledger), root.expose(), entropy);
        Self { id, kind, wrapped_root: base64url(&wrapped) }
    }

    /// The root key, if `key` is this slot's.
    pub(super) fn unwrap(&self, key: &SlotKey, ledger: LedgerId) -> Result<Sensitive<[u8; 32]>, OpenError> {
        let wrapped = from_base64url(&self.wrapped_root).ok_or(OpenError::Format)?;
        let root = key.wrapping().open(&bound(self.id, self.kind, ledger), &wrapped)?;
        let root: &[u8; 32] = root.expose().as_slice().try_into().map_err(|_| OpenError::Format)?;
        Ok(Sensitive::filled(|to| to.copy_from_slice(root)))
    }
}

fn bound(id: SlotId, kind: SlotKind, ledger: LedgerId) -> Aad {
    Aad::new("keyward/keyring/slot")
        .field(ledger.as_bytes())
        .field(id.as_bytes())
        .field(kind.as_str().as_bytes())
}
