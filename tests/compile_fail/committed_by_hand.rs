//@ error: E0451
//! Only an engine of the ledger says that an entry is durable.
use keyward::base::Timestamp;
use keyward::ledger::Committed;

pub fn durable(one: Committed, now: Timestamp) -> Committed {
    let _ = now;
    Committed { seq: 1, time: now } //@ twin: one
}
