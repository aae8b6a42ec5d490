//! Evidence bundles for auditors and responders.

mod collect;
pub(super) mod export;
pub(super) mod proofs;
mod summary;
