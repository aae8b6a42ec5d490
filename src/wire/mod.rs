//! The HTTP interface: endpoints, and the types of requests and responses.
//!
//! The broker, the command line, tests and benches share them: a changed field or path is a compile error in each of
//! them. [`SecretText`] is the only type for secret values.

#![expect(
    missing_docs,
    reason = "a field is described where its name does not say it; descriptions go into the OpenAPI documents"
)]

mod agents;
mod approval_context;
mod approval_forms;
mod approval_keys;
mod approvals;
mod declarations;
mod discovery;
mod endpoint;
mod entries_query;
mod entry_object;
mod evidence;
mod explanations;
mod headers;
mod host;
mod host_outputs;
mod identity;
mod incident_effects;
mod incident_records;
mod incident_subject;
mod incidents;
mod keys;
mod leases;
mod ledger;
mod object;
mod operators;
mod outputs;
mod page;
mod plan_approvals;
mod policies;
mod problem;
mod rotations;
mod secret_text;
mod secrets;
mod sensitivity_approvals;
mod simulations;
mod status;
mod subject_report;
mod tokens;
mod value_check;

pub use agents::*;
pub use approval_context::*;
pub use approval_forms::*;
pub use approval_keys::*;
pub use approvals::*;
pub use declarations::*;
pub use discovery::*;
pub use endpoint::*;
pub use entries_query::*;
pub use entry_object::{actor_of, object_of};
pub use evidence::*;
pub use explanations::*;
pub use headers::*;
pub use host::*;
pub use host_outputs::*;
pub use identity::*;
pub use incident_effects::*;
pub use incident_records::*;
pub use incident_subject::*;
pub use incidents::*;
pub use keys::*;
pub use leases::*;
pub use ledger::*;
pub use object::Object;
pub use operators::*;
pub use outputs::*;
pub use page::*;
pub use plan_approvals::*;
pub use policies::*;
pub use problem::*;
pub use rotations::*;
pub use secret_text::SecretText;
pub use secrets::*;
pub use sensitivity_approvals::*;
pub use simulations::*;
pub use status::*;
pub use subject_report::*;
pub use tokens::*;
pub use value_check::*;
