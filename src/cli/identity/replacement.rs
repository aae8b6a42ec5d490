//! The steps that replace the directory of an identity, and the lock for them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::console::CommandFailure;
use crate::files::sync_parent;

const LOCK: &str = "renewing.lock";

/// The lock for replacing an identity below `home`.
pub(crate) fn identity_lock(home: &Path) -> Result<File, CommandFailure> {
    let path = home.join(LOCK);
    open_lock(&path).map_err(|error| CommandFailure::of_file(&path, &error))
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

/// Exchanges `fresh` and `dir` atomically, so that readers always find one of them. `false` if the file system does not
/// support it.
pub(super) fn exchanged(fresh: &Path, dir: &Path) -> io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, fresh, CWD, dir, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Completes an interrupted replacement. The old identity is moved away only when the new one is complete: without an
/// identity in place the new one is valid; with one in place the directories beside it are left over.
pub(super) fn settle(dir: &Path) -> io::Result<()> {
    let (fresh, before) = (dir.with_extension("new"), dir.with_extension("old"));
    if !dir.exists() && before.exists() && fresh.exists() {
        fs::rename(&fresh, dir)?;
        sync_parent(dir)?;
    }
    if dir.exists() {
        // On a read-only file system they stay, without effect.
        drop(remove_if_there(&before));
        drop(remove_abandoned(dir, &fresh));
    }
    Ok(())
}

/// Removes `fresh`, which has the private key of before or of a certificate that was never stored, unless a process is
/// writing it under the lock.
fn remove_abandoned(dir: &Path, fresh: &Path) -> io::Result<()> {
    let Some(home) = dir.parent().filter(|_| fresh.exists()) else { return Ok(()) };
    let lock = open_lock(&home.join(LOCK))?;
    if lock.try_lock().is_err() { Ok(()) } else { remove_if_there(fresh) }
}

pub(super) fn remove_if_there(dir: &Path) -> io::Result<()> {
    if dir.exists() { fs::remove_dir_all(dir) } else { Ok(()) }
}
