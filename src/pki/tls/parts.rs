use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{Error, RootCertStore};

use crate::base::{Clock, Sensitive};

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
pub struct TlsIdentity {
    /// Leaf first, DER.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8 in PEM.
    pub key_pem: Sensitive<String>,
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

pub(super) fn roots<A: AsRef<[u8]>>(authorities: &[A]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        let der = CertificateDer::from(authority.as_ref().to_vec());
        roots.add(der).map_err(|_| TlsError::Authority)?;
    }
    Ok(Arc::new(roots))
}

pub(super) fn parts(
    identity: &TlsIdentity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = identity.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.expose().as_bytes());
    Ok((chain, key.map_err(|_| TlsError::Key)?))
}

/// The handed-in clock in the TLS library's terms.
#[derive(Debug)]
pub(super) struct TlsClock(pub(super) Arc<dyn Clock>);

impl TimeProvider for TlsClock {
    fn current_time(&self) -> Option<UnixTime> {
        u64::try_from(self.0.now().s()).ok().map(|s| UnixTime::since_unix_epoch(Duration::from_secs(s)))
    }
}
