//! Incidents: containment of a subject with one entry, and its end; the records of incidents.

mod activity;
mod admins_left;
pub(super) mod contain;
pub(super) mod containing;
mod effects;
mod free_text;
mod freeze;
mod held_credentials;
mod known_values;
mod last_token;
pub(super) mod lift;
mod on_host;
mod pasted_text;
mod reach;
mod reads;
mod recognise;
mod record_recognised;
mod records;
mod refused;
mod report;
pub(super) mod resume;
mod subjects;
mod touched;
mod used_from;
pub(super) mod views;

pub use admins_left::AdminsLeft;
pub use contain::{ContainInput, ContainedSubject};
pub use free_text::TextComparison;
pub use lift::Lifted;
pub use on_host::OrderedContainment;
pub use records::{ClosedIncident, ClosingInput, IncidentInput, NotedIncident, OpenedIncident};
pub use report::WantedReport;
pub(super) use subjects::has_subject;
pub use views::{subject_answer, times_answer};
