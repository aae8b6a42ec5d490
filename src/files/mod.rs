//! Files that are written whole or not at all, and are on disk with their names before anything relies on them.

mod access;
mod closed;

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub(crate) use access::{about, denied_file, give_to_owner_of};
pub(crate) use closed::{Closed, FileUser, service_directory_above};

use crate::base::{Clock, SystemClock, Timestamp};

/// The file's owner alone.
pub(crate) const OWNER_ONLY: u32 = 0o600;

/// A file with the new content, synced, that has yet to take the place of another one. Removed on drop.
#[derive(Debug)]
pub(crate) struct Replacement {
    path: PathBuf,
    temporary: PathBuf,
    is_committed: bool,
}

impl Replacement {
    /// Writes `bytes` to `<path>.new`; a file of that name, left by a write that was cut short, is removed first.
    pub(crate) fn write(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<Self> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".new");
        Self::write_by(path, temporary.into(), mode, bytes)
    }

    /// The same for paths that several processes write at a time: each has a temporary file of its own.
    pub(crate) fn write_shared(path: &Path, bytes: &[u8]) -> io::Result<Self> {
        remove_left_over(path);
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}.new", std::process::id()));
        Self::write_by(path, temporary.into(), OWNER_ONLY, bytes)
    }

    fn write_by(path: &Path, temporary: PathBuf, mode: u32, bytes: &[u8]) -> io::Result<Self> {
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        Self::begin(path, temporary, mode, bytes)
    }

    /// A `temporary` that exists belongs to another process, which began to write it meanwhile: it stays.
    fn begin(path: &Path, temporary: PathBuf, mode: u32, bytes: &[u8]) -> io::Result<Self> {
        write_new(&temporary, mode, bytes)?;
        Ok(Self { path: path.to_owned(), temporary, is_committed: false })
    }

    /// The file with the new content.
    pub(crate) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Takes the place of the file before; durable when this returns.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.path)?;
        self.is_committed = true;
        sync_parent(&self.path)
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // After a commit, a file with this name belongs to another process. A file that cannot be removed stays for
        // the next write.
        if !self.is_committed {
            drop(fs::remove_file(&self.temporary));
        }
    }
}

/// Puts a file with `bytes`, for its owner alone, in the place of `path`; durable when this returns. For paths that
/// one process at a time writes.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    Replacement::write(path, OWNER_ONLY, bytes)?.commit()
}

/// The same for paths that several processes write at a time: each has a temporary file of its own.
pub(crate) fn replace_shared(path: &Path, bytes: &[u8]) -> io::Result<()> {
    Replacement::write_shared(path, bytes)?.commit()
}

/// The age from which on the temporary file of a process that is not found is left over. A process in another container
/// is not found either, but writes for no longer than a moment.
const LEFT_OVER_AFTER_S: i64 = 60;

/// Removes temporary files for `path` of processes that were killed while they wrote.
fn remove_left_over(path: &Path) {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str)) else { return };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.filter_map(Result::ok) {
        let file = entry.file_name();
        let rest =
            file.to_str().and_then(|file| file.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(".new"));
        let Some(pid) = rest.and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        let Ok(modified) = entry.metadata().and_then(|found| found.modified()) else { continue };
        let age_s = SystemClock::new().now().seconds_since(Timestamp::of_system(modified));
        if age_s > LEFT_OVER_AFTER_S && !Path::new("/proc").join(pid.to_string()).exists() {
            drop(fs::remove_file(entry.path()));
        }
    }
}

/// A new file for its owner alone, made before its content is known. Removed on drop, unless it was filled.
#[derive(Debug)]
pub(crate) struct NewFile {
    path: PathBuf,
    file: File,
    is_filled: bool,
}

impl NewFile {
    /// Makes the empty file; fails if there is one of this name.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::open_with(path, OWNER_ONLY)
    }

    fn open_with(path: &Path, mode: u32) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        Ok(Self { path: path.to_owned(), file, is_filled: false })
    }

    /// Writes the content; durable when this returns.
    pub(crate) fn fill(self, bytes: &[u8]) -> io::Result<()> {
        sync_parent(&self.fill_unnamed(bytes)?)
    }

    /// Writes the content; its name is not synced. The path.
    fn fill_unnamed(mut self, bytes: &[u8]) -> io::Result<PathBuf> {
        self.file.write_all(bytes).and_then(|()| self.file.sync_all())?;
        self.is_filled = true;
        Ok(self.path.clone())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // An empty file, or a part of one, would keep the next attempt from creating it.
        if !self.is_filled {
            drop(fs::remove_file(&self.path));
        }
    }
}

/// Writes a file that does not exist yet, for its owner alone; durable when this returns.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_new(path, OWNER_ONLY, bytes)?;
    sync_parent(path)
}

/// Removes a file, if it is there; durable when this returns.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a directory for its owner alone, and the ones above it; durable when this returns. One that exists is left
/// as it is.
pub(crate) fn private_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty());
    above.map_or(Ok(()), private_dir)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        made => made.and_then(|()| sync_parent(dir)),
    }
}

/// Syncs the directory that `path` is in: without it, a power failure loses a rename or the name of a new file.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_name(path, File::open(parent.unwrap_or(Path::new("."))))
}

/// Syncs the name of `path` in `parent`. A user may add files to a directory without the right to read it, and then
/// cannot open it: the file system as a whole is synced instead.
fn sync_name(path: &Path, parent: io::Result<File>) -> io::Result<()> {
    match parent {
        Ok(parent) => sync_opened(&parent),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let named = File::open(path).map_err(|_| error)?;
            Ok(rustix::fs::syncfs(named)?)
        }
        Err(error) => Err(error),
    }
}

/// Syncs a directory.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    sync_opened(&File::open(dir)?)
}

fn sync_opened(dir: &File) -> io::Result<()> {
    match dir.sync_all() {
        // A file system that does not sync directories.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    NewFile::open_with(path, mode)?.fill_unnamed(bytes).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_replaced_file_is_whole_private_and_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file.json");
        fs::write(dir.path().join("file.json.new"), "cut sho").unwrap();
        for text in ["one", "two"] {
            replace(&path, text.as_bytes()).unwrap();
            replace_shared(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_shared_replacement_removes_what_killed_processes_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        // No process has this number: it is above the limit of the kernel.
        let (dead, init) = (u32::MAX, 1);
        let made = |name: String, is_old: bool| {
            let file = File::create(dir.path().join(&name)).unwrap();
            if is_old {
                file.set_modified(UNIX_EPOCH).unwrap();
            }
            name
        };
        let left = made(format!("token.{dead}.new"), true);
        let kept = [
            made(format!("token.{}.new", dead - 1), false),
            made(format!("token.{init}.new"), true),
            made(format!("other.{dead}.new"), true),
            made("token.x.new".to_owned(), true),
        ];
        replace_shared(&path, b"new").unwrap();
        assert!(!dir.path().join(left).exists());
        for name in kept {
            assert!(dir.path().join(&name).exists(), "{name}");
        }
    }

    #[test]
    fn a_replacement_that_is_not_committed_leaves_the_file_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        replace(&path, b"before").unwrap();
        let replacement = Replacement::write(&path, OWNER_ONLY, b"after").unwrap();
        assert_eq!(fs::read(replacement.temporary()).unwrap(), b"after");
        drop(replacement);
        assert_eq!(fs::read(&path).unwrap(), b"before");
        assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_committed_replacement_removes_no_other_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let replacement = Replacement::write(&path, OWNER_ONLY, b"new").unwrap();
        let temporary = replacement.temporary().to_owned();
        // A rename onto another name of the same file leaves both names: as if another process had begun to write.
        fs::hard_link(&temporary, &path).unwrap();
        replacement.commit().unwrap();
        assert!(temporary.exists());
    }

    #[test]
    fn a_replacement_that_comes_too_late_removes_no_other_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, temporary) = (dir.path().join("file"), dir.path().join("file.new"));
        let other = Replacement::write(&path, OWNER_ONLY, b"other").unwrap();
        let late = Replacement::begin(&path, temporary, OWNER_ONLY, b"late");
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        other.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"other");
    }

    #[test]
    fn a_name_in_a_directory_without_read_permission_is_synced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        create(&path, b"whole").unwrap();
        let opened = |kind: io::ErrorKind| Err(io::Error::from(kind));
        sync_name(&path, opened(io::ErrorKind::PermissionDenied)).unwrap();
        let other = sync_name(&path, opened(io::ErrorKind::NotFound)).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::NotFound);
        let gone = sync_name(&dir.path().join("gone"), opened(io::ErrorKind::PermissionDenied)).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::PermissionDenied, "its name cannot be synced");
    }

    #[test]
    fn a_new_file_stays_only_with_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let opened = NewFile::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        drop(opened);
        assert!(!path.exists());
        NewFile::open(&path).unwrap().fill(b"whole").unwrap();
        assert_eq!(NewFile::open(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn a_created_file_is_never_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/file");
        private_dir(path.parent().unwrap()).unwrap();
        create(&path, b"first").unwrap();
        assert_eq!(create(&path, b"second").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        remove(&path).unwrap();
        remove(&path).unwrap();
    }
}
