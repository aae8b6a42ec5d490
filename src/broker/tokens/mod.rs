//! Access tokens.

pub(super) mod introspect;
pub(super) mod mint;
pub(super) mod mint_input;
pub(super) mod offers;
