use std::sync::Arc;

use super::check::Finding;
use super::driver::{Answer, Checking, Driver, Fault, Held, Outcome, Prepared, Shape, Verdict};
use super::target::GenerateTarget;
use crate::base::{Entropy, Sensitive, code};
use crate::pki::new_key_and_request;
use crate::secrets::SecretValue;

/// Makes values that nobody upstream has to be told of.
pub(super) struct Generate {
    target: GenerateTarget,
    entropy: Arc<dyn Entropy>,
}

impl Generate {
    pub(super) fn new(target: GenerateTarget, entropy: Arc<dyn Entropy>) -> Self {
        Self { target, entropy }
    }

    pub(super) fn value(&self) -> Result<SecretValue, Fault> {
        let bytes = match self.target.key {
            Some(super::target::KeyKind::P256) => {
                let (key, _) = new_key_and_request().map_err(|_| unmade())?;
                Sensitive::new(key.expose().as_bytes().to_vec())
            }
            None => random_text(self.target.length(), self.target.alphabet().as_bytes(), &*self.entropy),
        };
        SecretValue::new(bytes).map_err(|_| unmade())
    }
}

const fn unmade() -> Fault {
    Fault::new(Outcome::Refused, code::INTERNAL)
}

/// A text of `length` characters of `alphabet`, each as likely as any other: bytes that would favour
/// some are thrown away.
fn random_text(length: usize, alphabet: &[u8], entropy: &dyn Entropy) -> Sensitive<Vec<u8>> {
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

/// A password for a login role.
pub(super) fn random_password(entropy: &dyn Entropy) -> Sensitive<Vec<u8>> {
    random_text(PASSWORD_LENGTH, PASSWORD_ALPHABET, entropy)
}

impl Driver for Generate {
    fn shape(&self) -> Shape {
        Shape::Pulled
    }

    fn prepare<'a>(&'a self, _held: Held<'a>) -> Answer<'a, Prepared> {
        Box::pin(async { Ok(self.value()?.into()) })
    }

    fn apply<'a>(&'a self, _held: Held<'a>) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn verify<'a>(&'a self, _value: &'a SecretValue) -> Answer<'a, Verdict> {
        Box::pin(async { Ok(Verdict::Works) })
    }

    fn check<'a>(&'a self, _held: Held<'a>) -> Checking<'a> {
        Box::pin(async { vec![Finding::good("connection", "there is no upstream to call".to_owned())] })
    }

    fn retire<'a>(&'a self, _held: Held<'a>, _old: &'a SecretValue) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::Target;
    use super::*;
    use crate::base::SystemEntropy;

    fn made(json: &str) -> Vec<u8> {
        let Target::Generate(target) = Target::read(json).unwrap() else { panic!("another driver") };
        Generate::new(target, Arc::new(SystemEntropy)).value().unwrap().expose().to_vec()
    }

    #[test]
    fn a_text_has_its_length_its_characters_and_is_never_the_same() {
        let one = made(r#"{"driver":"generate","length":4096,"alphabet":"abcde"}"#);
        assert_eq!(one.len(), 4096);
        for character in b"abcde" {
            let count = one.iter().filter(|byte| *byte == character).count();
            assert!((600..1050).contains(&count), "{count} of 4096");
        }
        assert_eq!(one.iter().filter(|byte| b"abcde".contains(byte)).count(), 4096);
        assert_ne!(made(r#"{"driver":"generate"}"#), made(r#"{"driver":"generate"}"#));
    }

    #[test]
    fn a_key_is_pkcs8_in_pem() {
        let key = String::from_utf8(made(r#"{"driver":"generate","key":"p-256"}"#)).unwrap();
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"), "{}", &key[..30]);
    }
}
