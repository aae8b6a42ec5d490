//! The keys of the house, wrapped: one root key behind any number of slots, and under it the
//! generations of every key that something is sealed or signed with.
//!
//! This room knows what families of keys there are, not what they are used for. The root key is in
//! memory only while a keyring is opened or written.

mod file;
mod ring;
mod slot;

pub use file::KeyringError;
pub use ring::{Family, Keyring};
pub use slot::SlotKey;
