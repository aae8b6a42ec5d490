//! Declarations, audit, overviews, and the authorisation of operators.

pub(super) mod apply;
pub(super) mod audit;
pub(super) mod authorise;
pub(super) mod heavy;
pub(super) mod narrow;
pub(super) mod overview;
pub(super) mod watch;
