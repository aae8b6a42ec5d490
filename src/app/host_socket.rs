use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::base::{code, io_reason};
use crate::console::CommandFailure;
use crate::ledger::lock_file;

/// The Unix socket for root and the broker's user: mode 0600, in a directory that no other user can enter. Only this
/// process uses it, and removes it on drop.
#[derive(Debug)]
pub(super) struct HostSocket {
    path: PathBuf,
    /// The lock of the socket: its holder may replace an existing socket, which is left over.
    _lock: File,
}

impl HostSocket {
    /// Listens at `path`.
    pub(super) fn bind(path: &Path) -> Result<(Self, UnixListener), CommandFailure> {
        private_place(path)?;
        let lock = lock_file(&path.with_extension("lock")).map_err(|error| refused(path, &error))?;
        let lock = lock.ok_or_else(|| CommandFailure::new(code::DATA_DIR_IN_USE))?;
        remove_left_over(path).map_err(|error| refused(path, &error))?;
        let listener = UnixListener::bind(path).map_err(|error| refused(path, &error))?;
        let private = fs::set_permissions(path, Permissions::from_mode(0o600));
        private.map_err(|error| refused(path, &error))?;
        Ok((Self { path: path.to_owned(), _lock: lock }, listener))
    }
}

impl Drop for HostSocket {
    fn drop(&mut self) {
        if let Err(error) = remove_left_over(&self.path) {
            tracing::warn!(error = %io_reason(&error), "the host socket could not be removed");
        }
    }
}

/// Creates a missing directory, and refuses one that others can enter.
fn private_place(path: &Path) -> Result<(), CommandFailure> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    if !dir.exists() {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|error| refused(path, &error))?;
    }
    let mode = fs::metadata(dir).map_err(|error| refused(path, &error))?.mode();
    if mode & 0o077 != 0 {
        let why = format!("group or others can access `{}`: `chmod 700` it", dir.display());
        return Err(CommandFailure::new(code::LISTEN_FAILED).because(why));
    }
    Ok(())
}

/// Removes a socket without a listener. Other files stay.
fn remove_left_over(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn refused(path: &Path, error: &io::Error) -> CommandFailure {
    let why = format!("the broker cannot listen on `{}`: {}", path.display(), io_reason(error));
    CommandFailure::new(code::LISTEN_FAILED).because(why)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net;

    use super::*;

    fn private() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        let path = dir.path().join("host.sock");
        (dir, path)
    }

    fn code_of(bound: Result<(HostSocket, UnixListener), CommandFailure>) -> String {
        bound.unwrap_err().code().to_owned()
    }

    #[tokio::test]
    async fn it_is_for_its_owner_alone_and_goes_with_its_broker() {
        let (dir, path) = private();
        let (socket, _listener) = HostSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
        fs::set_permissions(dir.path(), Permissions::from_mode(0o750)).unwrap();
        assert_eq!(code_of(HostSocket::bind(&path)), "listen_failed");
        let below = dir.path().join("made/host.sock");
        let (_socket, _listener) = HostSocket::bind(&below).unwrap();
        assert_eq!(fs::metadata(dir.path().join("made")).unwrap().mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn what_a_killed_broker_left_is_taken_over_and_a_living_one_is_left_alone() {
        let (_dir, path) = private();
        drop(net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a socket outlives its listener");
        let (_socket, _listener) = HostSocket::bind(&path).unwrap();
        assert_eq!(code_of(HostSocket::bind(&path)), "data_dir_in_use");
        assert!(net::UnixStream::connect(&path).is_ok(), "the first one is still there");
    }

    #[tokio::test]
    async fn a_file_or_a_link_in_its_place_stays_where_it_is() {
        let (dir, path) = private();
        fs::write(&path, "somebody's").unwrap();
        assert_eq!(code_of(HostSocket::bind(&path)), "listen_failed");
        assert_eq!(fs::read(&path).unwrap(), b"somebody's");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
        assert_eq!(code_of(HostSocket::bind(&path)), "listen_failed");
    }
}
