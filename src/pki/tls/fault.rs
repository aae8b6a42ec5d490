use std::error::Error as StdError;
use std::io;

use rustls::{CertificateError, Error};

/// Why a TLS handshake with a server failed, in stable terms that do not depend on the TLS library.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HandshakeFault {
    /// The server's own certificate is a CA certificate.
    CaAsServer,
    /// The server's certificate has no subject alternative name.
    NoNames,
    /// The server's certificate is for other names.
    WrongName,
    /// No trusted authority issued the server's certificate.
    UnknownAuthority,
    /// The server's certificate, or one between it and the authority, has expired.
    Expired,
    /// The server's certificate, or one between it and the authority, is not valid yet.
    NotYetValid,
    /// The server's certificate is not for servers.
    WrongPurpose,
    /// A signature does not match.
    BadSignature,
    /// A certificate is of a version or has an algorithm or a critical extension that is not supported.
    Unsupported,
    /// A certificate cannot be read.
    Unreadable,
    /// The server does not speak TLS 1.3.
    Version,
    /// The server ended the handshake with an alert.
    Alert,
    /// The server does not speak TLS at all.
    NoTls,
}

impl HandshakeFault {
    /// Every fault.
    pub const ALL: [Self; 13] = [
        Self::CaAsServer,
        Self::NoNames,
        Self::WrongName,
        Self::UnknownAuthority,
        Self::Expired,
        Self::NotYetValid,
        Self::WrongPurpose,
        Self::BadSignature,
        Self::Unsupported,
        Self::Unreadable,
        Self::Version,
        Self::Alert,
        Self::NoTls,
    ];

    /// The fault in an error of the TLS library, however deep that is wrapped.
    #[must_use]
    pub fn of(error: &(dyn StdError + 'static)) -> Option<Self> {
        library_error(error).map(judged)
    }

    /// Its stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CaAsServer => "ca_used_as_server_certificate",
            Self::NoNames => "no_subject_alternative_name",
            Self::WrongName => "wrong_name",
            Self::UnknownAuthority => "unknown_ca",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongPurpose => "wrong_purpose",
            Self::BadSignature => "bad_signature",
            Self::Unsupported => "unsupported_certificate",
            Self::Unreadable => "unreadable_certificate",
            Self::Version => "tls_version",
            Self::Alert => "tls_alert",
            Self::NoTls => "no_tls",
        }
    }

    /// The fault of this stable name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.as_str() == name)
    }

    /// The problem in a sentence.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::CaAsServer => {
                "the server presents a CA certificate (basicConstraints CA:TRUE) as its own certificate"
            }
            Self::NoNames => {
                "the server's certificate has no subject alternative name; its common name is ignored"
            }
            Self::WrongName => "the server's certificate is for other names than the declared `host`",
            Self::UnknownAuthority => {
                "the server's certificate was not issued by any authority in the declared `ca`"
            }
            Self::Expired => "the server's certificate, or one of its issuers, has expired",
            Self::NotYetValid => "the server's certificate, or one of its issuers, is not valid yet",
            Self::WrongPurpose => "the server's certificate is not for servers (extendedKeyUsage serverAuth)",
            Self::BadSignature => {
                "a signature does not match: an authority in `ca` has the issuer's name and another key"
            }
            Self::Unsupported => {
                "the server's certificate is of an old version, or has an algorithm or a critical extension that \
                 is not supported"
            }
            Self::Unreadable => "the server's certificate cannot be read",
            Self::Version => "the server does not speak TLS 1.3",
            Self::Alert => "the server ended the TLS handshake with an alert",
            Self::NoTls => "the server does not speak TLS",
        }
    }

    /// The fix in a sentence.
    #[must_use]
    pub const fn fix(self) -> &'static str {
        match self {
            Self::CaAsServer => {
                "issue the server a certificate of its own, CA:FALSE and with a subject alternative name, and \
                 declare the issuer's certificate as `ca`"
            }
            Self::NoNames => {
                "issue the server a certificate whose subject alternative name is the declared `host`"
            }
            Self::WrongName => {
                "declare a `host` that the certificate names, or issue a certificate that names the `host`"
            }
            Self::UnknownAuthority | Self::BadSignature => {
                "declare the certificate of the authority that issued the server's certificate as `ca`"
            }
            Self::Expired => "renew the server's certificate; if it is valid, check the clocks",
            Self::NotYetValid => "check the clocks of the server and of the broker",
            Self::WrongPurpose => "issue the server a certificate with extendedKeyUsage serverAuth",
            Self::Unsupported | Self::Unreadable => {
                "issue the server an X.509 v3 certificate with an RSA key of 2048 bits or more, or an ECDSA key"
            }
            Self::Version => "enable TLS 1.3 at the server, e.g. with OpenSSL 1.1.1 or newer",
            Self::Alert => "the server's log has the reason",
            Self::NoTls => {
                "enable TLS at the server (docs/reference/drivers.md shows how), and check `host` and `port`"
            }
        }
    }
}

/// The error of the TLS library in `error`, however deep it is wrapped.
pub(super) fn library_error<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<Error>() {
            return Some(error);
        }
        // The source of an I/O error is the source of the error in it, not that error itself.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inner.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| error.source());
    }
    None
}

/// The names in the server's certificate, if `error` is about a host that is not one of them. The certificate was issued
/// by a trusted authority.
#[must_use]
pub fn certified_names(error: &(dyn StdError + 'static)) -> Option<Vec<String>> {
    let Some(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })) =
        library_error(error)
    else {
        return None;
    };
    // The library writes a name as `DnsName("localhost")`, and an address as `IpAddress(127.0.0.1)`.
    let name = |one: &String| {
        let inner = one.split_once('(').map_or(one.as_str(), |(_, inner)| inner);
        inner.trim_end_matches(')').trim_matches('"').to_owned()
    };
    Some(presented.iter().map(name).collect())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library adds errors; what is not known is the server's log to say"
)]
fn judged(error: &Error) -> HandshakeFault {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::PeerIncompatible(_) => HandshakeFault::Version,
        Error::AlertReceived(rustls::AlertDescription::ProtocolVersion) => HandshakeFault::Version,
        Error::InvalidMessage(_) => HandshakeFault::NoTls,
        Error::NoCertificatesPresented => HandshakeFault::Unreadable,
        _ => HandshakeFault::Alert,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library adds errors: none of the others has a cause of its own"
)]
fn of_certificate(error: &CertificateError) -> HandshakeFault {
    match error {
        CertificateError::UnknownIssuer => HandshakeFault::UnknownAuthority,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => HandshakeFault::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            HandshakeFault::NotYetValid
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            HandshakeFault::NoNames
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            HandshakeFault::WrongName
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            HandshakeFault::WrongPurpose
        }
        CertificateError::BadSignature => HandshakeFault::BadSignature,
        CertificateError::BadEncoding => HandshakeFault::Unreadable,
        CertificateError::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
            Some(webpki::Error::CaUsedAsEndEntity) => HandshakeFault::CaAsServer,
            Some(webpki::Error::EndEntityUsedAsCa) => HandshakeFault::UnknownAuthority,
            _ => HandshakeFault::Unsupported,
        },
        _ => HandshakeFault::Unsupported,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::OtherError;

    use super::*;

    #[test]
    fn a_fault_is_found_however_deep_the_error_is_wrapped() {
        let ca = webpki::Error::CaUsedAsEndEntity;
        let error = Error::from(CertificateError::Other(OtherError(Arc::new(ca))));
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        assert_eq!(HandshakeFault::of(&wrapped), Some(HandshakeFault::CaAsServer));
        assert_eq!(HandshakeFault::of(&io::Error::from(io::ErrorKind::UnexpectedEof)), None);
    }

    #[test]
    fn every_fault_has_a_name_of_its_own() {
        for fault in HandshakeFault::ALL {
            assert_eq!(HandshakeFault::named(fault.as_str()), Some(fault));
        }
    }
}
