//! The verbs that work on a broker from the outside, a file a noun.

pub(in crate::cli) mod agents;
pub(in crate::cli) mod break_glass;
pub(in crate::cli) mod clock;
pub(in crate::cli) mod credential_form;
pub(in crate::cli) mod doctor;
pub(in crate::cli) mod keys;
pub(in crate::cli) mod lease_args;
pub(in crate::cli) mod leases;
pub(in crate::cli) mod operators;
pub(in crate::cli) mod rotations;
pub(in crate::cli) mod run;
pub(in crate::cli) mod sealing;
pub(in crate::cli) mod secrets;
pub(in crate::cli) mod token;
