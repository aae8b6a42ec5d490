//! A state of tests of the store: what can be denied, and a change that breaks in the middle.

use std::path::Path;
use std::sync::Arc;

use keyward::base::{SystemClock, SystemEntropy, Timestamp};
use keyward::keyring::{Keyring, SlotKey};
use keyward::ledger::{Build, Key};
use keyward::store::{At, LedgerPlace, OnLostEntries, Projection, StoreOptions, StoredState};

/// Two numbers that are always the same, and one thing that can be denied.
#[derive(Debug, Default, serde::Deserialize, serde::Serialize)]
pub(crate) struct TestState {
    pub(crate) first: u64,
    pub(crate) second: u64,
    /// The newest entry with an effect.
    pub(crate) applied: u64,
    pub(crate) is_denied: bool,
    /// The newest entry with an effect when the denial was lifted.
    pub(crate) lifted_at: Option<u64>,
}

#[derive(serde::Deserialize, serde::Serialize)]
pub(crate) enum TestEffect {
    /// Ends the thing.
    End,
    /// Advances [`key`].
    Advance,
    /// Sets the first number, and panics before it sets the second.
    Break(u64),
}

/// What [`TestEffect::Advance`] advances.
pub(crate) fn key() -> Key {
    Key::of("test", b"")
}

impl StoredState for TestState {
    type Denial = ();
    type Effect = TestEffect;

    fn apply(&mut self, at: At, effect: &TestEffect) {
        self.applied = at.seq;
        if let TestEffect::Break(number) = effect {
            self.first = *number;
            assert_eq!(self.first, 0, "on purpose");
            self.second = *number;
        }
    }

    fn advances(effect: &TestEffect, keys: &mut Vec<Key>) {
        keys.extend(matches!(effect, TestEffect::Advance).then(key));
    }

    fn takes_away(effect: &TestEffect) -> bool {
        matches!(effect, TestEffect::End)
    }

    fn project(_: &TestEffect, _: &mut Projection) {}

    fn deny(&mut self, (): &()) {
        self.is_denied = true;
    }

    fn deny_again(&mut self) {}

    fn recorded(&mut self, (): &()) {
        self.is_denied = false;
    }

    fn lift(&mut self, (): &()) {
        (self.is_denied, self.lifted_at) = (false, Some(self.applied));
    }

    fn withheld_by((): &()) -> Vec<Key> {
        Vec::new()
    }
}

/// A new keyring, and options for a store beside it.
pub(crate) fn new_store(directory: &Path) -> (Keyring, StoreOptions) {
    let slot = SlotKey::create_file(&directory.join("k"), &SystemEntropy).unwrap();
    let (path, now) = (directory.join("keyring"), Timestamp::from_s(1));
    let ring = Keyring::create(&path, std::slice::from_ref(&slot), now, &SystemEntropy).unwrap();
    let options = StoreOptions {
        data_dir: directory.to_owned(),
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SystemEntropy),
        segment_bytes: 1 << 20,
        build: Build::Executable,
        place: LedgerPlace::Files,
        on_lost_entries: OnLostEntries::Refuse,
    };
    (ring, options)
}
