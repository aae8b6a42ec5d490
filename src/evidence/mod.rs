//! Evidence bundles: entries of the ledger with proofs, which verify on another machine without a broker and without
//! secret keys.
//!
//! A bundle is a ZIP archive of one form. Its manifest is signed by the checkpoint key and holds the hash of every other
//! file. An entry is proved to be in the ledger by its inclusion proof (RFC 9162 §2.1.3) against the signed checkpoint.
//! Entries about an agent or operator link to the entry before that concerns the same subject, so that a bundle about
//! one also proves that no entry of its time is missing.

mod archive;
mod events;
mod manifest;
mod record;
mod render;
mod scope;
#[cfg(test)]
mod tests;
mod timeline;
mod verify;
mod votes;

pub use archive::ArchiveError;
pub use events::EvidenceExported;
pub use manifest::{BundleParts, Takeover, bundle};
pub use record::{EntryPlace, EvidenceRecord};
pub use scope::{EvidenceScope, EvidenceSubject};
pub use timeline::{Timeline, TimelineRow};
pub use verify::{EvidenceError, VerifiedEvidence, VerifiedSubject, claimed_checkpoint, verify};
pub use votes::{
    APPROVAL_APPROVED, APPROVAL_KEY_ACCEPTED, APPROVAL_KEYS_REMOVED, DECLARATIONS_APPLIED,
    SENSITIVITY_LOWERED, Signatures, key_entry_of,
};
