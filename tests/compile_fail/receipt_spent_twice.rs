//@ error: E0382
//! A receipt is spent by move.
use keyward::ledger::Receipt;

pub fn twice(receipt: Receipt<String>) -> (String, String) {
    let first = receipt.redeem();
    (first, receipt.redeem()) //@ twin: (first, String::new())
}
