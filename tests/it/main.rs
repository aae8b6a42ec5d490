//! Tests.

mod ledger_contract;
mod ledger_damage;
mod ledger_faults;
mod support;
