use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::parts::{TlsError, provider, roots};
use crate::crypto::Digest;
use crate::pki::client::key_pin;

/// The library's verifier of a server, which looks at no more than the first few intermediate certificates. Among
/// those of a hostile server the search for a path takes seconds, and nothing else runs on its thread meanwhile.
#[derive(Debug)]
pub(super) struct ChainVerifier {
    inner: Arc<WebPkiServerVerifier>,
    intermediates_max: usize,
}

impl ChainVerifier {
    /// Trusts `authorities` (DER). With `intermediates_max` 0 one of them has to have signed the certificate itself.
    pub(super) fn new<A: AsRef<[u8]>>(authorities: &[A], intermediates_max: usize) -> Result<Self, TlsError> {
        let builder = WebPkiServerVerifier::builder_with_provider(roots(authorities)?, provider());
        let inner = builder.build().map_err(|_| TlsError::Authority)?;
        Ok(Self { inner, intermediates_max })
    }
}

impl ServerCertVerifier for ChainVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let first = intermediates.get(..self.intermediates_max).unwrap_or(intermediates);
        self.inner.verify_server_cert(end_entity, first, server_name, ocsp_response, now)
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

/// Trusts the authority whose public key has this digest, once the broker has shown it.
#[derive(Debug)]
pub(super) struct PinnedVerifier(pub(super) Digest);

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned = intermediates.iter().find(|one| key_pin(one).is_ok_and(|pin| pin == self.0));
        let unknown = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let authority = pinned.ok_or_else(unknown)?;
        let verifier = ChainVerifier::new(&[authority], 0).map_err(|_| unknown())?;
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is disabled".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;
    use crate::base::limits::UPSTREAM_INTERMEDIATES_MAX;

    /// A root, and the chain of a server with so many intermediate certificates, the server's first.
    fn chain(intermediates: usize) -> (CertificateDer<'static>, Vec<CertificateDer<'static>>) {
        let authority = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let key = KeyPair::generate().unwrap();
        let root = authority("root").self_signed(&key).unwrap().der().clone();
        let mut issuer = Issuer::new(authority("root"), key);
        let mut chain = Vec::new();
        for i in 0..intermediates {
            let (key, params) = (KeyPair::generate().unwrap(), authority(&i.to_string()));
            chain.insert(0, params.signed_by(&key, &issuer).unwrap().der().clone());
            issuer = Issuer::new(params, key);
        }
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec!["server.test".to_owned()]).unwrap();
        chain.insert(0, server.signed_by(&key, &issuer).unwrap().der().clone());
        (root, chain)
    }

    fn is_believed(intermediates: usize, most: usize) -> bool {
        let (root, chain) = chain(intermediates);
        let verifier = ChainVerifier::new(&[root], most).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        let name = ServerName::try_from("server.test").unwrap();
        verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], now).is_ok()
    }

    #[test]
    fn no_more_intermediate_certificates_are_looked_at_than_the_limit() {
        assert!(is_believed(0, 0) && !is_believed(1, 0), "the broker's: signed by an authority itself");
        let most = UPSTREAM_INTERMEDIATES_MAX;
        assert!(is_believed(most, most) && !is_believed(most + 1, most), "an upstream's");
    }
}
