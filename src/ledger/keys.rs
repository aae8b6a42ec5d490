use std::sync::{Mutex, PoisonError, RwLock};

use super::entry::said;
use super::flaw::VerifyError;
use super::segment::{Frame, Header, Sealing};
use crate::base::{LedgerId, Sensitive};
use crate::crypto::{Aad, AeadKey, AeadWiper, Digest, KeyId, derive_key};

/// The generations of the delta key: new segments take the current one, old ones are kept to read.
#[derive(Debug)]
pub struct DeltaKeys {
    current: u32,
    keys: RwLock<Vec<(u32, Sensitive<[u8; 32]>)>>,
    /// Of every key that was derived of these and is held somewhere.
    derived: Mutex<Vec<AeadWiper>>,
}

impl DeltaKeys {
    /// `keys` by generation, of which `current_generation` seals what is new.
    #[must_use]
    pub const fn new(current_generation: u32, keys: Vec<(u32, Sensitive<[u8; 32]>)>) -> Self {
        Self { current: current_generation, keys: RwLock::new(keys), derived: Mutex::new(Vec::new()) }
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

    /// What a new segment is sealed under.
    pub(super) fn sealing(&self, salt: [u8; 32]) -> Sealing {
        Sealing { generation: self.current, salt }
    }

    fn segment_key(&self, sealing: &Sealing) -> Result<AeadKey, VerifyError> {
        self.derived(sealing, SEGMENT_FAMILY, "keyward/ledger/segment")
    }

    /// What a snapshot is sealed under.
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
}

// Keys of segments and snapshots are derived and never stored: families apart from those of the keyring.
const SEGMENT_FAMILY: u8 = b'L';
const SNAPSHOT_FAMILY: u8 = b'S';

/// The keys that open the state changes of one segment.
#[derive(Debug)]
pub(super) struct SegmentKeys {
    ledger: LedgerId,
    own: AeadKey,
    carried: Option<(u64, AeadKey)>,
}

impl SegmentKeys {
    pub(super) fn new(keys: &DeltaKeys, header: &Header) -> Result<Self, VerifyError> {
        let carried = match &header.carried {
            Some(carried) => Some((carried.through_seq, keys.segment_key(&carried.sealing)?)),
            None => None,
        };
        Ok(Self { ledger: header.ledger, own: keys.segment_key(&header.sealing)?, carried })
    }

    /// Whether what was sealed last is nothing, because the keys were wiped.
    pub(super) fn is_forgotten(&self) -> bool {
        self.own.is_forgotten()
    }

    /// Seals a state change for the entry that `frame` is to hold. `said` is what its salt and event hash to.
    pub(super) fn seal(&self, frame: &Frame<'_>, said: &Digest, delta: &[u8]) -> Vec<u8> {
        self.own.seal_numbered(frame.seq, self.bound(frame, said), &[&0_u32.to_be_bytes(), delta])
    }

    /// Opens what was sealed; `None`: it was altered, moved, or sealed under another key.
    pub(super) fn open(&self, frame: &Frame<'_>) -> Option<Opened> {
        let key = match &self.carried {
            Some((through, key)) if frame.seq <= *through => key,
            Some(_) | None => &self.own,
        };
        Opened::new(
            key.open_numbered(frame.seq, &self.bound(frame, &said(&frame.salt, frame.event)), frame.sealed)
                .ok()?,
        )
    }

    /// Time is bound besides what the leaf says, so that no field of an entry can be altered unseen.
    fn bound(&self, frame: &Frame<'_>, said: &Digest) -> Aad {
        Aad::new("keyward/ledger/delta")
            .field(self.ledger.as_bytes())
            .number(frame.seq)
            .field(&frame.time.ms().to_be_bytes())
            .number(u64::from(frame.kind.0))
            .field(said.as_bytes())
    }
}

const KEY_BYTES: usize = 16;
const COUNT_BYTES: usize = 4;

/// Bytes to be sealed for so long a state change. Before it stood the keys that the entry advances, in
/// ledgers of before: nobody reads them any more, and new entries have none.
pub(super) const fn plain_len(keys: usize, delta_len: usize) -> usize {
    keys.saturating_mul(KEY_BYTES).saturating_add(COUNT_BYTES).saturating_add(delta_len)
}

/// A state change in clear.
#[derive(Debug)]
pub(super) struct Opened {
    plain: Sensitive<Vec<u8>>,
    delta_from: usize,
}

impl Opened {
    fn new(plain: Sensitive<Vec<u8>>) -> Option<Self> {
        let count = u32::from_be_bytes(*plain.expose().first_chunk::<COUNT_BYTES>()?);
        let delta_from = plain_len(usize::try_from(count).ok()?, 0);
        (plain.expose().len() >= delta_from).then_some(Self { plain, delta_from })
    }

    pub(super) fn delta(&self) -> &[u8] {
        self.plain.expose().get(self.delta_from..).unwrap_or_default()
    }
}
