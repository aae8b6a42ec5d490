//@ error: E0624
//! Only `policy` asserts a grant.
use keyward::policy::{Basis, Grant, Mint};

pub fn forge(decided: Grant<Mint>, basis: Basis, act: Mint) -> Grant<Mint> {
    Grant::assertion(basis, act, Vec::new()) //@ twin: drop((basis, act)); decided
}
