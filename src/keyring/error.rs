use std::io;
use std::path::{Path, PathBuf};

use super::passphrase::PassphraseError;
use crate::base::limits::{KEYRING_WRITES_MAX, SHARES_MAX, SLOTS_MAX, THRESHOLD_MIN};
use crate::base::{SlotId, io_reason};

/// Most bytes of a keyring, more than one ever needs.
pub(super) const KEYRING_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why a keyring did not open or was not written.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file that holds a slot's key cannot be used.
    #[error("slot key `{path}`: {why}")]
    SlotFile {
        /// The file.
        path: PathBuf,
        /// The problem.
        why: String,
    },
    /// There is no keyring yet.
    #[error("the keyring `{0}` does not exist")]
    Missing(PathBuf),
    /// There is a keyring already; it is never written over.
    #[error("the keyring `{0}` exists already")]
    Exists(PathBuf),
    /// The key opens none of the slots: another key, or slots that were damaged. The two cannot be told
    /// apart (AES-GCM).
    #[error("the key opens no slot of the keyring")]
    WrongKey,
    /// The file is not what was written.
    #[error("the keyring is altered or damaged: {0}")]
    Altered(&'static str),
    /// The file is of a format that only a later build reads.
    #[error("the keyring has format {0}, which this version of keyward does not read")]
    Newer(u32),
    /// The passphrase is malformed or too weak.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// Shares do not open what they were given for.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The directory for a key file does not exist.
    #[error("the directory `{}` does not exist, and no key file was made", .0.display())]
    NoDirectory(PathBuf),
    /// The machine does not have the memory that a passphrase takes.
    #[error("the process has not enough memory to try a passphrase")]
    Memory,
    /// There is no such slot.
    #[error("the keyring has no slot of this id")]
    NoSuchSlot,
    /// Without its last slot nothing would open the keyring any more.
    #[error("this is the last slot that opens the keyring")]
    LastSlot,
    /// The new key opens the slot already.
    #[error("this key or passphrase opens the slot already")]
    SameKey,
    /// It is at its limit of slots.
    #[error("the keyring has {SLOTS_MAX} slots, its limit")]
    SlotsFull,
    /// Nothing in these slots takes a new root key without their own keys: they are of the first format.
    #[error("the root key cannot be replaced: {} slots have no public key", .0.len())]
    SlotsOutOfReach(Vec<SlotId>),
    /// A key that is asked for is not in the keyring.
    #[error("the keyring holds no key of family {0}")]
    NoSuchKey(u8),
    /// The file was written as often as may be: more writes could have a key seal too many records.
    #[error("the keyring has been written {KEYRING_WRITES_MAX} times, its limit")]
    Exhausted,
    /// With the change the file would be larger than a start reads.
    #[error("the keyring would exceed {KEYRING_BYTES_MAX} bytes, the most that a start reads")]
    TooLarge,
    /// The signature library could not make a key.
    #[error("a key could not be made")]
    Generate,
    /// The file cannot be read or written.
    #[error("the keyring file cannot be used: {}", io_reason(.0))]
    Io(#[from] std::io::Error),
}

impl KeyringError {
    /// The file at `path`, which holds what opens a slot, cannot be written.
    pub(super) fn slot_file(path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::SlotFile { path: path.clone(), why: io_reason(&error) }
    }
}

/// Why shares do not open a slot. Says nothing of what is in them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// So nobody may split a key.
    #[error(
        "a slot has 2 to {SHARES_MAX} shares, and a threshold of at least {THRESHOLD_MIN} and at most the number of its shares"
    )]
    Bounds,
    /// Something else was given, or a part of a share.
    #[error("input number {0} is not a complete share")]
    NoShare(usize),
    /// A letter is not what it was.
    #[error("share number {0} of the input does not match its checksum: it has a typing error")]
    Checksum(usize),
    /// One share stands for one person.
    #[error("share {0} was given twice")]
    Twice(u8),
    /// They were not made together.
    #[error("the shares are of different slots: {0} and {1}")]
    Mixed(SlotId, SlotId),
    /// More are needed.
    #[error("{given} shares were given, but the slot needs {threshold}")]
    TooFew {
        /// The number of given shares.
        given: u8,
        /// The threshold.
        threshold: u8,
    },
    /// They are of another keyring, or the slot was removed or rekeyed.
    #[error("the shares are of slot {0}, which this keyring does not have")]
    OtherSlot(SlotId),
    /// It matches its checksum, but is not a share of the slot: it is forged.
    #[error("share {0} does not belong to this slot")]
    Wrong(u8),
    /// The slot is there and was never proved to open.
    #[error("slot {0} is unconfirmed, and opens nothing")]
    Unconfirmed(SlotId),
    /// There is no slot that these shares would confirm.
    #[error("the shares belong to no unconfirmed slot")]
    NothingWaits,
    /// One slot at a time waits for its shares.
    #[error("slot {0} is unconfirmed already: confirm or remove it first")]
    Waits(SlotId),
}
