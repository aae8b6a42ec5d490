//! The webhook that tells a service about requests for approval.

pub(super) mod announce;
pub(super) mod announcements;
