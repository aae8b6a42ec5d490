//! Evidence bundles for auditors and responders.

mod collect;
pub(super) mod export;
mod incident_facts;
mod of_incident;
pub(super) mod proofs;
mod summary;
