//! TLS configurations: 1.3 only, X25519MLKEM768 with every client that offers it, no resumption, our clock.

mod fault;
mod server;
mod server_verifier;

pub use fault::HandshakeFault;
pub use server::{Cause, Gate, ServerConfigs, ServerTls, sealed_server_configs};

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, Error, RootCertStore};

use self::server_verifier::{ChainVerifier, PinnedVerifier};
use crate::base::limits::UPSTREAM_INTERMEDIATES_MAX;
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

/// A certificate, its chain up to the authority, and its private key.
#[derive(Debug)]
pub struct Identity {
    /// Leaf first, DER.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8 in PEM.
    pub key_pem: Sensitive<String>,
}

/// A client's configuration: it trusts `authorities` alone, and shows `identity` when it has one.
///
/// # Errors
/// [`TlsError`].
pub fn client_config(
    authorities: &[Vec<u8>],
    identity: Option<&Identity>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(OurTime(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ChainVerifier::new(authorities, 0)?));
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

/// The configuration for an upstream: it trusts `authorities` alone, looks at the first
/// `UPSTREAM_INTERMEDIATES_MAX` intermediate certificates that the server sends, and shows nothing.
///
/// # Errors
/// [`TlsError`].
pub fn upstream_config(
    authorities: &[Vec<u8>],
    protocols: &[&str],
    clock: Arc<dyn Clock>,
) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(OurTime(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ChainVerifier::new(
            authorities,
            UPSTREAM_INTERMEDIATES_MAX,
        )?))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok(config)
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
        .with_custom_certificate_verifier(Arc::new(PinnedVerifier(pin)))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn roots<A: AsRef<[u8]>>(authorities: &[A]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        let der = CertificateDer::from(authority.as_ref().to_vec());
        roots.add(der).map_err(|_| TlsError::Authority)?;
    }
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
