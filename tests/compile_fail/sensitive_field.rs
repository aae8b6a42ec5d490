//@ error: E0616
//! The one way into a sensitive value has a name that can be searched for.
use keyward::base::Sensitive;

pub fn look(secret: &Sensitive<Vec<u8>>) -> usize {
    secret.0.len() //@ twin: secret.expose().len()
}
