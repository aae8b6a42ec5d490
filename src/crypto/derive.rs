use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};

use crate::base::Sensitive;

/// A 256-bit key for `purpose`, derived from `root` and `salt` (HKDF-SHA256, RFC 5869).
///
/// Different purposes or salts give keys that say nothing of each other.
#[must_use]
pub fn derive_key(root: &Sensitive<[u8; 32]>, salt: &[u8], purpose: &str) -> Sensitive<[u8; 32]> {
    Sensitive::filled(|out| {
        let secret = Salt::new(HKDF_SHA256, salt).extract(root.expose());
        let info = [purpose.as_bytes()];
        let derived = secret.expand(&info, Length32).and_then(|okm| okm.fill(out));
        // Both fail only for an output beyond 255 blocks; a key of zeros must never be the answer.
        if derived.is_err() {
            std::process::abort();
        }
    })
}

struct Length32;

impl KeyType for Length32 {
    fn len(&self) -> usize {
        32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purpose_and_salt_separate_keys() {
        let root = Sensitive::new([1; 32]);
        let a = derive_key(&root, b"salt", "a");
        assert_eq!(a.expose(), derive_key(&root, b"salt", "a").expose());
        assert_ne!(a.expose(), derive_key(&root, b"salt", "b").expose());
        assert_ne!(a.expose(), derive_key(&root, b"tlas", "a").expose());
    }
}
