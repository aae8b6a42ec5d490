use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fchown, fstat, openat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};

/// The user of this process may not open a file.
#[derive(Debug, thiserror::Error)]
#[error("permission denied")]
struct AccessDenied(PathBuf);

/// `error`, which names the file at `path` if this process may not open it.
pub(crate) fn about(path: &Path, error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::PermissionDenied {
        io::Error::new(io::ErrorKind::PermissionDenied, AccessDenied(path.to_owned()))
    } else {
        error
    }
}

/// The file that this process may not open.
pub(crate) fn denied_file(error: &io::Error) -> Option<&Path> {
    error.get_ref()?.downcast_ref().map(|AccessDenied(path)| path.as_path())
}

/// The owner and group of a file.
#[derive(Clone, Copy)]
struct FileOwner {
    uid: Uid,
    gid: Gid,
}

/// Gives each file and directory of root below `dir` to the owner and group of `dir`. Without an effect if this process
/// is not root, or if root owns `dir`.
///
/// The owner of `dir` can put files there while this runs. So a symbolic link is not followed, and a file with several
/// names, which can be one of root from elsewhere, keeps its owner.
pub(crate) fn give_to_owner_of(dir: &Path) -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let opened = openat(CWD, dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let found = fstat(&opened)?;
    if found.st_uid == 0 {
        return Ok(());
    }
    let owner = FileOwner { uid: Uid::from_raw(found.st_uid), gid: Gid::from_raw(found.st_gid) };
    give_below(Dir::new(opened)?, owner)
}

fn give_below(mut dir: Dir, owner: FileOwner) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    while let Some(entry) = dir.read() {
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        let file = match openat(dir.fd()?, entry.file_name(), flags, Mode::empty()) {
            Ok(file) => file,
            // A symbolic link, a socket, or a file that was removed meanwhile.
            Err(Errno::LOOP | Errno::NXIO | Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        let found = fstat(&file)?;
        let kind = FileType::from_raw_mode(found.st_mode);
        let is_plain = kind == FileType::RegularFile && found.st_nlink == 1;
        if found.st_uid == 0 && (is_plain || kind == FileType::Directory) {
            fchown(&file, Some(owner.uid), Some(owner.gid))?;
        }
        if kind == FileType::Directory {
            give_below(Dir::new(file)?, owner)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, chown, symlink};

    use super::*;

    #[test]
    fn files_of_root_below_go_to_the_owner_and_others_stay() {
        if !geteuid().is_root() {
            return;
        }
        // Given a directory of another user with files of root, and ways to files elsewhere
        let place = tempfile::tempdir().unwrap();
        let (dir, elsewhere) = (place.path().join("data"), place.path().join("elsewhere"));
        fs::create_dir_all(dir.join("below")).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        for path in [dir.join("file"), dir.join("below/file"), elsewhere.join("file")] {
            fs::write(path, "").unwrap();
        }
        fs::hard_link(elsewhere.join("file"), dir.join("same")).unwrap();
        symlink(&elsewhere, dir.join("link")).unwrap();
        chown(&dir, Some(64_001), Some(64_002)).unwrap();
        fs::write(dir.join("of-another"), "").unwrap();
        chown(dir.join("of-another"), Some(64_003), None).unwrap();
        // When root gives them to the owner
        give_to_owner_of(&dir).unwrap();
        // Then what is in the directory alone belongs to the owner
        let owner = |path: &Path| {
            let found = fs::symlink_metadata(path).unwrap();
            (found.uid(), found.gid())
        };
        for path in ["file", "below", "below/file"] {
            assert_eq!(owner(&dir.join(path)), (64_001, 64_002), "{path}");
        }
        for path in [dir.join("same"), elsewhere.clone(), elsewhere.join("file")] {
            assert_eq!(owner(&path), (0, 0), "{}", path.display());
        }
        assert_eq!(owner(&dir.join("of-another")).0, 64_003);
    }

    #[test]
    fn only_a_denied_error_names_its_file() {
        let path = Path::new("/data/file");
        let named = |kind: io::ErrorKind| about(path, kind.into());
        assert_eq!(denied_file(&named(io::ErrorKind::PermissionDenied)), Some(path));
        assert_eq!(denied_file(&named(io::ErrorKind::NotFound)), None);
    }
}
