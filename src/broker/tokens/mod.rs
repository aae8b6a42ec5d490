//! Access tokens.

pub(super) mod introspect;
pub(super) mod mint;
