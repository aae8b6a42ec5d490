//! Rotations of secrets: one file for each use case.

mod adopt;
mod advance;
mod apply;
mod calls;
mod check;
mod context;
mod declare;
mod drift;
mod in_progress;
mod outlook;
mod record_retries;
mod step_error;
mod swap;
mod update;
mod value_form;
mod views;

pub use adopt::{Adopted, Adopting, AdoptionProof};
pub use advance::Progress;
pub(super) use advance::next_of;
pub(super) use declare::RotationSection;
pub(super) use in_progress::in_progress;
pub(super) use outlook::next_rotation;
pub use update::{PreviousVersion, Rotating, RotationUpdate};
pub(super) use value_form::check_form;
pub(super) use views::consumers;
