use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::entry::Entry;
use super::error::VerifyError;
use super::key::Key;
use crate::base::{LedgerId, Sensitive, Timestamp};
use crate::crypto::{Aad, AeadKey, AeadWiper, CounterKey, Digest, KeyId, derive_key, sealed_by};

/// The generations of the delta key: what is new is sealed under the current one, old ones are kept to read.
#[derive(Debug)]
pub struct DeltaKeys {
    current: u32,
    keys: RwLock<Vec<(u32, Sensitive<[u8; 32]>)>>,
    /// Of every key that was derived of these and is held somewhere.
    derived: Mutex<Vec<AeadWiper>>,
    /// Keys of writer sessions that entries were opened with, the newest last.
    sessions: Mutex<Vec<(Sealing, Arc<AeadKey>)>>,
}

/// What a key is derived from besides the delta key: the generation of that, and a random salt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Sealing {
    pub(super) generation: u32,
    pub(super) salt: [u8; 32],
}

// Keys of sessions and snapshots are derived and never stored: families apart from those of the keyring.
const SESSION_FAMILY: u8 = b'L';
const SNAPSHOT_FAMILY: u8 = b'S';
/// Keys of so many sessions are kept at hand: most ledgers are read by one or two at a time.
const SESSIONS_KEPT: usize = 32;

impl DeltaKeys {
    /// `keys` by generation, of which `current_generation` seals what is new.
    #[must_use]
    pub const fn new(current_generation: u32, keys: Vec<(u32, Sensitive<[u8; 32]>)>) -> Self {
        Self {
            current: current_generation,
            keys: RwLock::new(keys),
            derived: Mutex::new(Vec::new()),
            sessions: Mutex::new(Vec::new()),
        }
    }

    /// Wipes them in place, and every key that was derived of them, whichever thread holds it: nothing is
    /// sealed or opened any more.
    pub(super) fn forget(&self) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.derived.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(AeadWiper::wipe);
    }

    /// The generation that seals what is new.
    pub(super) const fn current(&self) -> u32 {
        self.current
    }

    /// The key of a new snapshot.
    pub(super) const fn sealing(&self, salt: [u8; 32]) -> Sealing {
        Sealing { generation: self.current, salt }
    }

    /// Begins the session of one writer. No two have the same salt, so that no key of a session ever comes again.
    pub(super) fn session(&self, ledger: LedgerId, salt: [u8; 32]) -> Result<WriterSession, VerifyError> {
        let key =
            CounterKey::new(self.derived(&self.sealing(salt), SESSION_FAMILY, "keyward/ledger/session")?);
        Ok(WriterSession { ledger, salt, key })
    }

    /// The key of a snapshot.
    pub(super) fn snapshot_key(&self, sealing: &Sealing) -> Result<AeadKey, VerifyError> {
        self.derived(sealing, SNAPSHOT_FAMILY, "keyward/ledger/snapshot")
    }

    fn derived(&self, sealing: &Sealing, family: u8, purpose: &str) -> Result<AeadKey, VerifyError> {
        let generation = sealing.generation;
        // Held until the key is known to `forget`, which wipes it otherwise.
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.iter().find(|(held, _)| *held == generation);
        let (_, key) = key.ok_or(VerifyError::KeyMissing { generation })?;
        let derived = AeadKey::new(KeyId { family, generation }, &derive_key(key, &sealing.salt, purpose));
        let mut all = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == all.capacity() {
            all.retain(|one| !one.is_over());
        }
        all.push(derived.wiper());
        Ok(derived)
    }

    fn session_key(&self, sealing: &Sealing) -> Result<Arc<AeadKey>, VerifyError> {
        let mut kept = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, key)) = kept.iter().rfind(|(of, _)| of == sealing) {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(self.derived(sealing, SESSION_FAMILY, "keyward/ledger/session")?);
        if kept.len() >= SESSIONS_KEPT {
            kept.remove(0);
        }
        kept.push((*sealing, Arc::clone(&key)));
        Ok(key)
    }

    /// Opens what `entry` has sealed; `None`: something of it was altered, or it is another ledger's.
    pub(super) fn open(&self, ledger: LedgerId, entry: &Entry) -> Result<Option<OpenedEntry>, VerifyError> {
        let Some(generation) = entry.generation() else { return Ok(None) };
        let key = self.session_key(&Sealing { generation, salt: entry.state.session })?;
        Ok(key.open(&bound(ledger, entry), &entry.state.sealed).ok().and_then(OpenedEntry::new))
    }

    /// The generation under which [`WriterSession::vouch`] made `seal` for `mark`, in the session with this salt;
    /// `None` when it did not.
    pub(super) fn vouched(
        &self,
        salt: [u8; 32],
        mark: &Aad,
        seal: &[u8],
    ) -> Result<Option<u32>, VerifyError> {
        let Ok(KeyId { generation, .. }) = sealed_by(seal) else { return Ok(None) };
        let key = self.session_key(&Sealing { generation, salt })?;
        Ok(key.open(mark, seal).is_ok().then_some(generation))
    }
}

/// One writer from its start to its end: seals under a key of its own, which counts what it seals, so that no nonce
/// comes twice, whether or not what was sealed is ever committed.
pub struct WriterSession {
    ledger: LedgerId,
    salt: [u8; 32],
    key: CounterKey,
}

impl WriterSession {
    /// The random salt that names it.
    #[must_use]
    pub const fn salt(&self) -> [u8; 32] {
        self.salt
    }

    /// Whether what was sealed last is nothing, because the keys were wiped.
    pub(super) fn is_forgotten(&self) -> bool {
        self.key.is_forgotten()
    }

    /// Seals the keys that `entry` advances and its state change; everything else of it is known.
    pub(super) fn seal(&self, entry: &Entry, advance: &[Key], delta: &[u8]) -> Vec<u8> {
        let count = u32::try_from(advance.len()).unwrap_or(u32::MAX).to_be_bytes();
        let keys: Vec<u8> = advance.iter().flat_map(|key| *key.as_bytes()).collect();
        self.key.seal(bound(self.ledger, entry), &[&count, &keys, delta])
    }

    /// Seals nothing, bound to `mark`: proof that a writer with the key wrote it.
    pub(super) fn vouch(&self, mark: Aad) -> Vec<u8> {
        self.key.seal(mark, &[])
    }
}

impl fmt::Debug for WriterSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WriterSession")
    }
}

/// Every field of an entry, so that none can be altered unseen; the entry before it, so that none can be taken out or
/// put in; and its place in its group commit.
fn bound(ledger: LedgerId, entry: &Entry) -> Aad {
    let digests = entry.digests();
    Aad::new("keyward/ledger/entry")
        .field(ledger.as_bytes())
        .number(entry.seq)
        .number(entry.batch.first)
        .number(u64::from(entry.batch.is_last))
        .field(&entry.time.ms().to_be_bytes())
        .number(u64::from(entry.kind.0))
        .field(digests.said.as_bytes())
        .field(digests.links.as_bytes())
        .field(entry.chain.previous.as_bytes())
}

/// What a closing mark is bound to: nothing comes after the entry before `next_seq`, whose node is `node`.
pub(super) fn closing(ledger: LedgerId, next_seq: u64, time: Timestamp, node: Digest) -> Aad {
    let mark = Aad::new("keyward/ledger/closing").field(ledger.as_bytes()).number(next_seq);
    mark.field(&time.ms().to_be_bytes()).field(node.as_bytes())
}

const KEY_BYTES: usize = 16;
const COUNT_BYTES: usize = 4;

/// Bytes to be sealed for so many advanced keys and so long a state change.
pub(super) const fn plain_len(keys: usize, delta: usize) -> usize {
    keys.saturating_mul(KEY_BYTES).saturating_add(COUNT_BYTES).saturating_add(delta)
}

/// What an entry has sealed: the keys that it advances, which other writers have to know, and its state change.
#[derive(Debug)]
pub(super) struct OpenedEntry {
    plain: Sensitive<Vec<u8>>,
    delta_from: usize,
}

impl OpenedEntry {
    fn new(plain: Sensitive<Vec<u8>>) -> Option<Self> {
        let count = u32::from_be_bytes(*plain.expose().first_chunk::<COUNT_BYTES>()?);
        let delta_from = plain_len(usize::try_from(count).ok()?, 0);
        (plain.expose().len() >= delta_from).then_some(Self { plain, delta_from })
    }

    pub(super) fn delta(&self) -> &[u8] {
        self.plain.expose().get(self.delta_from..).unwrap_or_default()
    }

    pub(super) fn advanced(&self) -> impl Iterator<Item = Key> {
        let keys = self.plain.expose().get(COUNT_BYTES..self.delta_from).unwrap_or_default();
        keys.as_chunks::<KEY_BYTES>().0.iter().map(|key| Key::from_bytes(*key))
    }
}
