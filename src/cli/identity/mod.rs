//! The certificates and keys of this machine, as they lie in a home directory.

mod pending_key;

pub(crate) use pending_key::PendingKey;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::Sensitive;
use crate::base::code;
use crate::console::{Console, Failure, Format};
use crate::crypto::Digest;
use crate::files::{create, private_dir, sync_dir, sync_parent};
use crate::pki::tls;
use crate::pki::{
    PeerCertificate, SpiffeId, certificate_from_pem, certificate_pem, certificates_from_pem,
    check_authorities, key_pin,
};

/// Which of the identities of this machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IdentityKind {
    /// An agent's, or a resource server's: made by `keyward join`.
    Agent,
    /// An operator's: made by `keyward init`, or by `keyward join`.
    Operator,
}

impl IdentityKind {
    /// The operator's, when that is said.
    pub(crate) const fn named(operator: bool) -> Self {
        if operator { Self::Operator } else { Self::Agent }
    }

    /// The kind of home directory that holds the identity `spiffe`.
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

    const fn how(self) -> &'static str {
        match self {
            Self::Agent => "enrol first: `keyward join`, with a code from `keyward agent invite NAME`",
            Self::Operator => {
                "enrol first: `keyward join`, with a code from `keyward operator invite NAME`; or, on the broker's host, `keyward init --reissue-operator`"
            }
        }
    }
}

/// A certificate and key, and the broker that they are for.
#[derive(Debug)]
pub struct Identity {
    /// Where the broker is, `host:port`.
    pub address: String,
    /// PKCS#8 in PEM.
    pub key_pem: Sensitive<String>,
    /// The certificate in PEM.
    pub certificate_pem: String,
    /// The certificates of the authorities that the broker is known by, in PEM.
    pub authority_pem: String,
}

/// Where identities are kept when nothing else says so.
///
/// # Errors
/// [`Failure`] without a home directory.
pub fn default_home() -> Result<PathBuf, Failure> {
    let base = directory_of("XDG_CONFIG_HOME");
    let home = directory_of("HOME").map(|home| home.join(".config"));
    base.or(home).map(|dir| dir.join("keyward")).ok_or_else(|| {
        Failure::usage(
            "there is no home directory to keep identities in",
            "say where: `--home DIR`, or set KEYWARD_HOME",
        )
    })
}

/// The directory that an environment variable names: an empty one counts as unset (XDG base directories).
pub(crate) fn directory_of(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

impl Identity {
    /// Reads the identity of `kind` below `home`.
    ///
    /// # Errors
    /// [`Failure`] when there is none, or part of it cannot be read.
    pub fn load(home: &Path, kind: IdentityKind) -> Result<Self, Failure> {
        let dir = home.join(kind.directory());
        if Self::existing(home, kind)?.is_none() {
            let why = format!("there is no {} identity in `{}`", kind.directory(), home.display());
            return Err(Failure::new(code::NO_IDENTITY).because(why).mended_by(kind.how()));
        }
        loop {
            let before = Self::generation(&dir)?;
            let identity = Self::read(&dir);
            // A renewal may have put another directory in its place meanwhile: never half of each.
            if Self::generation(&dir)? == before {
                return identity;
            }
        }
    }

    fn read(dir: &Path) -> Result<Self, Failure> {
        let read = |name: &str| {
            fs::read_to_string(dir.join(name)).map_err(|error| Failure::of_file(&dir.join(name), &error))
        };
        Ok(Self {
            address: read("address")?.trim().to_owned(),
            key_pem: Sensitive::new(read("key.pem")?),
            certificate_pem: read("certificate.pem")?,
            authority_pem: read("authority.pem")?,
        })
    }

    /// The directory of the identity of `kind` below `home`, if there is one.
    pub(crate) fn existing(home: &Path, kind: IdentityKind) -> Result<Option<PathBuf>, Failure> {
        let dir = home.join(kind.directory());
        settle(&dir).map_err(|error| Failure::of_file(&dir, &error))?;
        Ok(dir.exists().then_some(dir))
    }

    /// Refuses to store an operator's identity that `init` is about to make below `home`, unless what is there
    /// is the same operator's, under an authority of which `authorities` (digests of public keys) has one.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn check_reissue(home: &Path, operator: &SpiffeId, authorities: &[Digest]) -> Result<(), Failure> {
        let Some(dir) = Self::existing(home, IdentityKind::Operator)? else { return Ok(()) };
        let same = || {
            let found = Self::load(home, IdentityKind::Operator)?;
            let pins = found.authority_pins()?;
            let is_of_broker = pins.iter().any(|pin| authorities.contains(pin));
            Ok::<_, Failure>(found.certificate()?.spiffe() == operator && is_of_broker)
        };
        if same().unwrap_or(false) {
            return Ok(());
        }
        let why = format!("`{}` holds another identity; nothing was changed", dir.display());
        let fix = "keep the new identity elsewhere: `--home DIR`";
        Err(Failure::new(code::IDENTITY_EXISTS).because(why).mended_by(fix))
    }

    /// An inode number can come again; together with its time of change it does not.
    fn generation(dir: &Path) -> Result<(u64, i64, i64), Failure> {
        let generation = |found: fs::Metadata| (found.ino(), found.ctime(), found.ctime_nsec());
        fs::metadata(dir).map(generation).map_err(|error| Failure::of_file(dir, &error))
    }

    /// Refuses when a new identity of `kind` could not be stored below `home`: asked before a certificate is
    /// requested, so that the broker never takes one for the current one that this machine could not keep.
    pub(crate) fn check_storable(home: &Path, kind: IdentityKind) -> Result<(), Failure> {
        use rustix::fs::{Access, access};
        let dir = home.join(kind.directory());
        let tried = access(home, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from);
        tried.map_err(|error| Failure::of_file(home, &error))?;
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev());
        match (device(home), device(&dir)) {
            (Ok(one), Ok(other)) if one == other => Ok(()),
            // A file system of its own: it cannot be replaced as a whole.
            _ => Err(Failure::of_file(&dir, &io::Error::from(io::ErrorKind::CrossesDevices))),
        }
    }

    /// Writes the identity below `home`, in place of the one before: whole or not at all. Files are
    /// for their owner alone.
    ///
    /// # Errors
    /// [`Failure`]; the identity before, if any, is still there then.
    pub fn save(&self, home: &Path, kind: IdentityKind) -> Result<(), Failure> {
        let dir = home.join(kind.directory());
        self.write(home, &dir).map_err(|error| Failure::of_file(&dir, &error))
    }

    fn write(&self, home: &Path, dir: &Path) -> io::Result<()> {
        private_dir(home)?;
        settle(dir)?;
        let (fresh, before) = (dir.with_extension("new"), dir.with_extension("old"));
        remove_if_there(&fresh)?;
        private_dir(&fresh)?;
        create(&fresh.join("address"), format!("{}\n", self.address).as_bytes())?;
        create(&fresh.join("key.pem"), self.key_pem.expose().as_bytes())?;
        create(&fresh.join("certificate.pem"), self.certificate_pem.as_bytes())?;
        create(&fresh.join("authority.pem"), self.authority_pem.as_bytes())?;
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

    /// Keeps what the broker, known by the authorities so far, has shown as its authorities now.
    /// While another process replaces the identity, it is left for the next time.
    pub(crate) fn learn(home: &Path, kind: IdentityKind, authorities: &[Vec<u8>]) -> Result<(), Failure> {
        let lock = identity_lock(home)?;
        if lock.try_lock().is_err() {
            return Ok(());
        }
        let mut identity = Self::load(home, kind)?;
        let pins = identity.authority_pins()?;
        let certificate = identity.certificate()?;
        check_authorities(authorities, &pins, certificate.spiffe().trust_domain()).map_err(|error| {
            Failure::new(code::CERTIFICATE_MISMATCH).because(format!("the broker's authorities: {error}"))
        })?;
        Self::check_storable(home, kind)?;
        identity.authority_pem = authorities.iter().map(|der| certificate_pem(der)).collect();
        identity.save(home, kind)
    }

    /// Its certificate.
    pub(crate) fn certificate(&self) -> Result<PeerCertificate, Failure> {
        PeerCertificate::parse(&der(&self.certificate_pem)?).map_err(|_| damaged())
    }

    /// The identity in TLS's terms.
    pub(crate) fn tls(&self) -> Result<tls::Identity, Failure> {
        Ok(tls::Identity {
            chain: vec![der(&self.certificate_pem)?],
            key_pem: Sensitive::new(self.key_pem.expose().clone()),
        })
    }

    /// The certificates of the authorities that the broker is known by, DER.
    pub(crate) fn authorities(&self) -> Result<Vec<Vec<u8>>, Failure> {
        certificates_from_pem(&self.authority_pem).map_err(|_| damaged())
    }

    /// SHA-256 of the public keys of these authorities.
    pub(crate) fn authority_pins(&self) -> Result<Vec<Digest>, Failure> {
        self.authorities()?.iter().map(|der| key_pin(der).map_err(|_| damaged())).collect()
    }
}

/// Puts `fresh` and `dir` into each other's place in one step, so that readers always find one of
/// them. False on a file system that cannot.
fn exchanged(fresh: &Path, dir: &Path) -> io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, fresh, CWD, dir, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Finishes what a kill interrupted. The old identity is moved away only once the new one is whole:
/// with none in place, the new one is it; with one in place, what lies beside it is left over.
fn settle(dir: &Path) -> io::Result<()> {
    let (fresh, before) = (dir.with_extension("new"), dir.with_extension("old"));
    if !dir.exists() && before.exists() && fresh.exists() {
        fs::rename(&fresh, dir)?;
        sync_parent(dir)?;
    }
    if dir.exists() {
        // On a disk that cannot be written to it stays, and does no harm.
        drop(remove_if_there(&before));
    }
    Ok(())
}

fn remove_if_there(dir: &Path) -> io::Result<()> {
    if dir.exists() { fs::remove_dir_all(dir) } else { Ok(()) }
}

fn der(pem: &str) -> Result<Vec<u8>, Failure> {
    certificate_from_pem(pem).map_err(|_| damaged())
}

pub(crate) fn damaged() -> Failure {
    Failure::new(code::IDENTITY_DAMAGED).because("a certificate of this identity cannot be read")
}

/// Says once in this process that something new could not be stored, and that the verb goes on.
pub(crate) fn warn_not_updated(failure: &Failure) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        let console = Console::new(Format::Table);
        console.say(&format!("warning: this identity is not updated, and used as it is: {}", failure.why()));
    }
}

/// Held while an identity below `home` is replaced by a newer one.
pub(crate) fn identity_lock(home: &Path) -> Result<File, Failure> {
    let path = home.join("renewing.lock");
    let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    opened.map_err(|error| Failure::of_file(&path, &error))
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
    fn a_missing_identity_says_how_to_get_one() {
        let home = tempfile::tempdir().unwrap();
        let failure = Identity::load(home.path(), IdentityKind::Operator).unwrap_err();
        assert_eq!((failure.exit(), failure.code()), (4, "no_identity"));
    }
}
