//@ error: E0382
//! A decision is spent by move.
use keyward::policy::{Basis, Grant, Mint};

pub fn twice(grant: Grant<Mint>) -> (Basis, Basis) {
    let (first, _) = grant.redeem();
    let (second, _) = grant.redeem(); //@ twin: let second = first.clone();
    (first, second)
}
