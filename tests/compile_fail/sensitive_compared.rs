//@ error: E0369
//! A sensitive value is compared in constant time, or not at all.
use keyward::base::Sensitive;

pub fn same(a: &Sensitive<Vec<u8>>, b: &Sensitive<Vec<u8>>) -> bool {
    a == b //@ twin: keyward::crypto::matches(a.expose(), b.expose())
}
