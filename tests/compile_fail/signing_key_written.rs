//@ error: E0599
//! A signing key cannot be written down again.
use keyward::crypto::EcdsaKey;

pub fn write(key: &EcdsaKey) -> Vec<u8> {
    key.to_pkcs8v1().unwrap() //@ twin: key.public_der().unwrap()
}
