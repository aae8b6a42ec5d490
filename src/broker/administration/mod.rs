//! Declarations, the audit, overviews, and who may ask for them.

pub(super) mod apply;
pub(super) mod audit;
pub(super) mod authorise;
pub(super) mod heavy;
pub(super) mod narrow;
pub(super) mod overview;
pub(super) mod watch;
