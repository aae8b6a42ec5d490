//@ error: E0451
//! What an operator may do is decided, not stated.
use keyward::policy::{Authorised, ContainOperators, PlaceOperators};

pub fn more(held: Authorised<ContainOperators>, due: Authorised<PlaceOperators>) -> Authorised<PlaceOperators> {
    let _ = (&held, &due);
    Authorised { operator: held.operator().clone(), right: std::marker::PhantomData } //@ twin: due
}
