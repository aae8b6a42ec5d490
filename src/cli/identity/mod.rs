//! The identities of this machine (key, certificate, address of the broker) in a home directory.

mod missing;
mod pending_key;
mod private_key;
mod replacement;

pub(crate) use pending_key::{PendingKey, files_with_key, joining_file, remove_other_joining};
pub(crate) use private_key::key_warning;
pub(crate) use replacement::identity_lock;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use self::pending_key::RENEWING;
use self::replacement::{exchanged, remove_if_there, settle};
use crate::base::Sensitive;
use crate::base::code;
use crate::cli::sealed_key::SealedKey;
use crate::console::{CommandFailure, Console, Format};
use crate::crypto::Digest;
use crate::files::{create, private_dir, remove, sync_dir, sync_parent};
use crate::pki::tls;
use crate::pki::{
    PeerCertificate, SpiffeId, certificate_from_pem, certificate_pem, certificates_from_pem,
    check_authorities, key_pin,
};

/// The kinds of identities of this machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IdentityKind {
    /// An agent's, or a resource server's: made by `keyward join`.
    Agent,
    /// An operator's: made by `keyward init`, or by `keyward join`.
    Operator,
}

impl IdentityKind {
    /// The operator's identity if `operator`, else the agent's.
    pub(crate) const fn named(operator: bool) -> Self {
        if operator { Self::Operator } else { Self::Agent }
    }

    /// The kind of the identity `spiffe`.
    pub(crate) const fn of(spiffe: &SpiffeId) -> Self {
        match spiffe {
            SpiffeId::Agent { .. } | SpiffeId::ResourceServer { .. } => Self::Agent,
            SpiffeId::Operator { .. } => Self::Operator,
        }
    }

    pub(crate) const fn directory(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Operator => "operator",
        }
    }

    const fn other(self) -> Self {
        Self::named(matches!(self, Self::Agent))
    }
}

/// The note after a new key in clear replaced a sealed one.
pub(crate) const NEW_KEY_IN_CLEAR: &str = "the previous key was sealed, and the new one is stored in clear; to seal it: `keyward operator seal-key`";

/// A certificate, its key, and the address of the broker.
#[derive(Debug)]
pub struct Identity {
    /// The broker's address, `host:port`.
    pub address: String,
    /// PKCS#8 in PEM, or sealed with a passphrase.
    pub key_pem: Sensitive<String>,
    /// The certificate in PEM.
    pub certificate_pem: String,
    /// The certificates of the broker's authorities in PEM.
    pub authority_pem: String,
}

/// The default directory of identities.
///
/// # Errors
/// [`CommandFailure`] without a home directory.
pub fn default_home() -> Result<PathBuf, CommandFailure> {
    let base = directory_of("XDG_CONFIG_HOME");
    let home = directory_of("HOME").map(|home| home.join(".config"));
    base.or(home).map(|dir| dir.join("keyward")).ok_or_else(|| {
        CommandFailure::usage(
            "no directory for identities is set: `--home`, KEYWARD_HOME and HOME are missing",
            "name a directory: `--home DIR`, or set KEYWARD_HOME",
        )
    })
}

/// The environment variable with the directory of this machine's identities.
pub(crate) const HOME_VARIABLE: &str = "KEYWARD_HOME";

/// `home` for a program that may have another working directory.
pub(crate) fn absolute_home(home: &Path) -> Result<PathBuf, CommandFailure> {
    std::path::absolute(home).map_err(|error| CommandFailure::of_file(home, &error))
}

/// The directory that an environment variable names: an empty one counts as unset (XDG base directories).
pub(crate) fn directory_of(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The user's runtime directory, else the directory for temporary files.
pub(crate) fn runtime_dir() -> PathBuf {
    directory_of("XDG_RUNTIME_DIR").unwrap_or_else(std::env::temp_dir)
}

impl Identity {
    /// Reads the identity of `kind` below `home`.
    ///
    /// # Errors
    /// [`CommandFailure`] if it is missing or a part of it cannot be read.
    pub fn load(home: &Path, kind: IdentityKind) -> Result<Self, CommandFailure> {
        let dir = home.join(kind.directory());
        if Self::existing(home, kind)?.is_none() {
            let other = Self::existing(home, kind.other()).ok().flatten();
            let spiffe = |dir: PathBuf| Some(Self::read(&dir).ok()?.certificate().ok()?.spiffe().clone());
            return Err(missing::failure(home, kind, other.and_then(spiffe).as_ref()));
        }
        loop {
            let before = Self::generation(&dir)?;
            let identity = Self::read(&dir);
            // A renewal may have replaced the directory meanwhile: the two halves must not be mixed.
            if Self::generation(&dir)? == before {
                return identity;
            }
        }
    }

    fn read(dir: &Path) -> Result<Self, CommandFailure> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).map_err(|error| {
                if error.kind() != io::ErrorKind::NotFound {
                    return CommandFailure::of_file(&path, &error);
                }
                let why = format!("`{}` is missing", path.display());
                CommandFailure::new(code::IDENTITY_DAMAGED).because(why)
            })
        };
        Ok(Self {
            address: read("address")?.trim().to_owned(),
            key_pem: Sensitive::new(read("key.pem")?),
            certificate_pem: read(CERTIFICATE)?,
            authority_pem: read(AUTHORITY)?,
        })
    }

    /// The directory of the identity of `kind` below `home`, if there is one.
    pub(crate) fn existing(home: &Path, kind: IdentityKind) -> Result<Option<PathBuf>, CommandFailure> {
        let dir = home.join(kind.directory());
        settle(&dir).map_err(|error| CommandFailure::of_file(&dir, &error))?;
        Ok(dir.exists().then_some(dir))
    }

    /// Refuses to store a new operator's identity below `home`, unless the present one is of the same operator and
    /// trusts one of `authorities` (digests of public keys).
    ///
    /// # Errors
    /// [`CommandFailure`].
    pub fn check_reissue(
        home: &Path,
        operator: &SpiffeId,
        authorities: &[Digest],
    ) -> Result<(), CommandFailure> {
        let Some(dir) = Self::existing(home, IdentityKind::Operator)? else { return Ok(()) };
        let same = || {
            let found = Self::load(home, IdentityKind::Operator)?;
            let pins = found.authority_pins()?;
            let is_of_broker = pins.iter().any(|pin| authorities.contains(pin));
            Ok::<_, CommandFailure>(found.certificate()?.spiffe() == operator && is_of_broker)
        };
        if same().unwrap_or(false) {
            return Ok(());
        }
        let why = format!("`{}` holds another identity; nothing was changed", dir.display());
        let fix = "store the new identity in another directory: `--home DIR`";
        Err(CommandFailure::new(code::IDENTITY_EXISTS).because(why).mended_by(fix))
    }

    /// An inode number can be reused, but not with the same time of change.
    fn generation(dir: &Path) -> Result<(u64, i64, i64), CommandFailure> {
        let generation = |found: fs::Metadata| (found.ino(), found.ctime(), found.ctime_nsec());
        fs::metadata(dir).map(generation).map_err(|error| CommandFailure::of_file(dir, &error))
    }

    /// Fails if a new identity of `kind` cannot be stored below `home`. Checked before a certificate is requested, so
    /// that the broker issues none that this machine cannot store.
    pub(crate) fn check_storable(home: &Path, kind: IdentityKind) -> Result<(), CommandFailure> {
        use rustix::fs::{Access, access};
        let dir = home.join(kind.directory());
        let tried = access(home, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from);
        tried.map_err(|error| CommandFailure::of_file(home, &error))?;
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev());
        match (device(home), device(&dir)) {
            (Ok(one), Ok(other)) if one == other => Ok(()),
            // A file system of its own: it cannot be replaced as a whole.
            _ => Err(CommandFailure::of_file(&dir, &io::Error::from(io::ErrorKind::CrossesDevices))),
        }
    }

    /// Replaces the identity below `home` atomically. Only the owner can read its files. The caller holds the lock, unless
    /// no other process uses `home`.
    ///
    /// # Errors
    /// [`CommandFailure`]; the previous identity is unchanged then.
    pub fn save(&self, home: &Path, kind: IdentityKind) -> Result<(), CommandFailure> {
        let dir = home.join(kind.directory());
        self.write(home, &dir).map_err(|error| CommandFailure::of_file(&dir, &error))
    }

    fn write(&self, home: &Path, dir: &Path) -> io::Result<()> {
        private_dir(home)?;
        settle(dir)?;
        let (fresh, before) = (dir.with_extension("new"), dir.with_extension("old"));
        remove_if_there(&fresh)?;
        private_dir(&fresh)?;
        create(&fresh.join("address"), format!("{}\n", self.address).as_bytes())?;
        create(&fresh.join("key.pem"), self.key_pem.expose().as_bytes())?;
        create(&fresh.join(CERTIFICATE), self.certificate_pem.as_bytes())?;
        create(&fresh.join(AUTHORITY), self.authority_pem.as_bytes())?;
        sync_dir(&fresh)?;
        if dir.exists() && !exchanged(&fresh, dir)? {
            fs::rename(dir, &before)?;
        }
        if !dir.exists() {
            fs::rename(&fresh, dir)?;
        }
        sync_parent(dir)?;
        remove_if_there(&fresh)?;
        remove_if_there(&before)
    }

    /// Stores the broker's new `authorities`, which the present ones have to vouch for. Does nothing while another
    /// process replaces the identity: the next request tries again.
    pub(crate) fn learn(
        home: &Path,
        kind: IdentityKind,
        authorities: &[Vec<u8>],
    ) -> Result<(), CommandFailure> {
        let lock = identity_lock(home)?;
        if lock.try_lock().is_err() {
            return Ok(());
        }
        let mut identity = Self::load(home, kind)?;
        let pins = identity.authority_pins()?;
        let certificate = identity.certificate()?;
        check_authorities(authorities, &pins, certificate.spiffe().trust_domain()).map_err(|error| {
            CommandFailure::new(code::CERTIFICATE_MISMATCH)
                .because(format!("the broker's authorities: {error}"))
        })?;
        Self::check_storable(home, kind)?;
        identity.authority_pem = authorities.iter().map(|der| certificate_pem(der)).collect();
        identity.save(home, kind)
    }

    pub(crate) fn certificate(&self) -> Result<PeerCertificate, CommandFailure> {
        PeerCertificate::parse(&der(&self.certificate_pem)?).map_err(|_| damaged(CERTIFICATE))
    }

    /// Whether there is an identity of `kind` below `home` whose private key is sealed with a passphrase.
    pub(crate) fn has_sealed_key(home: &Path, kind: IdentityKind) -> bool {
        Self::load(home, kind).is_ok_and(|found| matches!(found.sealed_key(), Ok(Some(_))))
    }

    /// The private key, if it is sealed with a passphrase.
    pub(crate) fn sealed_key(&self) -> Result<Option<SealedKey>, CommandFailure> {
        SealedKey::read(self.key_pem.expose())
    }

    /// The file with the key of a renewal in progress.
    pub(crate) fn renewing_key(kind: IdentityKind) -> String {
        format!("{}{RENEWING}", kind.directory())
    }

    /// Removes the key of a renewal in progress: it belongs to an identity, or has a form, that is replaced.
    pub(crate) fn forget_renewal(home: &Path, kind: IdentityKind) -> Result<(), CommandFailure> {
        let renewing = home.join(Self::renewing_key(kind));
        for path in [renewing.with_extension("pem.new"), renewing] {
            remove(&path).map_err(|error| CommandFailure::of_file(&path, &error))?;
        }
        Ok(())
    }

    /// The certificate in DER.
    pub(crate) fn certificate_der(&self) -> Result<Vec<u8>, CommandFailure> {
        der(&self.certificate_pem)
    }

    /// The certificate and its key in clear.
    pub(crate) fn tls(&self) -> Result<tls::TlsIdentity, CommandFailure> {
        Ok(tls::TlsIdentity {
            chain: vec![der(&self.certificate_pem)?],
            key_pem: Sensitive::new(self.key_pem.expose().clone()),
        })
    }

    /// The certificates of the broker's authorities in DER.
    pub(crate) fn authorities(&self) -> Result<Vec<Vec<u8>>, CommandFailure> {
        certificates_from_pem(&self.authority_pem).map_err(|_| damaged(AUTHORITY))
    }

    /// SHA-256 of the public keys of these authorities.
    pub(crate) fn authority_pins(&self) -> Result<Vec<Digest>, CommandFailure> {
        self.authorities()?.iter().map(|der| key_pin(der).map_err(|_| damaged(AUTHORITY))).collect()
    }
}

fn der(pem: &str) -> Result<Vec<u8>, CommandFailure> {
    certificate_from_pem(pem).map_err(|_| damaged(CERTIFICATE))
}

/// Files of an identity.
const CERTIFICATE: &str = "certificate.pem";
const AUTHORITY: &str = "authority.pem";

fn damaged(file: &str) -> CommandFailure {
    let why = format!("the file `{file}` of this identity has no certificate in PEM that can be read");
    CommandFailure::new(code::IDENTITY_DAMAGED).because(why)
}

/// Warns once per process that a newer identity cannot be stored. The verb continues.
pub(crate) fn warn_not_updated(failure: &CommandFailure) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        let console = Console::new(Format::Table);
        console.say(&format!(
            "warning: the new identity cannot be stored; the command uses the present one: {}",
            failure.why()
        ));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn identity(address: &str) -> Identity {
        Identity {
            address: address.to_owned(),
            key_pem: Sensitive::new("key".to_owned()),
            certificate_pem: "certificate".to_owned(),
            authority_pem: "authority".to_owned(),
        }
    }

    #[test]
    fn an_identity_reads_back_and_is_for_its_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        identity("a:1").save(home.path(), IdentityKind::Agent).unwrap();
        identity("b:2").save(home.path(), IdentityKind::Agent).unwrap();
        let read = Identity::load(home.path(), IdentityKind::Agent).unwrap();
        assert_eq!((read.address.as_str(), read.key_pem.expose().as_str()), ("b:2", "key"));
        let dir = home.path().join("agent");
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        for file in fs::read_dir(&dir).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_kill_between_the_two_renames_is_finished_by_the_next_reader() {
        let home = tempfile::tempdir().unwrap();
        identity("old:1").save(home.path(), IdentityKind::Agent).unwrap();
        identity("new:1").save(home.path(), IdentityKind::Operator).unwrap();
        fs::rename(home.path().join("agent"), home.path().join("agent.old")).unwrap();
        fs::rename(home.path().join("operator"), home.path().join("agent.new")).unwrap();
        assert_eq!(Identity::load(home.path(), IdentityKind::Agent).unwrap().address, "new:1");
        assert!(!home.path().join("agent.old").exists());
    }

    #[test]
    fn previous_key_is_removed_when_a_replacement_was_interrupted() {
        let home = tempfile::tempdir().unwrap();
        identity("new:1").save(home.path(), IdentityKind::Operator).unwrap();
        identity("old:1").save(home.path(), IdentityKind::Agent).unwrap();
        let previous = home.path().join("operator.new");
        fs::rename(home.path().join("agent"), &previous).unwrap();
        // When another process holds the lock, then it may be writing the directory
        let lock = identity_lock(home.path()).unwrap();
        lock.lock().unwrap();
        Identity::load(home.path(), IdentityKind::Operator).unwrap();
        assert!(previous.exists());
        drop(lock);
        assert_eq!(Identity::load(home.path(), IdentityKind::Operator).unwrap().address, "new:1");
        assert!(!previous.exists());
    }

    #[test]
    fn a_missing_identity_says_how_to_get_one() {
        let home = tempfile::tempdir().unwrap();
        let failure = Identity::load(home.path(), IdentityKind::Operator).unwrap_err();
        assert_eq!((failure.exit(), failure.code()), (4, "no_identity"));
    }
}
