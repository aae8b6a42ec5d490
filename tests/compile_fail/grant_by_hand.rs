//@ error: E0451
//! A grant comes out of a decision and from nowhere else.
use keyward::policy::{Basis, Grant, Mint};

pub fn forge(decided: Grant<Mint>, basis: Basis, act: Mint) -> Grant<Mint> {
    let _ = &basis;
    Grant { basis, act, constrained: Vec::new() } //@ twin: drop(act); decided
}
