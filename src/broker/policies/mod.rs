//! Policies as operators see, try and explain them. `declarations` declares them, and `policy` decides by them.

pub(super) mod case_file;
pub(super) mod cases;
mod change;
pub(super) mod explain;
pub(super) mod recorded_request;
mod trial_world;
pub(super) mod views;
