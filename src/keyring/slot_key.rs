use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::KeyringError;
use super::passphrase::Passphrase;
use super::share::Shares;
use super::slot_kind::SlotKind;
use crate::base::encoding::{base64url, from_base64url};
use crate::base::{Entropy, Sensitive, SlotId, io_reason};
use crate::files;

/// The key that opens a slot. Wraps the root key and nothing else.
pub enum SlotKey {
    /// The content of a key file or a systemd credential.
    File(Sensitive<[u8; 32]>),
    /// A passphrase.
    Passphrase(Passphrase),
    /// Shares that people have brought together.
    Shares(Shares),
}

const PREFIX: &str = "keyward-slot-key-1:";
/// Longer than any key file: what is beyond it is no key.
const FILE_BYTES_MAX: u64 = 256;
/// Permissions of others on a key file, all forbidden.
const OTHERS: u32 = 0o077;
/// The same for a systemd credential: for a service with `User=`, systemd lets that user in by an ACL,
/// which shows itself as the group's right to read (mode 0440, systemd issue 29435).
const OTHERS_OF_CREDENTIAL: u32 = 0o037;

impl SlotKey {
    /// Reads the key in `path`. A symbolic link is followed; what is judged is the file that was opened.
    ///
    /// # Errors
    /// [`KeyringError::SlotFile`] when the file is missing, open to others, or holds no key.
    pub fn from_file(path: &Path) -> Result<Self, KeyringError> {
        Self::read(path, OTHERS)
    }

    fn read(path: &Path, forbidden: u32) -> Result<Self, KeyringError> {
        let refuse = |why: String| KeyringError::SlotFile { path: path.to_owned(), why };
        // Before it is opened: opening a pipe waits for a writer.
        let is_file = path.metadata().map_err(|error| refuse(io_reason(&error)))?.is_file();
        if !is_file {
            return Err(refuse("it is not a file".to_owned()));
        }
        let file = File::open(path).map_err(|error| refuse(io_reason(&error)))?;
        let metadata = file.metadata().map_err(|error| refuse(io_reason(&error)))?;
        if metadata.mode() & forbidden != 0 {
            return Err(refuse("group or others can access the file: `chmod 600` it".to_owned()));
        }
        let mut text = zeroize::Zeroizing::new(String::with_capacity(512));
        let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| refuse(io_reason(&error)))?;
        Self::parse(&text).ok_or_else(|| refuse("the file holds no slot key".to_owned()))
    }

    /// Reads the systemd credential called `name` (`LoadCredential=`, `LoadCredentialEncrypted=`).
    ///
    /// # Errors
    /// [`KeyringError::SlotFile`], also when the process was given no credentials.
    pub fn from_credential(name: &str) -> Result<Self, KeyringError> {
        match std::env::var_os("CREDENTIALS_DIRECTORY") {
            Some(directory) => Self::read(&PathBuf::from(directory).join(name), OTHERS_OF_CREDENTIAL),
            None => Err(KeyringError::SlotFile {
                path: PathBuf::from(name),
                why: "systemd gave this process no credentials".to_owned(),
            }),
        }
    }

    /// Makes a new key and writes it to `path`, which must not exist yet.
    ///
    /// # Errors
    /// [`KeyringError::SlotFile`]; nothing was overwritten then.
    pub fn create_file(path: &Path, entropy: &dyn Entropy) -> Result<Self, KeyringError> {
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
        if let Some(directory) = directory.filter(|directory| !directory.exists()) {
            return Err(KeyringError::NoDirectory(directory.to_owned()));
        }
        let key = Sensitive::<[u8; 32]>::filled(|key| entropy.fill(key));
        let encoded = zeroize::Zeroizing::new(base64url(key.expose()));
        let text = zeroize::Zeroizing::new(format!("{PREFIX}{}\n", *encoded));
        files::create(path, text.as_bytes()).map_err(KeyringError::slot_file(path))?;
        Ok(Self::File(key))
    }

    /// The key in `text`, which is what a key file holds: one line, and what editors put around it, a byte
    /// order mark, line ends of either kind and blank lines.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let (line, None) = (lines.next()?, lines.next()) else { return None };
        let bytes = zeroize::Zeroizing::new(from_base64url(line.strip_prefix(PREFIX)?)?);
        let key: &[u8; 32] = bytes.as_slice().try_into().ok()?;
        Some(Self::File(Sensitive::filled(|to| to.copy_from_slice(key))))
    }

    /// The slot that it says it is of; only shares do.
    pub(super) const fn slot(&self) -> Option<SlotId> {
        match self {
            Self::Shares(shares) => Some(shares.slot()),
            Self::File(_) | Self::Passphrase(_) => None,
        }
    }

    /// The kind of its slot.
    #[must_use]
    pub const fn kind(&self) -> SlotKind {
        match self {
            Self::File(_) => SlotKind::KeyFile,
            Self::Passphrase(_) => SlotKind::Passphrase,
            Self::Shares(_) => SlotKind::Shares,
        }
    }
}

impl fmt::Debug for SlotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlotKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::base::SystemEntropy;

    fn with_mode(mode: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root-key");
        SlotKey::create_file(&path, &SystemEntropy).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    #[test]
    fn a_key_file_is_for_its_owner_alone() {
        for mode in [0o600, 0o400] {
            let (_directory, path) = with_mode(mode);
            assert!(SlotKey::from_file(&path).is_ok(), "{mode:o}");
        }
        for mode in [0o640, 0o620, 0o610, 0o604, 0o602, 0o601] {
            let (_directory, path) = with_mode(mode);
            let error = SlotKey::from_file(&path).unwrap_err().to_string();
            assert!(error.contains("chmod 600"), "{mode:o}: {error}");
        }
    }

    #[test]
    fn a_systemd_credential_may_show_its_acl_as_the_groups_right_to_read() {
        for mode in [0o400, 0o440] {
            let (_directory, path) = with_mode(mode);
            assert!(SlotKey::read(&path, OTHERS_OF_CREDENTIAL).is_ok(), "{mode:o}");
        }
        for mode in [0o460, 0o450, 0o444, 0o402, 0o401] {
            let (_directory, path) = with_mode(mode);
            assert!(SlotKey::read(&path, OTHERS_OF_CREDENTIAL).is_err(), "{mode:o}");
        }
    }

    #[test]
    fn a_link_is_judged_by_the_file_it_leads_to() {
        let (directory, path) = with_mode(0o644);
        let link = directory.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(SlotKey::from_file(&link).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(SlotKey::from_file(&link).is_ok());
        assert!(
            SlotKey::create_file(&link, &SystemEntropy).is_err(),
            "a key is never written through a link"
        );
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        let (directory, path) = with_mode(0o600);
        let good = fs::read_to_string(&path).unwrap();
        let key = good.trim_end().strip_prefix(PREFIX).unwrap().to_owned();
        assert!(SlotKey::parse(good.trim_end()).is_some(), "the final line break is optional");
        for around in [format!("\u{feff}{good}"), good.replace('\n', "\r\n"), format!("\r\n\n{good}  \n\n")] {
            assert!(SlotKey::parse(&around).is_some(), "{around:?}");
        }
        let bad = [
            String::new(),
            format!("{key}\n"),
            format!("keyward-slot-key-2:{key}\n"),
            format!("{PREFIX}{}\n", &key[1..]),
            format!("{PREFIX}{key}AA\n"),
            format!("{good}{good}"),
            format!("\n{good}\u{feff}"),
            format!(" {good}"),
            format!("{PREFIX}{key}{}", " ".repeat(300)),
        ];
        for text in bad {
            fs::write(&path, &text).unwrap();
            let error = SlotKey::from_file(&path).unwrap_err().to_string();
            assert!(error.contains("holds no slot key") && !error.contains(&key[1..]), "{error}");
        }
        fs::write(&path, [0xff; 60]).unwrap();
        assert!(SlotKey::from_file(&path).is_err());
        let error = SlotKey::from_file(directory.path()).unwrap_err().to_string();
        assert!(error.contains("not a file"), "{error}");
        assert!(SlotKey::from_file(&directory.path().join("none")).is_err());
    }
}
