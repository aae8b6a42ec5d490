use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::IdentityKind;
use crate::base::code;
use crate::console::CommandFailure;

/// Permissions of users other than the owner and the group.
const OTHERS: u32 = 0o007;

/// Fails if every user of this machine can use the private key of the identity of `kind` below `home`. `keyward doctor` also
/// finds a key that its group can use.
///
/// # Errors
/// [`CommandFailure`].
pub(crate) fn check_private_key(home: &Path, kind: IdentityKind) -> Result<(), CommandFailure> {
    let path = home.join(kind.directory()).join("key.pem");
    // A missing key is told with the identity.
    let Ok(found) = fs::metadata(&path) else { return Ok(()) };
    if found.mode() & OTHERS == 0 {
        return Ok(());
    }
    let (path, mode) = (path.display(), found.mode() & 0o7777);
    let why = format!("every user of this machine can use the private key `{path}`: it has mode {mode:o}");
    let fix = format!(
        "`chmod go= {path}`; if another user may have read the key, have the certificate revoked, and enrol again: `keyward join \
         --replace`"
    );
    Err(CommandFailure::new(code::FILE_PERMISSIONS_TOO_OPEN).because(why).mended_by(fix))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_that_every_user_can_use_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let check = || check_private_key(home.path(), IdentityKind::Agent);
        assert!(check().is_ok(), "a missing key");
        let key = home.path().join("agent/key.pem");
        fs::create_dir(home.path().join("agent")).unwrap();
        fs::write(&key, "").unwrap();
        for (mode, is_fine) in [(0o600, true), (0o640, true), (0o644, false), (0o606, false)] {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(check().is_ok(), is_fine, "{mode:o}");
        }
        let refused = check().unwrap_err();
        assert_eq!(refused.code(), code::FILE_PERMISSIONS_TOO_OPEN.as_str());
        assert!(
            refused.why().contains("mode 606") && refused.fix().contains("chmod go="),
            "{}",
            refused.why()
        );
    }
}
