//! Generated values without an upstream.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use super::declaration::{Fields, TargetError, refuse};
use super::driver::{
    Capabilities, Checking, Driver, DriverContext, DriverFuture, Prepared, RotationCall, SlotCount,
};
use super::driver_kind::{DriverKind, RotationKind};
use super::fault::UpstreamFault;
use super::finding::{Finding, Verdict};
use super::random::random_text;
use crate::base::{Entropy, SecretName, Sensitive, code};
use crate::pki::new_key_and_request;
use crate::secrets::SecretValue;

pub(super) const KIND: DriverKind = DriverKind {
    rotation: Some(RotationKind { driver: "generate", read, fields }),
    leases: None,
    outspoken: &[],
};

fn fields(generator: &mut SchemaGenerator) -> Vec<Schema> {
    vec![GeneratedValue::json_schema(generator)]
}

fn read(fields: Fields) -> Result<Box<dyn Driver>, TargetError> {
    let value: GeneratedValue = fields.read()?;
    value.check()?;
    Ok(Box::new(Generate(value)))
}

/// The declaration of a generated value.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct GeneratedValue {
    /// A text of this many characters.
    length: Option<usize>,
    /// The characters; letters and digits by default.
    alphabet: Option<String>,
    /// A key pair (PKCS#8 in PEM) instead of a text.
    key: Option<KeyKind>,
}

/// Kinds of key pairs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
enum KeyKind {
    /// ECDSA on P-256.
    #[serde(rename = "p-256")]
    P256,
}

/// Shortest generated value, in characters.
const LENGTH_MIN: usize = 8;
/// Longest.
const LENGTH_MAX: usize = 4096;
/// Minimum entropy of a generated value, in bits.
const BITS_MIN: f64 = 64.0;
impl GeneratedValue {
    pub(super) fn check(&self) -> Result<(), TargetError> {
        if self.key.is_some() {
            return match (self.length, &self.alphabet) {
                (None, None) => Ok(()),
                _ => refuse("`key` contradicts `length` and `alphabet`: leave those out"),
            };
        }
        let length = self.length();
        if !(LENGTH_MIN..=LENGTH_MAX).contains(&length) {
            return refuse("`length` must be 8 to 4096");
        }
        let alphabet = self.alphabet().as_bytes();
        if !alphabet.iter().all(|byte| byte.is_ascii_graphic()) {
            return refuse("`alphabet` must be visible ASCII characters");
        }
        let mut distinct = alphabet.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() != alphabet.len() {
            return refuse("`alphabet` has a character twice, which would be more frequent than the others");
        }
        #[expect(clippy::cast_precision_loss, reason = "both are below 5000")]
        let bits = (alphabet.len() as f64).log2() * length as f64;
        if bits < BITS_MIN {
            refuse("the value could be guessed: make `length` or `alphabet` larger")
        } else {
            Ok(())
        }
    }

    fn length(&self) -> usize {
        self.length.unwrap_or(32)
    }

    fn alphabet(&self) -> &str {
        self.alphabet.as_deref().unwrap_or("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
    }

    pub(super) fn generate(&self, entropy: &dyn Entropy) -> Result<SecretValue, UpstreamFault> {
        let failed = || UpstreamFault::refused(code::INTERNAL);
        let bytes = match self.key {
            Some(KeyKind::P256) => {
                let (key, _) = new_key_and_request().map_err(|_| failed())?;
                Sensitive::new(key.expose().as_bytes().to_vec())
            }
            None => random_text(self.length(), self.alphabet().as_bytes(), entropy),
        };
        SecretValue::new(bytes).map_err(|_| failed())
    }
}

/// The description of a rotation whose values no upstream has.
pub const WITHOUT_UPSTREAM: &str = "generate";

/// Generates values without an upstream.
#[derive(Debug)]
struct Generate(GeneratedValue);

impl Driver for Generate {
    fn describe(&self) -> String {
        WITHOUT_UPSTREAM.to_owned()
    }

    fn place(&self) -> Option<String> {
        None
    }

    fn admin_secret(&self) -> Option<&SecretName> {
        None
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            shape: SlotCount::Pulled,
            creates: false,
            retires_by_slot: false,
            needs_current: false,
        }
    }

    fn prepare<'a>(&'a self, call: RotationCall<'a>) -> DriverFuture<'a, Prepared> {
        Box::pin(async move { Ok(self.0.generate(&*call.with.entropy)?.into()) })
    }

    fn apply<'a>(&'a self, _call: RotationCall<'a>) -> DriverFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn verify<'a>(&'a self, _with: &'a DriverContext, _value: &'a SecretValue) -> DriverFuture<'a, Verdict> {
        Box::pin(async { Ok(Verdict::Works) })
    }

    fn check<'a>(&'a self, _call: RotationCall<'a>) -> Checking<'a> {
        Box::pin(async {
            vec![Finding::good("connection", "the driver `generate` calls no upstream".to_owned())]
        })
    }

    fn retire<'a>(&'a self, _call: RotationCall<'a>, _old: &'a SecretValue) -> DriverFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::declaration::fields;
    use super::*;
    use crate::base::SystemEntropy;

    fn refused(json: &str, says: &str) {
        let error = read(fields(json)).err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
        assert!(!error.contains("CNRY"), "{error}");
    }

    #[test]
    fn a_wrong_declaration_is_refused_without_its_values() {
        refused(r#"{"driver":"generate","length":"CNRY"}"#, "invalid type");
        refused(r#"{"driver":"generate","long":1}"#, "unknown field");
        refused(r#"{"driver":"generate","length":7}"#, "`length`");
        refused(r#"{"driver":"generate","length":4097}"#, "`length`");
        refused(r#"{"driver":"generate","length":20,"alphabet":"aab"}"#, "twice");
        refused(r#"{"driver":"generate","length":20,"alphabet":"ab"}"#, "guessed");
        refused(r#"{"driver":"generate","length":20,"alphabet":"äöü"}"#, "ASCII");
        refused(r#"{"driver":"generate","length":20,"key":"p-256"}"#, "contradicts");
    }

    #[test]
    fn nothing_upstream_holds_a_generated_value() {
        assert_eq!(read(fields(r#"{"driver":"generate"}"#)).unwrap().capabilities().shape, SlotCount::Pulled);
    }

    fn generated(json: &str) -> Vec<u8> {
        let value: GeneratedValue = serde_json::from_str(json).unwrap();
        value.generate(&SystemEntropy).unwrap().expose().to_vec()
    }

    #[test]
    fn a_text_has_its_length_its_characters_and_is_never_the_same() {
        let one = generated(r#"{"length":4096,"alphabet":"abcde"}"#);
        assert_eq!(one.len(), 4096);
        for character in b"abcde" {
            let count = one.iter().filter(|byte| *byte == character).count();
            assert!((600..1050).contains(&count), "{count} of 4096");
        }
        assert_eq!(one.iter().filter(|byte| b"abcde".contains(byte)).count(), 4096);
        assert_ne!(generated("{}"), generated("{}"));
    }

    #[test]
    fn a_key_is_pkcs8_in_pem() {
        let key = String::from_utf8(generated(r#"{"key":"p-256"}"#)).unwrap();
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"), "{}", &key[..30]);
    }
}
