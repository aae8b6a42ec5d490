use std::fmt;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};

/// Signs handshakes with a P-256 key that the TLS library does not hold.
pub trait HandshakeSigner: Send + Sync + fmt::Debug {
    /// The signature of `message` (ECDSA, SHA-256, DER), or `None` if the key cannot be used now.
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>>;
}

/// The beginning of every message that a TLS 1.3 client signs (RFC 8446 §4.4.3): 64 spaces, the context, a zero.
const CONTEXT: &[u8] = b"TLS 1.3, client CertificateVerify\0";
const SPACES: usize = 64;
/// The lengths of the hashes of the cipher suites of TLS 1.3: SHA-256 and SHA-384.
const HASHES: [usize; 2] = [32, 48];

/// Whether `message` is what the client of a TLS 1.3 handshake signs.
#[must_use]
pub fn is_client_handshake(message: &[u8]) -> bool {
    let Some((spaces, rest)) = message.split_at_checked(SPACES) else { return false };
    let hash = rest.strip_prefix(CONTEXT);
    spaces.iter().all(|byte| *byte == b' ') && hash.is_some_and(|hash| HASHES.contains(&hash.len()))
}

/// The client certificate `chain` (leaf first, DER), whose key `signer` uses.
pub(super) fn resolver(chain: &[Vec<u8>], signer: Arc<dyn HandshakeSigner>) -> Arc<dyn ResolvesClientCert> {
    let chain = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, Arc::new(RemoteKey(signer)))))
}

#[derive(Clone, Debug)]
struct RemoteKey(Arc<dyn HandshakeSigner>);

const SCHEME: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;

impl SigningKey for RemoteKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SCHEME).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for RemoteKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.sign(message).ok_or_else(|| Error::General("the private key cannot be used now".into()))
    }

    fn scheme(&self) -> SignatureScheme {
        SCHEME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_message_of_a_client_handshake_is_recognised() {
        let message = |context: &[u8], hash: usize| [&[b' '; 64], context, &vec![7; hash]].concat();
        assert!(is_client_handshake(&message(CONTEXT, 32)) && is_client_handshake(&message(CONTEXT, 48)));
        for other in [
            message(CONTEXT, 33),
            message(CONTEXT, 0),
            message(b"TLS 1.3, server CertificateVerify\0", 32),
            message(b"TLS 1.3, client CertificateVerify ", 32),
            message(CONTEXT, 32)[1..].to_vec(),
            [&b"x"[..], &message(CONTEXT, 32)[1..]].concat(),
            Vec::new(),
        ] {
            assert!(!is_client_handshake(&other), "{other:?}");
        }
    }
}
