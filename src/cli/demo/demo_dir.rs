use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::base::encoding::base32;
use crate::base::{Entropy, SystemEntropy};
use crate::console::{Console, own_uid};
use crate::files::private_dir;

/// The directory of a temporary broker, locked until this process ends.
pub(super) struct DemoDir {
    path: PathBuf,
    _lock: File,
}

/// The verbs that run a temporary broker.
const VERBS: [&str; 2] = ["demo", "dev"];

/// The lock of the process that runs the broker.
const LOCK: &str = "lock";

/// The data directory of the broker.
pub(super) const DATA: &str = "broker/data";

impl DemoDir {
    /// Makes `keyward-VERB-…` below the directory for temporary files.
    pub(super) fn create(verb: &str) -> io::Result<Self> {
        let entropy: &dyn Entropy = &SystemEntropy;
        let name = format!("keyward-{verb}-{}", base32(&entropy.bytes::<8>()));
        let hidden = std::env::temp_dir().join(format!(".{name}"));
        private_dir(&hidden.join("broker"))?;
        let lock = File::create_new(hidden.join(LOCK))?;
        lock.lock()?;
        // Another process removes a directory of this name that nobody has locked.
        let path = hidden.with_file_name(name);
        fs::rename(&hidden, &path)?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.path)
    }
}

/// Removes the directories of earlier temporary brokers that were killed, and says so.
pub(super) fn remove_left_over(console: &Console) {
    let Ok(found) = fs::read_dir(std::env::temp_dir()) else { return };
    for dir in found.flatten().map(|entry| entry.path()).filter(|path| is_left_over(path)) {
        let shown = dir.display();
        console.say(&match fs::remove_dir_all(&dir) {
            Ok(()) => format!("note: `{shown}`, which a killed process left, was removed"),
            Err(_) => format!("note: a killed process left `{shown}`, which cannot be removed: delete it"),
        });
    }
}

/// Whether `path` is a directory that this user's temporary broker had, and neither the broker nor its process runs.
fn is_left_over(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_own = |found: fs::Metadata| found.is_dir() && found.uid() == own_uid();
    VERBS.iter().any(|verb| name.starts_with(&format!("keyward-{verb}-")))
        && fs::symlink_metadata(path).is_ok_and(is_own)
        && is_free(&path.join(LOCK)).unwrap_or(false)
        && is_free(&path.join(DATA).join(LOCK)).unwrap_or(true)
}

/// Whether no process has the lock file locked; `None` without a file.
fn is_free(lock: &Path) -> Option<bool> {
    Some(File::open(lock).ok()?.try_lock().is_ok())
}
