use std::fs;
use std::path::{Path, PathBuf};

use crate::base::{CodeId, Sensitive};
use crate::cli::sealed_key::{KeyOpener, SealedKey};
use crate::console::CommandFailure;
use crate::crypto::Digest;
use crate::files::{private_dir, replace};
use crate::pki::{PublicKey, SpiffeId, new_key_and_request, read_request, request_for_key};

/// The first part of the name of a file with the key of an enrolment in progress.
pub(super) const JOINING: &str = "joining-";
/// A part of the name of a file with the key of a renewal in progress.
pub(super) const RENEWING: &str = "-renewing.pem";

/// The name of the file with the key of the enrolment of `spiffe` by the code `code` below `home`.
pub(crate) fn joining_file(home: &Path, spiffe: &SpiffeId, code: CodeId) -> String {
    let former = format!("{JOINING}{code}.pem");
    // Of a version before names were part of it.
    if home.join(&former).exists() { former } else { format!("{}{code}{PEM}", joining_prefix(spiffe)) }
}

/// Removes the keys of earlier enrolments of `spiffe` by other codes, after an enrolment of it was stored. The caller holds
/// the lock, so none of these is in progress, and a later attempt with such a code makes a new key.
pub(crate) fn remove_other_joining(home: &Path, spiffe: &SpiffeId) -> Result<(), CommandFailure> {
    let prefix = joining_prefix(spiffe);
    let entries = fs::read_dir(home).map_err(|error| CommandFailure::of_file(home, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| CommandFailure::of_file(home, &error))?;
        let name = entry.file_name();
        let code = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(PEM));
        if code.is_some_and(|code| code.parse::<CodeId>().is_ok()) {
            let path = entry.path();
            fs::remove_file(&path).map_err(|error| CommandFailure::of_file(&path, &error))?;
        }
    }
    Ok(())
}

/// What the names of all files with keys of enrolments of `spiffe` start with. A code's id follows, which no name contains.
fn joining_prefix(spiffe: &SpiffeId) -> String {
    let (kind, name) = match spiffe {
        SpiffeId::Agent { name, .. } => ("agent", name.as_str()),
        SpiffeId::ResourceServer { name, .. } => ("resource", name.as_str()),
        SpiffeId::Operator { name, .. } => ("operator", name.as_str()),
    };
    format!("{JOINING}{kind}-{name}-")
}

/// The last part of the name of a file with a key.
const PEM: &str = ".pem";

/// A key whose certificate is requested. It is stored before the first attempt until the certificate is stored: if a
/// response is lost, the next attempt sends the same key and gets the same certificate.
pub(crate) struct PendingKey {
    path: PathBuf,
    /// PKCS#8 in PEM, or sealed.
    pub(crate) key_pem: Sensitive<String>,
    /// The request for its certificate, PKCS#10 in DER.
    pub(crate) request: Vec<u8>,
}

impl PendingKey {
    /// The pending key in the file `name` below `home`, or a new one in clear.
    pub(crate) fn open(home: &Path, name: &str) -> Result<Self, CommandFailure> {
        let path = home.join(name);
        if let Some(key_pem) = stored(&path)? {
            let request = match SealedKey::read(key_pem.expose())? {
                Some(sealed) => sealed.request()?,
                None => request_for_key(&key_pem).map_err(broken)?,
            };
            return Ok(Self { path, key_pem, request });
        }
        private_dir(home).map_err(|error| CommandFailure::of_file(home, &error))?;
        let (key_pem, request) = new_key_and_request().map_err(broken)?;
        keep(&path, &key_pem)?;
        Ok(Self { path, key_pem, request })
    }

    /// The pending key in the file `name` below `home` if `by` opens or seals it, or a new sealed one.
    pub(crate) fn open_sealed(home: &Path, name: &str, by: &KeyOpener) -> Result<Self, CommandFailure> {
        let path = home.join(name);
        private_dir(home).map_err(|error| CommandFailure::of_file(home, &error))?;
        let found = match stored(&path)? {
            None => None,
            Some(key_pem) => match SealedKey::read(key_pem.expose())? {
                Some(sealed) => by.opens(&sealed).then_some(sealed),
                None => by.seal(&key_pem)?,
            },
        };
        let sealed = found.map_or_else(|| by.new_key(), Ok)?;
        let (key_pem, request) = (Sensitive::new(sealed.text()?), sealed.request()?);
        keep(&path, &key_pem)?;
        Ok(Self { path, key_pem, request })
    }

    /// The sealed key that is pending in the file `name` below `home`.
    pub(crate) fn sealed(home: &Path, name: &str) -> Result<Option<SealedKey>, CommandFailure> {
        stored(&home.join(name))?.map_or(Ok(None), |key_pem| SealedKey::read(key_pem.expose()))
    }

    /// Whether `key_pem` is the key that is pending in the file `name` below `home`.
    pub(crate) fn is_key(home: &Path, name: &str, key_pem: &Sensitive<String>) -> bool {
        let pending = fs::read_to_string(home.join(name)).map(Sensitive::new);
        pending.is_ok_and(|pending| pending.expose() == key_pem.expose())
    }

    pub(crate) fn public(&self) -> Result<PublicKey, CommandFailure> {
        read_request(&self.request)
            .map_err(|_| CommandFailure::internal("the certificate request of this program cannot be read"))
    }

    /// Removes the file, after the certificate was stored.
    pub(crate) fn settle(self) -> Result<(), CommandFailure> {
        self.remove()
    }

    /// Removes the file, because the certificate can never arrive.
    pub(crate) fn remove(&self) -> Result<(), CommandFailure> {
        fs::remove_file(&self.path).map_err(|error| CommandFailure::of_file(&self.path, &error))
    }
}

/// The files of pending keys below `home` that have the private key with this public key.
pub(crate) fn files_with_key(home: &Path, public: Digest) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(home) else { return Vec::new() };
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let is_pending = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(JOINING) || name.contains(RENEWING)
    };
    paths.filter(is_pending).filter(|path| public_of(path) == Some(public)).collect()
}

/// The digest of the public key in the file; none of an incomplete file.
fn public_of(path: &Path) -> Option<Digest> {
    let key_pem = stored(path).ok()??;
    if let Some(sealed) = SealedKey::read(key_pem.expose()).ok()? {
        return Some(sealed.public());
    }
    Some(read_request(&request_for_key(&key_pem).ok()?).ok()?.digest())
}

fn stored(path: &Path) -> Result<Option<Sensitive<String>>, CommandFailure> {
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).map_err(|error| CommandFailure::of_file(path, &error))?;
    Ok(Some(Sensitive::new(text)))
}

fn broken<E>(_: E) -> CommandFailure {
    CommandFailure::internal("the private key cannot be made or read")
}

/// Atomically: an incomplete key would make every further attempt fail.
fn keep(path: &Path, key: &Sensitive<String>) -> Result<(), CommandFailure> {
    replace(path, key.expose().as_bytes()).map_err(|error| CommandFailure::of_file(path, &error))
}
