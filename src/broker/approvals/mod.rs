//! Requests for approval.

pub(super) mod context;
