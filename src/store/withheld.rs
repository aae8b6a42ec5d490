use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::limits::DENIALS_UNRECORDED_MAX;
use crate::ledger::Key;

/// The end of a denial that was in force in memory only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Settled {
    /// The entry of this sequence says the same.
    Recorded(u64),
    /// An earlier entry took the same away.
    Done,
    /// It is no longer in force. The entry of this sequence says why.
    Void(u64),
}

/// Which receipts are not delivered: those of changes that relied on a key whose subject was denied before
/// they were durable.
#[derive(Debug, Default)]
pub(super) struct WithheldReceipts {
    any: AtomicBool,
    keys: Mutex<HashMap<Key, Since>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Since {
    /// Denials of the subject that are not recorded.
    open: u32,
    /// The newest entry that recorded one: what came before it is not delivered either.
    recorded: u64,
}

impl WithheldReceipts {
    fn begin_or_end(&self, key: Key, change: impl FnOnce(&mut Since)) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        change(keys.entry(key).or_default());
        self.any.store(true, Ordering::Release);
    }

    /// From here on nothing that relied on `key` is delivered.
    pub(super) fn begin(&self, key: Key) {
        self.begin_or_end(key, |since| since.open = since.open.saturating_add(1));
    }

    /// Entry `seq` recorded it: what comes later has been checked against that entry.
    pub(super) fn end(&self, key: Key, seq: u64) {
        self.begin_or_end(key, |since| {
            since.open = since.open.saturating_sub(1);
            since.recorded = since.recorded.max(seq);
        });
    }

    /// Whether a change that relies on `keys` may be submitted; the key that forbids it.
    pub(super) fn check_before(&self, keys: &[Key]) -> Result<(), Key> {
        self.check(keys, |since| since.open > 0)
    }

    /// Whether the receipt of entry `seq`, which relied on `keys`, is delivered; the key that forbids it.
    pub(super) fn check_after(&self, keys: &[Key], seq: u64) -> Result<(), Key> {
        self.check(keys, |since| since.open > 0 || seq < since.recorded)
    }

    fn check(&self, relied_on: &[Key], forbids: impl Fn(&Since) -> bool) -> Result<(), Key> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(());
        }
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let forbidden = relied_on.iter().find(|key| keys.get(*key).is_some_and(&forbids));
        forbidden.map_or(Ok(()), |key| Err(*key))
    }
}

/// Places for denials that the ledger is asked to take. One without a place is in force all the same, and
/// has to be said again after the next start.
#[derive(Debug, Default)]
pub(super) struct UnrecordedDenials(Arc<AtomicUsize>);

/// One place; given back on drop.
#[derive(Debug)]
pub(super) struct DenialPlace(Arc<AtomicUsize>);

impl UnrecordedDenials {
    pub(super) fn take(&self) -> Option<DenialPlace> {
        let more = |taken: usize| taken.checked_add(1).filter(|taken| *taken <= DENIALS_UNRECORDED_MAX);
        let taken = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.is_ok().then(|| DenialPlace(Arc::clone(&self.0)))
    }
}

impl Drop for DenialPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Key {
        Key::of("test", &[n])
    }

    #[test]
    fn a_receipt_is_withheld_until_the_entry_of_the_denial_is_durable() {
        let withheld = WithheldReceipts::default();
        let both = [key(1), key(2)];
        assert_eq!(withheld.check_after(&both, 7), Ok(()));
        withheld.begin(key(2));
        withheld.begin(key(2));
        assert_eq!(withheld.check_before(&both), Err(key(2)));
        assert_eq!(withheld.check_after(&both, 7), Err(key(2)));
        assert_eq!(withheld.check_after(&[key(1)], 7), Ok(()), "another subject's");
        withheld.end(key(2), 9);
        assert_eq!(withheld.check_after(&both, 12), Err(key(2)), "one is open");
        withheld.end(key(2), 11);
        assert_eq!(withheld.check_before(&both), Ok(()));
        assert_eq!((withheld.check_after(&both, 10), withheld.check_after(&both, 12)), (Err(key(2)), Ok(())));
    }

    #[test]
    fn so_many_denials_wait_for_the_ledger() {
        let unrecorded = UnrecordedDenials::default();
        let places: Vec<_> = (0..DENIALS_UNRECORDED_MAX).map(|_| unrecorded.take().unwrap()).collect();
        assert!(unrecorded.take().is_none());
        drop(places);
        assert!(unrecorded.take().is_some());
    }
}
