//@ error: E0599
//! A decision has no copies.
use keyward::policy::{Grant, Mint};

pub fn copy(grant: Grant<Mint>) -> Grant<Mint> {
    grant.clone() //@ twin: grant
}
