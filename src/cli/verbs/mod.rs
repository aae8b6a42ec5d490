//! The verbs for a running broker, one file per noun: arguments, request, output.

pub(crate) mod agents;
pub(crate) mod audit;
pub(crate) mod break_glass;
pub(crate) mod capabilities;
pub(crate) mod certificates;
pub(crate) mod clock;
pub(crate) mod declaration;
pub(crate) mod declarations;
pub(crate) mod doctor;
pub(crate) mod evidence;
pub(crate) mod export;
pub(crate) mod get;
pub(crate) mod keys;
pub(crate) mod leases;
pub(crate) mod on_host;
pub(crate) mod operators;
pub(crate) mod rotations;
pub(crate) mod sealing;
pub(crate) mod secrets;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod version;
pub(crate) mod whoami;

mod audit_object;
mod credential_form;
mod kept_token;
mod lease_login;
mod operator_keys;
mod operator_profile;
mod rotation_calendar;
mod rotation_retry;
mod rotation_state;
mod token_show;
mod upstream_checks;
