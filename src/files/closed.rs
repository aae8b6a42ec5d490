//! Directories that a user of this host cannot pass: their mode bits, as for a user without the rights of root.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid};

/// A permission, with its bits for owner, group and others.
struct Permission {
    owner: u32,
    group: u32,
    others: u32,
    letter: char,
}

/// To search a directory.
const SEARCH: Permission = Permission { owner: 0o100, group: 0o010, others: 0o001, letter: 'x' };
/// To read a file.
const READ: Permission = Permission { owner: 0o400, group: 0o040, others: 0o004, letter: 'r' };

/// The directories in which systemd keeps those of services with `DynamicUser=`, closed to all users but root. A service
/// reaches its own one through a mount.
const OF_SERVICES: [&str; 4] = ["/var/lib/private", "/var/cache/private", "/var/log/private", "/run/private"];

/// A user of this host with its main group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A file or directory whose mode lacks a permission for a user.
#[derive(Debug)]
pub(crate) struct Closed {
    path: PathBuf,
    owner: u32,
    mode: u32,
    user: FileUser,
    /// `o+x`, `g+x` or `u+x`, or the same with `r`.
    lacks: String,
}

impl Closed {
    /// The object and its problem, e.g. ``the directory `/srv` (uid 0, mode 700) is closed to uid 987``.
    pub(crate) fn why(&self) -> String {
        let what = if self.path.is_dir() { "directory" } else { "file" };
        let (path, owner, mode, uid) = (self.path.display(), self.owner, self.mode, self.user.uid);
        format!("the {what} `{path}` (of uid {owner}, mode {mode:o}) is closed to uid {uid}")
    }

    /// The command that opens it, unless it has to stay closed.
    pub(crate) fn fix(&self) -> String {
        if OF_SERVICES.iter().any(|one| self.path == Path::new(one)) {
            return format!(
                "leave `{}` closed: only systemd makes directories in it, for units with `DynamicUser=` and e.g. \
                 `StateDirectory=`; let the unit make the directory, or use one elsewhere",
                self.path.display()
            );
        }
        format!("as root: `chmod {} {}`", self.lacks, self.path.display())
    }
}

impl FileUser {
    /// The user of this process.
    pub(crate) fn of_process() -> Self {
        Self { uid: geteuid().as_raw(), gid: getegid().as_raw() }
    }

    /// The first directory above `path`, from the root of the file system down, that this user cannot search. The
    /// directory of systemd that [`service_directory_above`] finds does not count.
    pub(crate) fn closed_directory_above(self, path: &Path) -> Option<Closed> {
        let (path, of_services) = (resolved(path), service_directory_above(path));
        let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
        above.reverse();
        above.retain(|directory| of_services != Some(*directory));
        above.into_iter().find_map(|directory| self.lacks(directory, &SEARCH))
    }

    /// What keeps this user from reading the file at `path`: a directory above it, or the file itself.
    pub(crate) fn closed_file(self, path: &Path) -> Option<Closed> {
        self.closed_directory_above(path).or_else(|| self.lacks(path, &READ))
    }

    /// `path`, if its mode lacks `permission` for this user. Root needs none. A permission of a group that is not the main
    /// group counts, because this user may be a member; only root is in the group 0.
    fn lacks(self, path: &Path, permission: &Permission) -> Option<Closed> {
        let found = fs::metadata(path).ok()?;
        let mode = found.mode();
        let has = |bits: u32| mode & bits != 0;
        let (is_given, class) = if found.uid() == self.uid {
            (has(permission.owner), 'u')
        } else if found.gid() == self.gid {
            (has(permission.group), 'g')
        } else {
            (has(permission.others) || (found.gid() != 0 && has(permission.group)), 'o')
        };
        let lacks = format!("{class}+{}", permission.letter);
        let (path, owner, mode) = (path.to_owned(), found.uid(), mode & 0o7777);
        (!is_given && self.uid != 0).then_some(Closed { path, owner, mode, user: self, lacks })
    }
}

/// The directory of systemd above `path` that only root can enter, if a service reaches `path` through its own mount:
/// `path` is in the directory of a service with `DynamicUser=`, which systemd also links beside its own directory.
pub(crate) fn service_directory_above(path: &Path) -> Option<&'static Path> {
    let path = resolved(path);
    OF_SERVICES.into_iter().map(Path::new).find(|private| is_mounted(&path, private))
}

/// Whether the resolved `path` is in a directory of `private` to which a link beside `private` leads, and only root can enter
/// `private`.
fn is_mounted(path: &Path, private: &Path) -> bool {
    let Ok(below) = path.strip_prefix(private) else { return false };
    let (Some(name), Some(beside)) = (below.components().next(), private.parent()) else { return false };
    let link = beside.join(name);
    let is_link = fs::symlink_metadata(&link).is_ok_and(|found| found.is_symlink());
    let leads = fs::canonicalize(&link).is_ok_and(|target| target == private.join(name));
    let is_closed = |found: fs::Metadata| found.uid() == 0 && found.mode() & 0o7777 == 0o700;
    is_link && leads && fs::metadata(private).is_ok_and(is_closed)
}

/// `path` without links; a path that cannot be resolved, as an absolute one.
fn resolved(path: &Path) -> PathBuf {
    fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn closed_directory_above_a_file_is_named_with_its_command() {
        // Given a file in a directory that lies in another one of another user
        let dir = tempfile::tempdir().unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let (outer, inner) = (dir.path().join("outer"), dir.path().join("outer/inner"));
        fs::create_dir_all(&inner).unwrap();
        let file = inner.join("keyring");
        fs::write(&file, b"").unwrap();
        set(dir.path(), 0o755);
        set(&inner, 0o755);
        let own = fs::metadata(&outer).unwrap();
        let other = FileUser { uid: own.uid() + 1, gid: own.gid() + 1 };
        // When the outer one is closed, then it is named, and not the inner one or the file
        set(&outer, 0o700);
        let closed = other.closed_directory_above(&file).unwrap();
        assert!(
            closed.why().contains(&format!("the directory `{}` (of uid ", outer.display())),
            "{closed:?}"
        );
        assert_eq!(closed.fix(), format!("as root: `chmod o+x {}`", outer.display()));
        let member = FileUser { gid: own.gid(), ..other };
        assert!(member.closed_directory_above(&file).unwrap().fix().contains("chmod g+x "));
        // When it lets others pass, then only the mode of the file counts
        set(&outer, 0o701);
        assert!(other.closed_directory_above(&file).is_none());
        set(&file, 0o600);
        assert!(other.closed_file(&file).unwrap().fix().contains("chmod o+r "));
        // Root passes all
        set(&outer, 0o000);
        assert!(FileUser { uid: 0, gid: 0 }.closed_directory_above(&file).is_none());
        set(&outer, 0o700);
    }

    #[test]
    fn directory_of_a_service_is_reached_through_its_mount() {
        if !geteuid().is_root() {
            return;
        }
        // Given the layout of systemd for a service with `DynamicUser=`
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let (private, link) = (root.join("private"), root.join("keyward"));
        let data = private.join("keyward");
        fs::create_dir_all(&data).unwrap();
        let set = |mode| fs::set_permissions(&private, fs::Permissions::from_mode(mode)).unwrap();
        set(0o700);
        // Without the link beside it, no service has a mount
        assert!(!is_mounted(&data, &private));
        symlink(&data, &link).unwrap();
        assert!(is_mounted(&data, &private) && is_mounted(&data.join("keyring"), &private));
        // A directory without a link, one beside it, and another mode are not that layout
        fs::create_dir(private.join("other")).unwrap();
        assert!(!is_mounted(&private.join("other"), &private) && !is_mounted(&root, &private));
        assert!(!is_mounted(&private, &private));
        set(0o710);
        assert!(!is_mounted(&data, &private));
        // And the directories of systemd stay closed in each case
        let (owner, mode, lacks) = (0, 0o700, "o+x".to_owned());
        for path in OF_SERVICES.map(PathBuf::from) {
            let user = FileUser { uid: 62_000, gid: 62_000 };
            let fix = Closed { path, owner, mode, user, lacks: lacks.clone() }.fix();
            assert!(fix.contains("closed: only systemd") && !fix.contains("chmod"), "{fix}");
        }
    }
}
