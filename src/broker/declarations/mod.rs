//! What declaration files say, section by section. A new section is a file that implements
//! [`Section`](section::Section) and an element of the list in `sections.rs`.

mod approver_groups;
pub(super) mod export;
mod exported_parameters;
pub(in crate::broker) mod losses;
pub(super) mod missing;
mod policies;
mod policy_parameters;
mod policy_values;
mod present;
mod records;
pub(super) mod schema;
pub(in crate::broker) mod section;
pub(in crate::broker) mod sections;
pub(in crate::broker) mod widened;
pub(in crate::broker) mod widening;
