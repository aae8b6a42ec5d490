//! Policies as operators see, try and explain them. `declarations` declares them, and `policy` decides by them.

pub(super) mod case_file;
pub(super) mod cases;
mod change;
pub(super) mod declared_as_of;
pub(super) mod explain;
mod explanation_views;
pub(super) mod recorded_request;
pub(super) mod replay;
pub(super) mod rolled_back;
mod trial_world;
mod version_hash;
pub(super) mod versions;
pub(super) mod views;
