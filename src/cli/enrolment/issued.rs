use serde::{Deserialize, Serialize};

use crate::base::{Clock, Sensitive, SystemClock, code};
use crate::cli::client::Client;
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
    Client::with(&identity)?;
    Ok(identity)
}

/// The printed part of an issued identity: without certificate and authority.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct IssuedIdentity {
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
    pub(crate) spiffe_id: String,
    pub(super) not_after: String,
}

impl From<IdentityAnswer> for IssuedIdentity {
    fn from(answer: IdentityAnswer) -> Self {
        let IdentityAnswer { agent, instance, resource_server, operator, spiffe_id, not_after, .. } = answer;
        Self { agent, instance, resource_server, operator, spiffe_id, not_after }
    }
}
