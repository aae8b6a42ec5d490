use super::fault::UpstreamFault;
use crate::base::{Entropy, Sensitive, code};
use crate::secrets::SecretValue;

/// A text of `length` characters of `alphabet`, each as likely as any other: bytes that would favour
/// some are thrown away.
pub(super) fn random_text(length: usize, alphabet: &[u8], entropy: &dyn Entropy) -> Sensitive<Vec<u8>> {
    let fair = 256_usize.checked_rem(alphabet.len()).map_or(0, |rest| 256_usize.saturating_sub(rest));
    let mut text = Vec::with_capacity(length);
    while text.len() < length && fair > 0 {
        let chance = Sensitive::<[u8; 64]>::filled(|bytes| entropy.fill(bytes));
        let fairly = chance.expose().iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < fair);
        let characters = fairly.filter_map(|byte| alphabet.get(byte.checked_rem(alphabet.len())?).copied());
        text.extend(characters.take(length.saturating_sub(text.len())));
    }
    Sensitive::new(text)
}

/// Characters of a password that is made here: some 190 bits.
const PASSWORD_LENGTH: usize = 32;
const PASSWORD_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A password for a login.
pub(super) fn random_password(entropy: &dyn Entropy) -> Result<SecretValue, UpstreamFault> {
    let password = random_text(PASSWORD_LENGTH, PASSWORD_ALPHABET, entropy);
    SecretValue::new(password).map_err(|_| UpstreamFault::refused(code::INTERNAL))
}
