//! The keys of the house, wrapped: one root key behind any number of slots, and under it the
//! generations of every key that something is sealed or signed with.
//!
//! This room knows what families of keys there are and what a generation of one is good for, not what
//! they are used for. The root key is in memory and nowhere else.

mod change;
mod error;
mod file;
mod passphrase;
mod passphrase_key;
mod recipient;
mod ring;
mod root;
mod rotate;
mod share;
mod slot;
mod slot_key;
mod slot_kind;
mod slots;
mod stage;
mod view;

pub use change::{KeyringChange, SEALING, WrittenKeyring};
pub use error::{KeyringError, ShareError};
pub use file::KEYRING_FORMAT;
pub use passphrase::{Passphrase, PassphraseError};
pub use passphrase_key::{PassphraseKey, PassphraseKeyError, PassphraseSealed};
pub use ring::{Family, Keyring};
pub use root::RootId;
pub use rotate::{Replacing, UnreachableSlots};
pub use share::{Share, ShareSplit, Shares};
pub use slot_key::SlotKey;
pub use slot_kind::SlotKind;
pub use slots::DealtShares;
pub use stage::{Generations, KeyStage, StageError, StageSince};
pub use view::{SlotState, SlotView, opening_kinds, slots_of};
