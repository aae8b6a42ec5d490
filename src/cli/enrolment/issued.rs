use serde_json::Value;

use crate::base::{Clock, Sensitive, SystemClock, code};
use crate::cli::client::{Client, Received};
use crate::cli::identity::{Identity, PendingKey};
use crate::console::CommandFailure;
use crate::pki::{Requested, certificate_from_pem, certificates_from_pem};
use crate::wire::IdentityAnswer;

/// The identity in the broker's response, after a check that it is the requested one.
pub(super) fn issued(
    answer: &IdentityAnswer,
    requested: &Requested<'_>,
    address: &str,
    pending: &PendingKey,
) -> Result<Identity, CommandFailure> {
    let identity = Identity {
        address: address.to_owned(),
        key_pem: Sensitive::new(pending.key_pem.expose().clone()),
        certificate_pem: answer.certificate.clone(),
        authority_pem: answer.authority.clone(),
    };
    let certificate = certificate_from_pem(&identity.certificate_pem).unwrap_or_default();
    let authorities = certificates_from_pem(&identity.authority_pem).unwrap_or_default();
    let checked = requested.check(&certificate, &authorities, SystemClock::new().now());
    checked.map_err(|error| {
        let why = format!("{error}; the identity on this machine is unchanged");
        CommandFailure::new(code::CERTIFICATE_MISMATCH).because(why)
    })?;
    // TLS has to accept key and certificate: an identity that cannot connect is not stored.
    Client::check(&identity)?;
    Ok(identity)
}

/// The printed part of an issued identity: without certificate and authority, with fields of a newer broker.
pub(super) fn printed<T>(received: &Received<T>) -> Value {
    let mut printed = received.sent.clone();
    if let Value::Object(fields) = &mut printed {
        fields.retain(|field, _| field != "certificate" && field != "authority");
    }
    printed
}
