//! One binary for all tests that see Keyward from the outside: real components, no sleeps, loopback
//! only.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on fails"
)]

mod first_path;
mod ledger_contract;
mod ledger_damage;
mod ledger_faults;
mod support;
