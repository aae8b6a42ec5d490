//! The broker's host: its clock, its disk, its data directory, and the people on it.

pub(super) mod break_glass;
pub(super) mod clock;
pub(super) mod custody;
pub(super) mod host_services;
pub(super) mod kept;
pub(super) mod location;
pub(super) mod orders;
pub(super) mod outdated_keyring;
pub(super) mod readiness;
pub(super) mod rollback;
pub(super) mod rollback_watch;
pub(super) mod settled;
pub(super) mod snapshots;
