//! Agents, operators and their certificates: enrolment, renewal, revocation.

pub(super) mod approval_key_views;
pub(super) mod approval_keys;
pub(super) mod bootstrap;
pub(super) mod certificates;
pub(super) mod delete;
pub(super) mod enrol;
pub(super) mod enrol_operator;
pub(super) mod facts;
pub(super) mod introducers;
pub(super) mod invite;
pub(super) mod last_use;
pub(super) mod operator_profile;
pub(super) mod operator_uses;
pub(super) mod operator_views;
pub(super) mod operators;
pub(super) mod redemption;
pub(super) mod refused_code;
pub(super) mod relatives;
pub(super) mod renew;
pub(super) mod renew_operator;
pub(super) mod revoke;
pub(super) mod revoke_certificate;
pub(super) mod revoke_code;
pub(super) mod signer;
pub(super) mod standing;
pub(super) mod suspended;
