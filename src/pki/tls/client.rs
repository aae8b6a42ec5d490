use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder};

use super::parts::{TlsClock, TlsError, TlsIdentity, parts, provider};
use super::remote_key::{HandshakeSigner, resolver};
use super::server_verifier::{ChainVerifier, PinnedVerifier};
use crate::base::Clock;
use crate::base::limits::UPSTREAM_INTERMEDIATES_MAX;
use crate::crypto::Digest;

/// A client's configuration: it trusts `authorities` alone, and shows `identity` when it has one.
///
/// # Errors
/// [`TlsError`].
pub fn client_config(
    authorities: &[Vec<u8>],
    identity: Option<&TlsIdentity>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = trusting(authorities, clock)?;
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = parts(identity)?;
            builder.with_client_auth_cert(chain, key)?
        }
    };
    Ok(for_requests(config))
}

/// The same for a client certificate (`chain`, leaf first, DER) whose key `signer` uses.
///
/// # Errors
/// [`TlsError`].
pub fn signed_client_config(
    authorities: &[Vec<u8>],
    chain: &[Vec<u8>],
    signer: Arc<dyn HandshakeSigner>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = trusting(authorities, clock)?;
    Ok(for_requests(builder.with_client_cert_resolver(resolver(chain, signer))))
}

fn trusting(
    authorities: &[Vec<u8>],
    clock: Arc<dyn Clock>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
    Ok(ClientConfig::builder_with_details(provider(), Arc::new(TlsClock(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ChainVerifier::new(authorities, 0)?)))
}

fn for_requests(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
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
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(TlsClock(clock)))
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
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(TlsClock(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedVerifier(pin)))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
