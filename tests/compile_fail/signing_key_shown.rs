//@ error: E0616
//! A signing key gives its public half and signatures.
use keyward::crypto::EcdsaKey;

pub fn look(key: &EcdsaKey) -> &[u8] {
    let _ = key;
    key.pair.private_key() //@ twin: key.public_point()
}
