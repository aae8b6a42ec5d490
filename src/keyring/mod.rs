//! The keys of the house, wrapped: one root key behind any number of slots, and under it the
//! generations of every key that something is sealed or signed with.
//!
//! This room knows what families of keys there are and what a generation of one is good for, not what
//! they are used for. The root key is in memory and nowhere else.

mod file;
mod ring;
mod slot;
mod stage;

pub use file::KeyringError;
pub use ring::{Family, Keyring};
pub use slot::SlotKey;
pub use stage::{Generations, Stage, StageError, Standing};
