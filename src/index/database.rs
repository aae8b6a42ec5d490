use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::place::{Batch, Tree};
use crate::base::{Entropy, LedgerId, Sensitive};
use crate::crypto::{Aad, AeadKey, sealed_by};

/// Why the index does not answer. The ledger still does.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// What it holds is not what was put there.
    #[error("the index is corrupt: {0}")]
    Corrupt(String),
    /// It has stopped after a failure, until it is built anew.
    #[error("the index has stopped")]
    Stopped,
    /// Its directory cannot be used.
    #[error("the index directory cannot be used: {0}")]
    Io(String),
}

/// How the index came to be as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// It was there.
    Existing,
    /// There was none.
    Fresh,
    /// It was sealed under an earlier key, and is built anew under the one that is in use now.
    Resealed,
    /// It was broken, for this reason, and has been moved aside.
    Rebuilt(String),
    /// Not even a fresh one can be made, for this reason, e.g. on a full disk: it has stopped until it is
    /// built anew.
    Absent(IndexError),
}

/// An open sled database, sealed and bound to one ledger.
pub(super) struct Database {
    db: sled::Db,
}

/// The keys of the index.
#[derive(Debug)]
pub struct IndexKeys {
    /// Seals and opens.
    pub current: AeadKey,
    /// Say how far an index had come that was sealed before the current one was in use.
    pub earlier: Vec<AeadKey>,
}

impl IndexKeys {
    pub(super) fn forget(&self) {
        self.current.forget();
        self.earlier.iter().for_each(AeadKey::forget);
    }
}

impl From<AeadKey> for IndexKeys {
    fn from(current: AeadKey) -> Self {
        Self { current, earlier: Vec::new() }
    }
}

/// How an index was found.
enum Found {
    /// It has come this far; not at all when it does not say so.
    Current(Option<u64>),
    /// The same, under an earlier key.
    Earlier(u64),
}

/// Seals what goes in and opens what comes out.
pub(super) struct Seal {
    pub(super) keys: IndexKeys,
    pub(super) ledger: LedgerId,
}

const META: &[u8] = b"meta";
const ANCHOR: &[u8] = b"anchor";
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
const FLUSH_EVERY_MS: u64 = 500;
const LOCK_TRIES: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

impl Seal {
    fn bound(&self, place: &[u8]) -> Aad {
        Aad::new("keyward/index").field(self.ledger.as_bytes()).field(place)
    }

    /// Refuses what was sealed last when the keys were wiped before: it would never open.
    pub(super) fn check(&self) -> Result<(), IndexError> {
        if self.keys.current.is_forgotten() { Err(IndexError::Stopped) } else { Ok(()) }
    }
}

/// Runs what may panic inside sled; a panic there means that the files are not what sled wrote.
fn contained<T>(run: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, IndexError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(IndexError::Corrupt(error.to_string())),
        Err(_) => Err(IndexError::Corrupt("the index library gave up".to_owned())),
    }
}

impl Database {
    /// Opens the database in `dir`, moving a broken one aside, and says how far it had come; one that is sealed
    /// under an earlier key is removed, and the position is how far that one had come.
    pub(super) fn open(
        dir: &Path,
        seal: &Seal,
        entropy: &dyn Entropy,
    ) -> Result<(Self, u64, Origin), IndexError> {
        let existed = dir.exists();
        match Self::attempt(dir, seal) {
            Ok((database, Found::Current(Some(applied)))) => Ok((database, applied, Origin::Existing)),
            Ok((database, Found::Earlier(applied))) => {
                drop(database);
                // Whole, and to whoever holds the key of then it is open: not kept.
                fs::remove_dir_all(dir).map_err(|error| IndexError::Io(error.kind().to_string()))?;
                Ok((Self::fresh(dir, seal, entropy)?, applied, Origin::Resealed))
            }
            Ok((database, Found::Current(None))) if !existed => {
                database.apply(&[Batch { seq: 0, puts: Vec::new() }], seal, entropy)?;
                Ok((database, 0, Origin::Fresh))
            }
            Ok((database, Found::Current(None))) => {
                drop(database);
                Self::anew(dir, seal, entropy, "it does not say how far it has come".to_owned())
            }
            Err(error) => Self::anew(dir, seal, entropy, error.to_string()),
        }
    }

    fn anew(
        dir: &Path,
        seal: &Seal,
        entropy: &dyn Entropy,
        why: String,
    ) -> Result<(Self, u64, Origin), IndexError> {
        Ok((Self::replace(dir, seal, entropy)?, 0, Origin::Rebuilt(why)))
    }

    /// An empty database in place of the one in `dir`, which is moved aside.
    pub(super) fn replace(dir: &Path, seal: &Seal, entropy: &dyn Entropy) -> Result<Self, IndexError> {
        move_aside(dir)?;
        Self::fresh(dir, seal, entropy)
    }

    fn fresh(dir: &Path, seal: &Seal, entropy: &dyn Entropy) -> Result<Self, IndexError> {
        let (database, _) = Self::attempt(dir, seal)?;
        database.apply(&[Batch { seq: 0, puts: Vec::new() }], seal, entropy)?;
        Ok(database)
    }

    fn attempt(dir: &Path, seal: &Seal) -> Result<(Self, Found), IndexError> {
        // Sled makes its files as the umask says: the directory keeps others out.
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|error| IndexError::Io(error.kind().to_string()))?;
        let db = contained(|| open_patiently(dir))?;
        let database = Self { db };
        let Some(meta) = contained(|| database.db.get(META))? else {
            return Ok((database, Found::Current(None)));
        };
        let by = sealed_by(&meta).ok();
        let earlier = seal.keys.earlier.iter().find(|key| Some(key.id()) == by);
        let meta = earlier.unwrap_or(&seal.keys.current).open(&seal.bound(META), &meta).map_err(|error| {
            IndexError::Corrupt(format!("its record of how far it has come does not open: {error}"))
        })?;
        let applied = <[u8; 8]>::try_from(meta.expose().as_slice()).map(u64::from_be_bytes);
        let applied = applied.map_err(|_| IndexError::Corrupt("its record has a wrong form".to_owned()))?;
        let found = if earlier.is_some() { Found::Earlier(applied) } else { Found::Current(Some(applied)) };
        Ok((database, found))
    }

    /// Applies `batches`, and how far they go, as one.
    pub(super) fn apply(
        &self,
        batches: &[Batch],
        seal: &Seal,
        entropy: &dyn Entropy,
    ) -> Result<(), IndexError> {
        let mut all = sled::Batch::default();
        let mut last = 0;
        for batch in batches {
            last = last.max(batch.seq);
            for put in &batch.puts {
                let place = put.tree.place(&put.key);
                match &put.value {
                    Some(value) => {
                        let sealed = seal.keys.current.seal(&seal.bound(&place), value, entropy);
                        all.insert(place, sealed);
                    }
                    None => all.remove(place),
                }
            }
        }
        all.insert(META, seal.keys.current.seal(&seal.bound(META), &last.to_be_bytes(), entropy));
        seal.check()?;
        contained(|| self.db.apply_batch(all))
    }

    pub(super) fn get(
        &self,
        tree: Tree,
        key: &[u8],
        seal: &Seal,
    ) -> Result<Option<Sensitive<Vec<u8>>>, IndexError> {
        let place = tree.place(key);
        let Some(sealed) = contained(|| self.db.get(&place))? else { return Ok(None) };
        let opened = seal.keys.current.open(&seal.bound(&place), &sealed);
        opened.map(Some).map_err(|error| IndexError::Corrupt(format!("a {} record: {error}", tree.name())))
    }

    /// Keeps `anchor`, which is opaque here, and hands it to the operating system.
    pub(super) fn keep_anchor(
        &self,
        anchor: &[u8],
        seal: &Seal,
        entropy: &dyn Entropy,
    ) -> Result<(), IndexError> {
        let sealed = seal.keys.current.seal(&seal.bound(ANCHOR), anchor, entropy);
        seal.check()?;
        contained(|| self.db.insert(ANCHOR, sealed))?;
        self.flush()
    }

    /// The anchor that was kept last.
    pub(super) fn anchor(&self, seal: &Seal) -> Result<Option<Sensitive<Vec<u8>>>, IndexError> {
        let Some(sealed) = contained(|| self.db.get(ANCHOR))? else { return Ok(None) };
        let opened = seal.keys.current.open(&seal.bound(ANCHOR), &sealed);
        opened.map(Some).map_err(|error| IndexError::Corrupt(format!("its anchor: {error}")))
    }

    pub(super) fn flush(&self) -> Result<(), IndexError> {
        contained(|| self.db.flush()).map(|_| ())
    }
}

/// Sled locks its files too, and a lock that somebody else holds for a moment is no damage (see
/// `ledger::lock_file`; whoever opens the index has the data directory for itself).
fn open_patiently(dir: &Path) -> Result<sled::Db, sled::Error> {
    let open = || {
        sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_EVERY_MS)).open()
    };
    for _ in 0..LOCK_TRIES {
        match open() {
            Err(sled::Error::Io(error)) if error.to_string().contains("acquire lock") => {
                std::thread::sleep(LOCK_PAUSE);
            }
            opened => return opened,
        }
    }
    open()
}

/// Moves a broken index aside; one is kept for whoever wants to know why.
fn move_aside(dir: &Path) -> Result<(), IndexError> {
    let io = |error: std::io::Error| IndexError::Io(error.kind().to_string());
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".broken");
    let aside: PathBuf = dir.with_file_name(name);
    if aside.is_dir() {
        fs::remove_dir_all(&aside).map_err(io)?;
    } else if aside.exists() {
        fs::remove_file(&aside).map_err(io)?;
    }
    fs::rename(dir, &aside).map_err(io)
}
