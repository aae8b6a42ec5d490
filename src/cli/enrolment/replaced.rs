use std::path::Path;

use serde_json::json;

use crate::base::code::{self, Code};
use crate::base::{Clock, SystemClock};
use crate::cli::client::Client;
use crate::cli::ended_keys::said_of_approval_keys;
use crate::cli::identity::{Identity, IdentityKind};
use crate::cli::sealed_key::KeyOpener;
use crate::console::{CommandFailure, Console};
use crate::pki::PeerCertificate;
use crate::wire::{Nothing, Optional, REVOKE_OWN_CERTIFICATE, ReasonBody};

/// The broker refuses the certificate for good.
const REFUSED_ALREADY: [Code; 3] =
    [code::CERTIFICATE_REVOKED, code::CERTIFICATE_UNKNOWN, code::CERTIFICATE_REFUSED];

/// An operator's identity that `join --replace` replaces, while its certificate is valid.
pub(super) struct ReplacedOperator {
    identity: Identity,
    certificate: PeerCertificate,
}

impl ReplacedOperator {
    /// The operator's identity below `home`, if its certificate is valid. An enrolment of the same operator ends the grace
    /// period of expired certificates.
    pub(super) fn find(home: &Path) -> Option<Self> {
        let identity = Identity::load(home, IdentityKind::Operator).ok()?;
        let certificate = identity.certificate().ok()?;
        (SystemClock::new().now() < certificate.not_after()).then_some(Self { identity, certificate })
    }

    /// Revokes the replaced certificate: the connection with its key is the proof that the caller may do this. It does not
    /// fail, because the new identity is stored: it says until when the certificate is valid.
    pub(super) async fn revoke(&self, home: &Path, console: &Console) {
        let (serial, until) = (self.certificate.serial(), self.certificate.not_after());
        let line = match self.revoked(home).await {
            Ok(keys) if console.is_json() => {
                json!({ "revoked_certificate": serial.to_string(), "ended_approval_keys": keys }).to_string()
            }
            Ok(keys) => {
                console.say(&format!("the replaced certificate, serial {serial}, is revoked"));
                if keys.is_empty() {
                    return;
                }
                said_of_approval_keys(&keys)
            }
            Err(failure) if REFUSED_ALREADY.iter().any(|refused| refused.as_str() == failure.code()) => {
                format!("the replaced certificate, serial {serial}, was refused already: {}", failure.why())
            }
            Err(failure) => format!(
                "warning: the replaced certificate, serial {serial}, is valid until {until}: it could not be revoked \
                 ({}: {}); revoke it with `keyward cert revoke {serial}`, or ask an admin",
                failure.code(),
                failure.why()
            ),
        };
        console.say(&line);
    }

    /// The approval keys that ended with the certificate.
    async fn revoked(&self, home: &Path) -> Result<Vec<String>, CommandFailure> {
        // The person may have forgotten the passphrase of the replaced key.
        KeyOpener::use_only_the_agent();
        let client = Client::with(&self.identity, home, IdentityKind::Operator)?;
        let reason = Some("replaced by `keyward join --replace`".to_owned());
        let body = Optional(Some(ReasonBody { reason }));
        let revoked = client.call(REVOKE_OWN_CERTIFICATE, &Nothing, &body).await?;
        Ok(revoked.answer.ended_approval_keys)
    }
}
