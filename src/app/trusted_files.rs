//! Checks that no other user of the host can read or replace the files that a broker trusts.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::data_dir::keyring_path;
use super::webhook::key_file;
use crate::base::{code, io_reason};
use crate::config::{Config, DatabaseSettings, RootKey};
use crate::console::{CommandFailure, own_uid};
use crate::files::{Closed, FileUser};

/// Permissions of group and others.
const ANY: u32 = 0o077;
/// Write permission of group and others: a start removes their other permissions on the data directory.
const WRITE: u32 = 0o022;
/// Write permission of others: a group may administer the configuration.
const WRITE_OF_OTHERS: u32 = 0o002;

/// The sticky bit of a directory.
const STICKY: u32 = 0o1000;

/// A file or directory that a broker trusts.
pub(crate) struct TrustedFile {
    pub(crate) what: &'static str,
    pub(crate) path: PathBuf,
    forbidden: u32,
}

impl TrustedFile {
    /// The existing files of the broker with this `config`, which was read from the file `from`.
    pub(crate) fn all(from: &Path, config: &Config) -> Vec<Self> {
        let all = [
            ("configuration's permissions", from.to_owned(), WRITE_OF_OTHERS),
            ("data directory", config.data_dir.clone(), WRITE),
            ("keyring's permissions", keyring_path(config), ANY),
            ("server key's permissions", config.data_dir.join("tls/server.key"), ANY),
        ];
        let webhook_key = key_file(config).map(|path| ("webhook key's permissions", path, ANY));
        let all = all.into_iter().chain(webhook_key);
        let trusted = all.map(|(what, path, forbidden)| Self { what, path, forbidden });
        trusted.filter(|one| one.path.exists()).collect()
    }

    /// The existing directories of the unseal key and of the server's key: a user who can write to one can replace the
    /// key.
    pub(crate) fn key_directories(config: &Config) -> Vec<Self> {
        let unseal_key = match &config.root_key {
            RootKey::File(file) => file.parent().map(Path::to_owned),
            RootKey::Credential(_) | RootKey::Attended => None,
        };
        let unseal_key = unseal_key.map(|path| ("unseal key's directory", path, WRITE_OF_OTHERS));
        let server_key = ("server key's directory", config.data_dir.join("tls"), WRITE);
        let all = unseal_key.into_iter().chain([server_key]);
        let trusted = all.map(|(what, path, forbidden)| Self { what, path, forbidden });
        // In a sticky directory, such as `/tmp`, only its owner can replace a file.
        let is_replaceable = |path: &Path| fs::metadata(path).is_ok_and(|found| found.mode() & STICKY == 0);
        trusted.filter(|one| is_replaceable(&one.path)).collect()
    }

    /// Fails if a user of this host other than `broker` and root can read or replace it, or if `broker` cannot read it.
    pub(crate) fn check(&self, broker: BrokerUser) -> Result<(), CommandFailure> {
        let path = self.path.display();
        let refuse = |why: String, fix: String| {
            Err(CommandFailure::new(code::FILE_PERMISSIONS_TOO_OPEN).because(why).mended_by(fix))
        };
        let found = fs::metadata(&self.path).map_err(|error| unusable(&self.path, &error))?;
        let mode = found.mode() & 0o7777;
        if mode & self.forbidden != 0 {
            let (right, fix) = match self.forbidden {
                ANY => ("group or others can use it", "go="),
                WRITE => ("group or others can write to it", "go-w"),
                _ => ("others can write to it", "o-w"),
            };
            return refuse(
                format!("`{path}` has mode {mode:o}: {right}"),
                format!("find out who could use it, then `chmod {fix} {path}`"),
            );
        }
        let BrokerUser(user) = broker;
        let uid = found.uid();
        if uid != 0 && uid != user {
            return refuse(
                format!(
                    "`{path}` belongs to uid {uid}, neither to root nor to the broker's user (uid {user})"
                ),
                format!("find out why, then give it to the broker's user: `chown {user} {path}`"),
            );
        }
        if self.forbidden == ANY && uid != user {
            return Err(unreadable(&self.path, broker));
        }
        Ok(())
    }
}

/// The user that the broker runs as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct BrokerUser(pub(super) u32);

impl BrokerUser {
    /// The user of this process, which is the broker.
    pub(crate) fn of_process() -> Self {
        Self(own_uid())
    }

    /// The owner of the data directory, also if another user runs this command. If the directory does not exist, the
    /// user of this process, who will make it.
    pub(crate) fn of_data(config: &Config) -> Self {
        fs::metadata(&config.data_dir).map_or_else(|_| Self::of_process(), |found| Self(found.uid()))
    }

    /// Checks that this user can pass every directory above the data directory, and can read the configuration, which was
    /// read from the file `from`.
    pub(crate) fn check_ways_to(self, from: &Path, data_dir: &Path) -> Result<(), CommandFailure> {
        let gid = fs::metadata(data_dir).map_err(|error| unusable(data_dir, &error))?.gid();
        let user = FileUser { uid: self.0, gid };
        let closed = user.closed_directory_above(data_dir).map(|closed| (closed, data_dir));
        let closed = closed.or_else(|| user.closed_file(from).map(|closed| (closed, from)));
        closed.map_or(Ok(()), |(closed, path)| Err(needed(&closed, path)))
    }

    /// Checks that this user can read the files of the ledger's database: the password and the CA certificates. A missing
    /// file is no failure here.
    pub(crate) fn check_database_files(
        self,
        config: &Config,
        database: &DatabaseSettings,
    ) -> Result<(), CommandFailure> {
        let user = self.with_group_of(config);
        let DatabaseSettings { password_file, ca_file, .. } = database;
        for path in [password_file, ca_file] {
            if let Some(closed) = user.closed_directory_above(path) {
                return Err(needed(&closed, path));
            }
        }
        // Nobody else may read it, so that it has to belong to this user.
        if let Some(closed) = user.closed_file(password_file) {
            let why = format!("{}, the broker's user, which needs it", closed.why());
            let fix = own_fix(password_file, self);
            return Err(CommandFailure::new(code::FILE_ACCESS_DENIED).because(why).mended_by(fix));
        }
        user.closed_file(ca_file).map_or(Ok(()), |closed| Err(needed(&closed, ca_file)))
    }

    /// With the group of the data directory, which is the main group of the broker's user.
    fn with_group_of(self, config: &Config) -> FileUser {
        let data_dir = fs::metadata(&config.data_dir);
        let gid = data_dir.map_or_else(|_| FileUser::of_process().gid, |found| found.gid());
        FileUser { uid: self.0, gid }
    }

    /// Checks that this user can read `public`, and can pass every directory above `private`, whose own permissions
    /// [`TrustedFile::check`] checks.
    pub(crate) fn check_webhook_files(
        self,
        config: &Config,
        public: &Path,
        private: &Path,
    ) -> Result<(), CommandFailure> {
        let user = self.with_group_of(config);
        let closed = user.closed_file(public).map(|closed| (closed, public));
        let closed = closed.or_else(|| user.closed_directory_above(private).map(|closed| (closed, private)));
        closed.map_or(Ok(()), |(closed, path)| Err(needed(&closed, path)))
    }

    /// Checks the files below the data directory: each belongs to this user, or to root and is readable.
    pub(crate) fn check_files_below(self, dir: &Path) -> Result<(), CommandFailure> {
        for entry in fs::read_dir(dir).map_err(|error| unusable(dir, &error))? {
            let path = entry.map_err(|error| unusable(dir, &error))?.path();
            let found = match fs::symlink_metadata(&path) {
                Ok(found) => found,
                // A running broker removes files.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(unusable(&path, &error)),
            };
            let Self(user) = self;
            if found.uid() != user && found.uid() != 0 {
                let (uid, path) = (found.uid(), path.display());
                let why = format!(
                    "`{path}` belongs to uid {uid}, and the data directory to the broker's user (uid {user})"
                );
                let fix = format!("find out why, then give it to the broker's user: `chown {user} {path}`");
                return Err(CommandFailure::new(code::FILE_ACCESS_DENIED).because(why).mended_by(fix));
            }
            if found.uid() != user && found.mode() & OTHERS_READ == 0 {
                return Err(unreadable(&path, self));
            }
            if found.is_dir() {
                self.check_files_below(&path)?;
            }
        }
        Ok(())
    }
}

/// The failure of the broker's user, which needs `path`.
fn needed(closed: &Closed, path: &Path) -> CommandFailure {
    let why = format!("{}, the broker's user, which needs `{}`", closed.why(), path.display());
    CommandFailure::new(code::FILE_ACCESS_DENIED).because(why).mended_by(closed.fix())
}

/// Read permission of others.
const OTHERS_READ: u32 = 0o004;

fn unreadable(path: &Path, broker: BrokerUser) -> CommandFailure {
    let (shown, BrokerUser(user)) = (path.display(), broker);
    CommandFailure::new(code::FILE_ACCESS_DENIED)
        .because(format!("`{shown}` belongs to root, and the broker's user (uid {user}) cannot read it"))
        .mended_by(own_fix(path, broker))
}

/// How the broker's user gets the file at `path`.
fn own_fix(path: &Path, BrokerUser(user): BrokerUser) -> String {
    format!(
        "give it to the broker's user: `chown {user} {}`; a service with `DynamicUser=` keeps such files in its data directory",
        path.display()
    )
}

fn unusable(path: &Path, error: &io::Error) -> CommandFailure {
    let why = format!("`{}` cannot be used: {}", path.display(), io_reason(error));
    CommandFailure::new(code::FILE_UNUSABLE).because(why)
}
