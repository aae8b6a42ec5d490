use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::place::{Batch, IndexTree};
use crate::base::{Entropy, LedgerId, Sensitive, io_reason};
use crate::crypto::{Aad, AeadKey, AeadWiper, CountedKey, KeyId, UnsealError, sealed_by};

/// Why the index does not answer. The ledger still does.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// Its content is damaged.
    #[error("the index is corrupt: {0}")]
    Corrupt(String),
    /// It has stopped after a failure, until it is rebuilt.
    #[error("the index has stopped")]
    Stopped,
    /// Its directory cannot be used.
    #[error("the index directory cannot be used: {0}")]
    Io(String),
    /// Its key has sealed as many records as one key may: it takes nothing until it is built anew, under another.
    #[error("the index key has sealed as many records as one key can")]
    Exhausted,
}

/// The origin of the index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// It existed.
    Existing,
    /// There was none.
    Fresh,
    /// It was sealed under an earlier key, and is built anew under the one that is in use now.
    Resealed,
    /// It was damaged, for this reason, and was moved aside.
    Rebuilt(String),
    /// Not even a fresh one can be made, for this reason, e.g. on a full disk: it has stopped until it is
    /// built anew.
    Absent(IndexError),
}

/// An open sled database, sealed and bound to one ledger.
pub(super) struct Database {
    db: sled::Db,
    /// Seals its records, and no other database's. It is kept in it, wrapped by the index key.
    pub(super) key: CountedKey,
}

/// The keys of the index.
#[derive(Debug)]
pub struct IndexKeys {
    /// Wraps the key of a database.
    pub current: AeadKey,
    /// Say how far an index had come that was sealed before the current one was in use.
    pub earlier: Vec<AeadKey>,
}

impl IndexKeys {
    fn forget(&self) {
        self.current.forget();
        self.earlier.iter().for_each(AeadKey::forget);
    }
}

impl From<AeadKey> for IndexKeys {
    fn from(current: AeadKey) -> Self {
        Self { current, earlier: Vec::new() }
    }
}

/// The state of an existing index.
enum FoundIndex {
    /// The record of its newest entry is missing.
    Unsaid,
    /// It has come this far, and its records open by its key.
    Current(CountedKey, u64),
    /// It had come this far, under an earlier index key, or in the form that had no key of its own.
    Earlier(u64),
}

/// Wraps and unwraps the keys of databases.
pub(super) struct Seal {
    keys: IndexKeys,
    ledger: LedgerId,
    /// Of the keys of all databases that are held somewhere.
    own: Mutex<Vec<AeadWiper>>,
}

/// The id of a database's own key, which the database holds: no family of the keyring has this number.
const OWN: KeyId = KeyId { family: b'I', generation: 1 };
const KEY: &[u8] = b"key";
const META: &[u8] = b"meta";
const ANCHOR: &[u8] = b"anchor";
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
const FLUSH_EVERY_MS: u64 = 500;
const LOCK_TRIES: u32 = 40;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

impl Seal {
    pub(super) const fn new(keys: IndexKeys, ledger: LedgerId) -> Self {
        Self { keys, ledger, own: Mutex::new(Vec::new()) }
    }

    fn bound(&self, place: &[u8]) -> Aad {
        Aad::new("keyward/index").field(self.ledger.as_bytes()).field(place)
    }

    /// A database's own key, which [`Seal::forget`] wipes.
    fn own(&self, key: &Sensitive<[u8; 32]>) -> CountedKey {
        let key = CountedKey::new(AeadKey::new(OWN, key));
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.retain(|one| !one.is_over());
        own.push(key.wiper());
        key
    }

    /// The key of a database that was not begun now.
    fn kept(&self, index_key: &AeadKey, wrapped: &[u8]) -> Result<CountedKey, UnsealError> {
        let plain = index_key.open(&self.bound(KEY), wrapped)?;
        let bytes: &[u8; 32] = plain.expose().as_slice().try_into().map_err(|_| UnsealError::Format)?;
        Ok(self.own(&Sensitive::filled(|to| to.copy_from_slice(bytes))))
    }

    /// Wipes every key in place, whichever thread holds it.
    pub(super) fn forget(&self) {
        self.keys.forget();
        self.own.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(AeadWiper::wipe);
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
        Err(_) => Err(IndexError::Corrupt("the index library failed".to_owned())),
    }
}

/// Runs what writes. Sled has one lock for all databases of a process: a batch that waits for it behind a flush keeps
/// the thread waiting by which the flush would end, and everybody else, for ever. Here they take turns before that.
pub(super) fn written<T>(run: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, IndexError> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    contained(run)
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
            Ok((db, FoundIndex::Current(key, applied))) => Ok((Self { db, key }, applied, Origin::Existing)),
            Ok((db, FoundIndex::Earlier(applied))) => {
                drop(db);
                // A holder of the former key could read all of it: not kept.
                fs::remove_dir_all(dir).map_err(|error| IndexError::Io(io_reason(&error)))?;
                Ok((Self::fresh(dir, seal, entropy)?, applied, Origin::Resealed))
            }
            Ok((db, FoundIndex::Unsaid)) if !existed => {
                Ok((Self::begin(db, seal, entropy)?, 0, Origin::Fresh))
            }
            Ok((db, FoundIndex::Unsaid)) => {
                drop(db);
                Self::anew(dir, seal, entropy, "the record of its newest entry is missing".to_owned())
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
        let (db, _) = Self::attempt(dir, seal)?;
        Self::begin(db, seal, entropy)
    }

    /// An empty database, under a key of its own.
    fn begin(db: sled::Db, seal: &Seal, entropy: &dyn Entropy) -> Result<Self, IndexError> {
        let key = Sensitive::<[u8; 32]>::filled(|key| entropy.fill(key));
        let wrapped = seal.keys.current.seal(&seal.bound(KEY), key.expose(), entropy);
        let database = Self { db, key: seal.own(&key) };
        seal.check()?;
        written(|| database.db.insert(KEY, wrapped))?;
        database.apply(&[Batch { seq: 0, puts: Vec::new() }], seal, entropy)?;
        Ok(database)
    }

    fn attempt(dir: &Path, seal: &Seal) -> Result<(sled::Db, FoundIndex), IndexError> {
        // Sled makes its files as the umask says: the directory keeps others out.
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|error| IndexError::Io(io_reason(&error)))?;
        let db = contained(|| open_patiently(dir))?;
        let Some(meta) = contained(|| db.get(META))? else { return Ok((db, FoundIndex::Unsaid)) };
        let wrapped = contained(|| db.get(KEY))?;
        // One without a key of its own has records that the index key sealed.
        let by = sealed_by(wrapped.as_ref().unwrap_or(&meta)).ok();
        let earlier = seal.keys.earlier.iter().find(|key| Some(key.id()) == by);
        let index_key = earlier.unwrap_or(&seal.keys.current);
        let own = wrapped.map(|wrapped| seal.kept(index_key, &wrapped)).transpose();
        let opened = own.and_then(|own| {
            let meta = match &own {
                Some(own) => own.open(&seal.bound(META), &meta),
                None => index_key.open(&seal.bound(META), &meta),
            };
            Ok((own, meta?))
        });
        let (own, meta) = opened.map_err(|error| {
            IndexError::Corrupt(format!("the record of its newest entry does not open: {error}"))
        })?;
        let (applied, seals) = how_far(meta.expose())
            .ok_or_else(|| IndexError::Corrupt("the record of its newest entry is malformed".to_owned()))?;
        let found = match own {
            Some(own) if earlier.is_none() => {
                own.count_from(seals);
                FoundIndex::Current(own, applied)
            }
            Some(_) | None => FoundIndex::Earlier(applied),
        };
        Ok((db, found))
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
                        let sealed = self.seal(&place, value, seal, entropy)?;
                        all.insert(place, sealed);
                    }
                    None => all.remove(place),
                }
            }
        }
        // With the seal of the record itself.
        let seals = self.key.seals().saturating_add(1);
        let how_far = [last.to_be_bytes(), seals.to_be_bytes()].concat();
        all.insert(META, self.seal(META, &how_far, seal, entropy)?);
        seal.check()?;
        written(|| self.db.apply_batch(all))
    }

    fn seal(
        &self,
        place: &[u8],
        plain: &[u8],
        seal: &Seal,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, IndexError> {
        self.key.seal(&seal.bound(place), plain, entropy).map_err(|_| IndexError::Exhausted)
    }

    pub(super) fn get(
        &self,
        tree: IndexTree,
        key: &[u8],
        seal: &Seal,
    ) -> Result<Option<Sensitive<Vec<u8>>>, IndexError> {
        let place = tree.place(key);
        let Some(sealed) = contained(|| self.db.get(&place))? else { return Ok(None) };
        let opened = self.key.open(&seal.bound(&place), &sealed);
        opened.map(Some).map_err(|error| IndexError::Corrupt(format!("a {} record: {error}", tree.name())))
    }

    /// Keeps `anchor`, which is opaque here, and hands it to the operating system.
    pub(super) fn keep_anchor(
        &self,
        anchor: &[u8],
        seal: &Seal,
        entropy: &dyn Entropy,
    ) -> Result<(), IndexError> {
        let sealed = self.seal(ANCHOR, anchor, seal, entropy)?;
        seal.check()?;
        written(|| self.db.insert(ANCHOR, sealed))?;
        self.flush()
    }

    /// The anchor that was kept last.
    pub(super) fn anchor(&self, seal: &Seal) -> Result<Option<Sensitive<Vec<u8>>>, IndexError> {
        let Some(sealed) = contained(|| self.db.get(ANCHOR))? else { return Ok(None) };
        let opened = self.key.open(&seal.bound(ANCHOR), &sealed);
        opened.map(Some).map_err(|error| IndexError::Corrupt(format!("its anchor: {error}")))
    }

    pub(super) fn flush(&self) -> Result<(), IndexError> {
        written(|| self.db.flush()).map(|_| ())
    }
}

/// The last entry that a database has taken in, and how many records its key had sealed then.
fn how_far(meta: &[u8]) -> Option<(u64, u64)> {
    let (applied, seals) = meta.split_first_chunk::<8>()?;
    let seals = if seals.is_empty() { [0; 8] } else { seals.try_into().ok()? };
    Some((u64::from_be_bytes(*applied), u64::from_be_bytes(seals)))
}

/// Sled locks its files too, and a lock that another process holds for a moment is no damage (see
/// `ledger::lock_file`; the process that opens the index holds the data directory's lock).
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

/// Moves a broken index aside; one is kept for an investigation.
fn move_aside(dir: &Path) -> Result<(), IndexError> {
    let io = |error: std::io::Error| IndexError::Io(io_reason(&error));
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
