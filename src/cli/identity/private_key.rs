use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::IdentityKind;

/// Permissions of users other than the owner and the group: to read a file, and to pass a directory.
const OTHERS_READ: u32 = 0o004;
const OTHERS_PASS: u32 = 0o001;

/// The warning that every user of this machine can read the private key of the identity of `kind` below `home`, if it is so.
/// The command goes on: it may be the one that contains what has leaked. `keyward doctor` also finds a key that its group can
/// use.
pub(crate) fn key_warning(home: &Path, kind: IdentityKind) -> Option<String> {
    let path = home.join(kind.directory()).join("key.pem");
    let has = |path: &Path, right: u32| fs::metadata(path).is_ok_and(|found| found.mode() & right != 0);
    let is_passed = |dir: &Path| has(dir, OTHERS_PASS);
    let whole = fs::canonicalize(&path).ok()?;
    if !has(&whole, OTHERS_READ) || !whole.ancestors().skip(1).all(is_passed) {
        return None;
    }
    let path = path.display();
    Some(format!(
        "warning: every user of this machine can read the private key `{path}`: `chmod go= {path}`; if another user may have \
         read it, have the certificate revoked, and enrol again: `keyward join --replace`"
    ))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_that_every_user_can_read_is_warned_of() {
        let home = tempfile::tempdir().unwrap();
        let warning = || key_warning(home.path(), IdentityKind::Agent);
        let above = fs::canonicalize(home.path()).unwrap();
        let mut above = above.ancestors().skip(1).map(|dir| fs::metadata(dir).unwrap().mode());
        let is_reached = above.all(|mode| mode & OTHERS_PASS != 0);
        assert_eq!(warning(), None, "a missing key");
        let (dir, key) = (home.path().join("agent"), home.path().join("agent/key.pem"));
        fs::create_dir(&dir).unwrap();
        fs::write(&key, "").unwrap();
        for (of_home, of_dir, of_key, is_warned) in [
            (0o755, 0o755, 0o644, true),
            (0o755, 0o755, 0o640, false),
            (0o755, 0o700, 0o644, false),
            (0o700, 0o755, 0o644, false),
        ] {
            for (path, mode) in [(home.path(), of_home), (&dir, of_dir), (&key, of_key)] {
                fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            }
            assert_eq!(warning().is_some(), is_warned && is_reached, "{of_home:o} {of_dir:o} {of_key:o}");
        }
    }
}
