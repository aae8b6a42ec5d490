//! Tests.

#![cfg(test)]
#![expect(clippy::arithmetic_side_effects, reason = "a test that overflows fails, as it should")]

mod ledger_contract;
mod ledger_damage;
mod ledger_faults;
mod support;
