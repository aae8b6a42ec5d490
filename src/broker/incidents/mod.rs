//! Incidents: containment of a subject with one entry, and its end.

pub(super) mod contain;
mod freeze;
pub(super) mod lift;
mod on_host;
mod reach;
mod reads;
pub(super) mod resume;
mod subjects;
mod touched;
pub(super) mod views;

pub use contain::{ContainInput, ContainedSubject};
pub use lift::Lifted;
pub use on_host::OrderedContainment;
pub use views::subject_answer;
