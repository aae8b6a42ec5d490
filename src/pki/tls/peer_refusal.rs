use std::error::Error as StdError;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, Error, OtherError};

use super::fault::library_error;

/// The cause for which the broker refuses a certificate at the handshake although an authority of the broker signed it.
/// Each cause has an alert of its own, so that the client can tell them apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PeerRefusal {
    /// The certificate, its instance or its subject is revoked: `certificate_revoked`.
    Revoked,
    /// The certificate, its instance or its subject is suspended: `access_denied`, which RFC 8446 defines for a valid
    /// certificate whose sender access control does not admit.
    Suspended,
    /// The certificate has expired or is not valid yet: `certificate_expired`.
    OutOfTime,
    /// No subject holds the certificate: `certificate_unknown`.
    Unknown,
    /// The certificate is for another listener: `unsupported_certificate`.
    WrongKind,
    /// The authority that signed the certificate is not trusted any more: `unknown_ca`.
    Authority,
}

impl PeerRefusal {
    /// The cause in the alert that a client received, however deep the library's error is wrapped. `None` without an
    /// alert, and for an alert that names no cause.
    #[must_use]
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other alerts are not about the certificate")]
    pub fn received(error: &(dyn StdError + 'static)) -> Option<Self> {
        let Some(Error::AlertReceived(alert)) = library_error(error) else { return None };
        match alert {
            AlertDescription::CertificateRevoked => Some(Self::Revoked),
            AlertDescription::AccessDenied => Some(Self::Suspended),
            AlertDescription::CertificateExpired => Some(Self::OutOfTime),
            AlertDescription::CertificateUnknown => Some(Self::Unknown),
            AlertDescription::UnsupportedCertificate => Some(Self::WrongKind),
            AlertDescription::UnknownCA => Some(Self::Authority),
            _ => None,
        }
    }
}

/// The library derives the alert from the error.
impl From<PeerRefusal> for Error {
    fn from(cause: PeerRefusal) -> Self {
        Self::InvalidCertificate(match cause {
            PeerRefusal::Revoked => CertificateError::Revoked,
            PeerRefusal::Suspended => CertificateError::ApplicationVerificationFailure,
            PeerRefusal::OutOfTime => CertificateError::Expired,
            PeerRefusal::Unknown => CertificateError::Other(OtherError(Arc::new(NotOnRecord))),
            PeerRefusal::WrongKind => CertificateError::InvalidPurpose,
            PeerRefusal::Authority => CertificateError::UnknownIssuer,
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no agent or operator holds the certificate")]
struct NotOnRecord;

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn client_receives_each_cause_that_the_broker_sends() {
        for cause in [
            PeerRefusal::Revoked,
            PeerRefusal::Suspended,
            PeerRefusal::OutOfTime,
            PeerRefusal::Unknown,
            PeerRefusal::WrongKind,
            PeerRefusal::Authority,
        ] {
            // Given the alert that the library sends for this cause
            let Error::InvalidCertificate(error) = Error::from(cause) else { panic!("{cause:?}") };
            let alert = Error::AlertReceived(AlertDescription::from(error));
            // When a client receives the alert, then it reads the same cause
            let received = io::Error::new(io::ErrorKind::InvalidData, alert);
            assert_eq!(PeerRefusal::received(&received), Some(cause));
        }
        let other = io::Error::other(Error::AlertReceived(AlertDescription::InternalError));
        assert_eq!(PeerRefusal::received(&other), None);
    }
}
