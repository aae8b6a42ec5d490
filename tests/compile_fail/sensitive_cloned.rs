//@ error: E0599
//! A sensitive value has no copies.
use keyward::base::Sensitive;

pub fn copy(secret: Sensitive<Vec<u8>>) -> Sensitive<Vec<u8>> {
    secret.clone() //@ twin: secret
}
