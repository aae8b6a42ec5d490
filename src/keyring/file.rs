use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::{KEYRING_BYTES_MAX, KeyringError};
use super::root::mac_key;
use super::slot::{KeySlot, PendingSlot};
use crate::base::limits::{KEYRING_WRITES_MAX, SLOTS_COST_MAX, SLOTS_MAX};
use crate::base::{LedgerId, Sensitive, Timestamp};
use crate::crypto::Digest;
use crate::files::{self, OWNER_ONLY, Replacement};

/// The keyring file's body: one line of JSON; the line after it is the HMAC of these very bytes.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyringBody {
    pub(super) version: u32,
    pub(super) ledger: LedgerId,
    pub(super) created_at_ms: Timestamp,
    /// The number of writes of the file; absent in the first format.
    #[serde(default)]
    pub(super) revision: u64,
    /// Marks of the root keys before this one, oldest first, sealed under this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) earlier_roots: Vec<String>,
    pub(super) slots: Vec<KeySlot>,
    /// A slot that is not one yet: its shares were handed out, and nobody has shown that they open it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pending: Option<PendingSlot>,
    pub(super) keys: Vec<WrappedKey>,
}

/// What every format of the body says of itself.
#[derive(Deserialize)]
struct Format {
    version: u32,
}

/// One generation of one family, wrapped under the root key.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrappedKey {
    pub(super) family: u8,
    pub(super) generation: u32,
    pub(super) wrapped: String,
}

/// The format that this version writes.
pub const KEYRING_FORMAT: u32 = 2;
/// The oldest format that it reads.
const OLDEST_VERSION: u32 = 1;

/// Bytes of the body and what stands behind it, before anything is believed.
pub(super) struct Unverified {
    line: String,
    mac: Digest,
    pub(super) body: KeyringBody,
}

pub(super) fn read(path: &Path) -> Result<Unverified, KeyringError> {
    let size = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(KeyringError::Missing(path.to_owned()));
        }
        Err(error) => return Err(files::about(path, error).into()),
    };
    if size > KEYRING_BYTES_MAX {
        return Err(KeyringError::Altered("the file is too large"));
    }
    let bytes = fs::read(path).map_err(|error| files::about(path, error))?;
    let text = String::from_utf8(bytes).map_err(|_| KeyringError::Altered("the file is not text"))?;
    let (line, rest) = text.split_once('\n').ok_or(KeyringError::Altered("the second line is missing"))?;
    let mac = rest.strip_suffix('\n').and_then(Digest::from_hex);
    let mac = mac.ok_or(KeyringError::Altered("the second line is not an HMAC"))?;
    let no_keyring = |_| KeyringError::Altered("the first line is not a keyring");
    // Looked at alone first: a later format may have fields that this build refuses.
    let Format { version } = serde_json::from_str(line).map_err(no_keyring)?;
    if version > KEYRING_FORMAT {
        return Err(KeyringError::Newer(version));
    }
    let body: KeyringBody = serde_json::from_str(line).map_err(no_keyring)?;
    if body.version < OLDEST_VERSION {
        return Err(KeyringError::Altered("this version does not know its format"));
    }
    // Not yet authenticated, and about to be worked with.
    if body.slots.len() > SLOTS_MAX {
        return Err(KeyringError::Altered("it has more slots than a keyring can have"));
    }
    body.slots.iter().try_for_each(KeySlot::check)?;
    if body.slots.iter().fold(0_u64, |sum, slot| sum.saturating_add(slot.cost())) > SLOTS_COST_MAX {
        return Err(KeyringError::Altered("the cost of its passphrases exceeds the limit"));
    }
    body.pending.as_ref().map_or(Ok(()), PendingSlot::check)?;
    Ok(Unverified { line: line.to_owned(), mac, body })
}

impl Unverified {
    /// The body, once it is known to be what was written under `root`.
    pub(super) fn verify(self, root: &Sensitive<[u8; 32]>) -> Result<KeyringBody, KeyringError> {
        if mac_key(root).verify(self.line.as_bytes(), &self.mac) {
            Ok(self.body)
        } else {
            Err(KeyringError::Altered("its HMAC does not match"))
        }
    }
}

/// Writes a new keyring: temporary file, fsync, link into place (which never writes over anything),
/// fsync of the directory.
///
/// The temporary file bears the ledger's id: two creations at once must not write into one file, or
/// the keys that one of them goes on with are not those in the keyring.
pub(super) fn create(
    path: &Path,
    body: &KeyringBody,
    root: &Sensitive<[u8; 32]>,
) -> Result<(), KeyringError> {
    let temporary = path.with_extension(format!("{}.new", body.ledger));
    files::create(&temporary, text(body, root)?.as_bytes())?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(KeyringError::Exists(path.to_owned()));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(files::sync_parent(path)?)
}

/// Puts `body` in the place of the keyring that is there, whole or not at all: temporary file, fsync,
/// `proof` that it is good, rename, fsync of the directory. Gives the revision of what was written.
/// Only for a process that holds the data directory's lock.
pub(super) fn replace(
    path: &Path,
    body: KeyringBody,
    root: &Sensitive<[u8; 32]>,
    proof: &dyn Fn(&KeyringBody) -> Result<(), KeyringError>,
) -> Result<u64, KeyringError> {
    let text = KeyringText::of(body, root)?;
    text.put(path, &|temporary| proof(&read(temporary)?.verify(root)?))?;
    Ok(text.revision)
}

/// What replaces a keyring's file: authenticated, and written without any key at hand.
#[derive(Debug)]
pub(super) struct KeyringText {
    text: String,
    pub(super) revision: u64,
}

impl KeyringText {
    /// The next revision of `body`.
    pub(super) fn of(mut body: KeyringBody, root: &Sensitive<[u8; 32]>) -> Result<Self, KeyringError> {
        if body.revision >= KEYRING_WRITES_MAX {
            return Err(KeyringError::Exhausted);
        }
        body.version = KEYRING_FORMAT;
        body.revision = body.revision.saturating_add(1);
        let text = text(&body, root)?;
        if text.len() as u64 > KEYRING_BYTES_MAX {
            return Err(KeyringError::TooLarge);
        }
        Ok(Self { text, revision: body.revision })
    }

    /// Puts it in the place of the keyring that is there, as [`replace`] does; it reads back as it is.
    pub(super) fn replace(&self, path: &Path) -> Result<(), KeyringError> {
        self.put(path, &|temporary| {
            let is_written = fs::read(temporary)? == self.text.as_bytes();
            if is_written {
                Ok(())
            } else {
                Err(KeyringError::Altered("the file differs from what was written"))
            }
        })
    }

    fn put(
        &self,
        path: &Path,
        proof: &dyn Fn(&Path) -> Result<(), KeyringError>,
    ) -> Result<(), KeyringError> {
        let replacement = Replacement::write(path, OWNER_ONLY, self.text.as_bytes())?;
        proof(replacement.temporary())?;
        give_to_owner_of(path, replacement.temporary())?;
        Ok(replacement.commit()?)
    }
}

/// Gives `file` to the owner of `before`: root changes slots, and a broker that is another user has to read it.
fn give_to_owner_of(before: &Path, file: &Path) -> Result<(), KeyringError> {
    let owner = fs::metadata(before)?;
    if fs::metadata(file)?.uid() != owner.uid() {
        chown(file, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// Both lines of the file.
fn text(body: &KeyringBody, root: &Sensitive<[u8; 32]>) -> Result<String, KeyringError> {
    let line = serde_json::to_string(body).map_err(|_| KeyringError::Altered("it cannot be serialised"))?;
    let mac = mac_key(root).tag(line.as_bytes());
    Ok(format!("{line}\n{mac}\n"))
}
