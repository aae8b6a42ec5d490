use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::attempts::WriteAttempts;
use super::history::Head;
use super::tree::Tree;
use crate::telemetry::Latency;

/// The writer's shared state.
#[derive(Debug)]
pub(super) struct LedgerShared {
    published: Mutex<Published>,
    writable: AtomicBool,
    has_reserve: AtomicBool,
    is_read_only: AtomicBool,
    /// `u64::MAX` while it is not known.
    free_bytes: AtomicU64,
    /// Why acknowledged entries are known to be gone.
    lost: watch::Sender<Option<String>>,
    pub(super) attempts: WriteAttempts,
    pub(super) syncs: Latency,
}

#[derive(Debug)]
struct Published {
    head: Head,
    tree: Tree,
}

impl LedgerShared {
    pub(super) fn new(head: Head, tree: Tree) -> Self {
        Self {
            published: Mutex::new(Published { head, tree }),
            writable: AtomicBool::new(true),
            has_reserve: AtomicBool::new(false),
            is_read_only: AtomicBool::new(false),
            free_bytes: AtomicU64::new(u64::MAX),
            lost: watch::Sender::new(None),
            attempts: WriteAttempts::default(),
            syncs: Latency::new(),
        }
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn head(&self) -> Head {
        self.published().head
    }

    pub(super) fn tree(&self) -> Tree {
        self.published().tree.clone()
    }

    /// Shows a new head, once readers find its entries.
    pub(super) fn publish(&self, head: Head, tree: &Tree) {
        let mut published = self.published();
        published.head = head;
        published.tree.clone_from(tree);
    }

    pub(super) fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Acquire)
    }

    /// From now on nothing is acknowledged.
    pub(super) fn retire(&self) {
        self.writable.store(false, Ordering::Release);
    }

    /// Acknowledged entries are gone.
    pub(super) fn entries_are_lost(&self, why: String) {
        self.lost.send_replace(Some(why));
    }

    pub(super) fn lost(&self) -> watch::Receiver<Option<String>> {
        self.lost.subscribe()
    }

    /// Whether probes are written.
    pub(super) fn is_probed(&self) -> bool {
        !self.is_read_only.load(Ordering::Acquire)
    }

    pub(super) fn stop_probing(&self) {
        self.is_read_only.store(true, Ordering::Release);
    }

    pub(super) fn has_reserve(&self) -> bool {
        self.has_reserve.load(Ordering::Acquire)
    }

    pub(super) fn reserve_is(&self, there: bool) {
        self.has_reserve.store(there, Ordering::Release);
    }

    pub(super) fn free_bytes(&self) -> Option<u64> {
        Some(self.free_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes < u64::MAX)
    }

    pub(super) fn free_bytes_are(&self, bytes: Option<u64>) {
        self.free_bytes.store(bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
