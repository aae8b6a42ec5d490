//! Declarations, audit, overviews, and the authorisation of operators.

pub(super) mod apply;
pub(super) mod audit;
pub(super) mod authorise;
mod entry_filter;
mod entry_reader;
pub(super) mod entry_reads;
pub(super) mod entry_terms;
mod event_node;
pub(super) mod events;
mod find_entries;
pub(super) mod heavy;
pub(super) mod kept_entries;
pub(super) mod ledger_readers;
mod ledger_readings;
pub(super) mod narrow;
pub(super) mod near_names;
pub(super) mod overview;
pub(super) mod plan;
mod plan_approval;
mod plan_id;
pub(super) mod refusals;
pub(super) mod simulate;
mod unknown_names;
pub(super) mod upload;
mod visible;
pub(super) mod watch;
