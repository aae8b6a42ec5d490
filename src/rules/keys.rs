//! The keys that decisions on this room's records rely on.

use std::sync::LazyLock;

use crate::ledger::Key;

/// All policies and environments. One key, because a policy can concern every decision, and policies change seldom.
#[must_use]
pub fn rules() -> Key {
    static KEY: LazyLock<Key> = LazyLock::new(|| Key::of("rules", b""));
    *KEY
}
