use serde_json::{Map, Value};

use super::declaration::TargetError;
use crate::pki::{certificate_pem, certificates_from_pem, is_certificate};

/// The beginning of a PEM section; its label follows.
const BEGIN: &str = "-----BEGIN ";
/// The label of the only allowed section.
const CERTIFICATE: &str = "CERTIFICATE-----";

/// Refuses a declaration with a PEM section other than a certificate in any field: agents get its `ca`, and a declaration
/// must not contain a private key.
///
/// # Errors
/// [`TargetError`] at the field.
pub(super) fn only_certificates(fields: &Map<String, Value>) -> Result<(), TargetError> {
    for (field, value) in fields {
        if holds_other_section(value) {
            let why = format!(
                "`{field}` holds a PEM section that is not a CERTIFICATE, e.g. a private key: remove it"
            );
            return Err(TargetError::at(field, why));
        }
    }
    let Some(Value::String(ca)) = fields.get("ca") else { return Ok(()) };
    // A text without a section is refused elsewhere.
    let all = certificates_from_pem(ca).unwrap_or_default();
    if all.iter().all(|der| is_certificate(der)) {
        return Ok(());
    }
    let why = "`ca` holds a section CERTIFICATE that is not an X.509 certificate".to_owned();
    Err(TargetError::at("ca", why))
}

fn holds_other_section(value: &Value) -> bool {
    match value {
        Value::String(text) => text.split(BEGIN).skip(1).any(|section| !section.starts_with(CERTIFICATE)),
        Value::Array(items) => items.iter().any(holds_other_section),
        Value::Object(fields) => fields.values().any(holds_other_section),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Only the certificates of `pem`: an older declaration may also contain a private key.
pub(super) fn certificates_of(pem: &str) -> String {
    certificates_from_pem(pem).unwrap_or_default().iter().map(|der| certificate_pem(der)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(upstream: Value) -> Result<(), TargetError> {
        let Value::Object(fields) = upstream else { panic!("no table") };
        only_certificates(&fields)
    }

    /// Of an authority that was made for this test; it never signed anything.
    fn certificate() -> String {
        use crate::base::{Clock, SystemClock, SystemEntropy};
        use crate::crypto::{EcdsaKey, SignatureForm};
        let key = EcdsaKey::from_pkcs8(&EcdsaKey::generate().unwrap(), SignatureForm::Asn1).unwrap();
        let domain = "keyward.test".parse().unwrap();
        let now = SystemClock::new().now();
        certificate_pem(&crate::pki::Authority::found(&domain, &key, now, &SystemEntropy).unwrap())
    }

    #[test]
    fn a_field_takes_certificates_alone() {
        let good = certificate();
        let section = |label: &str| format!("-----BEGIN {label}-----\nCNRY\n-----END {label}-----\n");
        for label in [
            "PRIVATE KEY",
            "RSA PRIVATE KEY",
            "EC PRIVATE KEY",
            "ENCRYPTED PRIVATE KEY",
            "OPENSSH PRIVATE KEY",
            "TRUSTED CERTIFICATE",
            "CERTIFICATE REQUEST",
        ] {
            for text in [
                format!("{good}{}", section(label)),
                format!("{}{good}", section(label)),
                format!("  {}{good}", section(label)),
            ] {
                let error = checked(json!({ "ca": text })).unwrap_err();
                assert_eq!(error.field(), "ca", "{label}");
                assert!(!error.to_string().contains("CNRY"), "{error}");
                assert_eq!(certificates_of(&text), good, "{label}");
            }
        }
        let elsewhere = json!({ "apply": { "headers": [{ "value": section("PRIVATE KEY") }] } });
        assert_eq!(checked(elsewhere).unwrap_err().field(), "apply");
        let forged = json!({ "ca": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" });
        assert!(checked(forged).unwrap_err().to_string().contains("not an X.509"));
        let annotated = format!("Bag Attributes\n    friendlyName: x\n{good}").replace('\n', "\r\n");
        assert!(checked(json!({ "ca": annotated })).is_ok());
        assert_eq!(certificates_of(&annotated), good);
    }
}
