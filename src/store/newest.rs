use std::sync::atomic::AtomicU64;

/// The newest snapshot.
#[derive(Debug, Default)]
pub(super) struct NewestSnapshot {
    pub(super) through: AtomicU64,
    pub(super) bytes: AtomicU64,
}

impl NewestSnapshot {
    pub(super) fn as_of(through: u64) -> Self {
        Self { through: AtomicU64::new(through), bytes: AtomicU64::new(0) }
    }
}
