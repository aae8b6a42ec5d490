//! TLS configurations: 1.3 only, X25519MLKEM768 preferred, no resumption, our clock.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SignatureScheme,
};

use super::client::key_pin;
use super::peer::PeerCertificate;
use crate::base::{Clock, Sensitive};
use crate::crypto::Digest;

/// Why a TLS configuration could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The TLS library refused it.
    #[error("the TLS configuration was refused: {0}")]
    Library(#[from] Error),
    /// A private key is not PEM.
    #[error("the private key is not a PEM key")]
    Key,
    /// The authority's certificate cannot be trusted as it is.
    #[error("the authority's certificate cannot be used")]
    Authority,
}

/// Who is asked, once the chain is good, whether the holder may still act.
pub trait Gate: Send + Sync + fmt::Debug {
    /// Whether `peer` may connect now.
    fn admits(&self, peer: &PeerCertificate) -> bool;

    /// Whether `peer` may connect although its certificate has ended.
    fn admits_late(&self, _peer: &PeerCertificate) -> bool {
        false
    }
}

/// A certificate, its chain up to the authority, and its private key.
#[derive(Debug)]
pub struct Identity {
    /// Leaf first, DER.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8 in PEM.
    pub key_pem: Sensitive<String>,
}

/// A listener's configuration: it shows `identity`, takes client certificates of `authority` that
/// `gate` admits, and also peers without one, whom the routes judge.
///
/// Resumption is off: a resumed session would pass by the certificate checks, and so by revocation.
///
/// # Errors
/// [`TlsError`].
pub fn server_config(
    identity: &Identity,
    authority: &[u8],
    gate: Arc<dyn Gate>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(authority)?, Arc::clone(&provider))
        .allow_unauthenticated()
        .clear_root_hint_subjects()
        .build()
        .map_err(|_| TlsError::Authority)?;
    let (chain, key) = parts(identity)?;
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(OurTime(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(LiveVerifier { inner: verifier, gate }))
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// A client's configuration: it trusts `authority` alone, and shows `identity` when it has one.
///
/// # Errors
/// [`TlsError`].
pub fn client_config(
    authority: &[u8],
    identity: Option<&Identity>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(OurTime(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots(authority)?);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = parts(identity)?;
            builder.with_client_auth_cert(chain, key)?
        }
    };
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The configuration of a client that knows its broker by nothing but the digest of the authority's
/// public key: the authority must be in the chain that the broker shows, and all else is verified
/// as ever.
///
/// # Errors
/// [`TlsError`].
pub fn pinned_client_config(pin: Digest, clock: Arc<dyn Clock>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(OurTime(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedVerifier { pin, provider: provider() }))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn roots(authority: &[u8]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.to_vec())).map_err(|_| TlsError::Authority)?;
    Ok(Arc::new(roots))
}

fn parts(identity: &Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = identity.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.expose().as_bytes());
    Ok((chain, key.map_err(|_| TlsError::Key)?))
}

/// The handed-in clock in the TLS library's terms.
#[derive(Debug)]
struct OurTime(Arc<dyn Clock>);

impl TimeProvider for OurTime {
    fn current_time(&self) -> Option<UnixTime> {
        u64::try_from(self.0.now().s()).ok().map(|s| UnixTime::since_unix_epoch(Duration::from_secs(s)))
    }
}

/// The library's verifier, and behind it the live records.
#[derive(Debug)]
struct LiveVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    gate: Arc<dyn Gate>,
}

impl ClientCertVerifier for LiveVerifier {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.inner.verify_client_cert(end_entity, intermediates, now) {
            Ok(verified) => {
                let peer = read(end_entity)?;
                // In its very last second it holds for the library and has ended for the records.
                if self.gate.admits(&peer) || self.gate.admits_late(&peer) {
                    return Ok(verified);
                }
                Err(Error::InvalidCertificate(CertificateError::Revoked))
            }
            Err(error) if is_expiry(&error) => {
                // All else about it has to be good, as of its last second.
                let peer = read(end_entity)?;
                let verified =
                    self.inner.verify_client_cert(end_entity, intermediates, last_second(&peer)?)?;
                if self.gate.admits_late(&peer) { Ok(verified) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn read(end_entity: &CertificateDer<'_>) -> Result<PeerCertificate, Error> {
    PeerCertificate::parse(end_entity)
        .map_err(|_| Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
}

fn is_expiry(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })
    )
}

fn last_second(peer: &PeerCertificate) -> Result<UnixTime, Error> {
    let s = u64::try_from(peer.not_after().plus_s(-1).s());
    let s = s.map_err(|_| Error::InvalidCertificate(CertificateError::Expired))?;
    Ok(UnixTime::since_unix_epoch(Duration::from_secs(s)))
}

/// Trusts the authority whose public key has this digest, once the broker has shown it.
#[derive(Debug)]
struct PinnedVerifier {
    pin: Digest,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned = intermediates.iter().find(|one| key_pin(one).is_ok_and(|pin| pin == self.pin));
        let unknown = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let authority = pinned.ok_or_else(unknown)?;
        let roots = roots(authority).map_err(|_| unknown())?;
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider))
            .build()
            .map_err(|_| unknown())?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is off".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
