use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ConfigBuilder, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme, WantsVerifier,
};

use super::parts::{TlsClock, TlsError, TlsIdentity, parts, provider, roots};
use super::peer_refusal::PeerRefusal;
use crate::base::{Clock, Connection};
use crate::pki::authority_certificate::AuthorityCertificate;
use crate::pki::peer::PeerCertificate;

/// The check of the holder after a valid chain.
pub trait Gate: Send + Sync + fmt::Debug {
    /// Whether `peer` may connect now.
    fn admits(&self, peer: &PeerCertificate) -> bool;

    /// Whether `peer` may connect although its certificate has ended.
    fn admits_late(&self, _peer: &PeerCertificate) -> bool {
        false
    }

    /// Why `peer`, whose chain is good, may not connect: what the alert says.
    fn cause(&self, _peer: &PeerCertificate) -> PeerRefusal {
        PeerRefusal::Revoked
    }

    /// The cause of the refusal of `peer`, whose certificate has expired and was good until then.
    fn late_cause(&self, _peer: &PeerCertificate) -> PeerRefusal {
        PeerRefusal::OutOfTime
    }

    /// Is told of a connection of `peer` that is open from now on. Must return at once.
    fn opened(&self, _peer: &PeerCertificate) {}

    /// Is told of the end of a connection; `is_cut` if it was ended because `peer` may not stay. Must return at once.
    fn ended(&self, _peer: &PeerCertificate, _is_cut: bool) {}

    /// Is told of a `peer` whose connection is closed because its certificate is refused from its address. Must return at
    /// once.
    fn connection_refused(&self, _peer: &PeerCertificate) {}

    /// Is told of a refused handshake, and its connection. Must return at once.
    fn handshake_refused(&self, _refused: &RefusedPeer, _connection: Connection) {}
}

/// The certificate that a refused handshake presented. The possession of its key was not proved.
#[derive(Clone, Debug)]
pub enum RefusedPeer {
    /// An authority of the broker signed it.
    Known(PeerCertificate, PeerRefusal),
    /// No authority that the broker trusts signed it, or it is no client certificate of this broker.
    Unknown,
}

thread_local! {
    static REFUSED_LAST: Cell<Option<RefusedPeer>> = const { Cell::new(None) };
}

/// Takes the peer that the verifier refused last on this thread. The library tells the verifier nothing about the
/// connection: the listener takes the peer after each step of a handshake, before this thread makes another one.
#[must_use]
pub fn take_refused_peer() -> Option<RefusedPeer> {
    REFUSED_LAST.take()
}

/// A listener's TLS: what it shows and whom it trusts can change while it serves.
///
/// It takes client certificates of the authorities it trusts that `gate` admits, and also peers
/// without one, whom the routes judge. Resumption is off: a resumed session would pass by the
/// certificate checks, and so by revocation.
#[derive(Clone, Debug)]
pub struct ServerTls {
    configs: ServerConfigs,
    shown: Arc<Shown>,
    verifier: Arc<LiveVerifier>,
}

impl ServerTls {
    /// Shows `identity` and trusts `authorities`.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(
        identity: &TlsIdentity,
        authorities: &[AuthorityCertificate],
        gate: Arc<dyn Gate>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TlsError> {
        let shown = Arc::new(Shown(RwLock::new(certified(identity)?)));
        let verifier = Arc::new(LiveVerifier { inner: RwLock::new(trusting(authorities)?), gate });
        let configs = ServerConfigs::new(clock, |config| {
            config
                .with_client_cert_verifier(Arc::clone(&verifier) as Arc<dyn ClientCertVerifier>)
                .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>)
        })?;
        Ok(Self { configs, shown, verifier })
    }

    /// The configurations for the TLS library.
    #[must_use]
    pub fn configs(&self) -> ServerConfigs {
        self.configs.clone()
    }

    /// Shows `identity` at every handshake from now on.
    ///
    /// # Errors
    /// [`TlsError`]; the one before goes on to be shown then.
    pub fn show(&self, identity: &TlsIdentity) -> Result<(), TlsError> {
        let certified = certified(identity)?;
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = certified;
        Ok(())
    }

    /// Trusts `authorities` alone from now on. Connections that are open are for the gate to judge.
    ///
    /// # Errors
    /// [`TlsError`]; those before go on to be trusted then.
    pub fn trust(&self, authorities: &[AuthorityCertificate]) -> Result<(), TlsError> {
        let trusting = trusting(authorities)?;
        *self.verifier.inner.write().unwrap_or_else(PoisonError::into_inner) = trusting;
        Ok(())
    }
}

/// The configurations of a listener that asks nobody for a certificate: the broker is sealed, and could
/// not judge it.
///
/// # Errors
/// [`TlsError`].
pub fn sealed_server_configs(
    identity: &TlsIdentity,
    clock: Arc<dyn Clock>,
) -> Result<ServerConfigs, TlsError> {
    let shown = Arc::new(Shown(RwLock::new(certified(identity)?)));
    ServerConfigs::new(clock, |config| {
        config.with_no_client_auth().with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>)
    })
}

/// A listener's configurations: which one is for a client depends on the key exchanges that the client offers.
///
/// The library takes the best of those that the client sent a key share for. A client that offers X25519MLKEM768
/// and sends a share for X25519 alone would get X25519; the library asks it for the other share when there is
/// nothing else to choose (RFC 8446 §4.1.4).
#[derive(Clone, Debug)]
pub struct ServerConfigs {
    post_quantum: Arc<ServerConfig>,
    any: Arc<ServerConfig>,
}

impl ServerConfigs {
    fn new(
        clock: Arc<dyn Clock>,
        finish: impl Fn(ConfigBuilder<ServerConfig, WantsVerifier>) -> ServerConfig,
    ) -> Result<Self, TlsError> {
        let time = Arc::new(TlsClock(clock));
        let with = |provider: Arc<CryptoProvider>| -> Result<_, TlsError> {
            let builder =
                ServerConfig::builder_with_details(provider, Arc::clone(&time) as Arc<dyn TimeProvider>);
            let config = finish(builder.with_protocol_versions(&[&rustls::version::TLS13])?);
            Ok(Arc::new(without_resumption(config)))
        };
        let post_quantum =
            CryptoProvider { kx_groups: vec![X25519MLKEM768], ..aws_lc_rs::default_provider() };
        Ok(Self { post_quantum: with(Arc::new(post_quantum))?, any: with(provider())? })
    }

    /// The configuration for a client that said this.
    #[must_use]
    pub fn for_client(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let offered = hello.named_groups().is_some_and(|groups| groups.contains(&X25519MLKEM768.name()));
        Arc::clone(if offered { &self.post_quantum } else { &self.any })
    }
}

fn without_resumption(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

fn certified(identity: &TlsIdentity) -> Result<Arc<CertifiedKey>, TlsError> {
    let (chain, key) = parts(identity)?;
    Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider())?))
}

fn trusting(authorities: &[AuthorityCertificate]) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let ders: Vec<&[u8]> = authorities.iter().map(AuthorityCertificate::der).collect();
    WebPkiClientVerifier::builder_with_provider(roots(&ders)?, provider())
        .allow_unauthenticated()
        .clear_root_hint_subjects()
        .build()
        .map_err(|_| TlsError::Authority)
}

/// The listener's only certificate, for every name that a client asks for.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// The library's verifier, and behind it the live records.
#[derive(Debug)]
struct LiveVerifier {
    inner: RwLock<Arc<dyn ClientCertVerifier>>,
    gate: Arc<dyn Gate>,
}

impl LiveVerifier {
    fn read(end_entity: &CertificateDer<'_>) -> Result<PeerCertificate, Error> {
        PeerCertificate::parse(end_entity).map_err(|_| {
            REFUSED_LAST.set(Some(RefusedPeer::Unknown));
            Error::InvalidCertificate(CertificateError::BadEncoding)
        })
    }

    fn refuse(peer: PeerCertificate, cause: PeerRefusal) -> Error {
        REFUSED_LAST.set(Some(RefusedPeer::Known(peer, cause)));
        cause.into()
    }

    fn inner(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientCertVerifier for LiveVerifier {
    fn offer_client_auth(&self) -> bool {
        self.inner().offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner().client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// An authority signs certificates directly, so that nothing else that the peer sends is looked at: to search a
    /// hostile chain for a path takes seconds.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let inner = self.inner();
        match inner.verify_client_cert(end_entity, &[], now) {
            Ok(verified) => {
                let peer = Self::read(end_entity)?;
                // In its very last second it holds for the library and has ended for the records.
                if self.gate.admits(&peer) || self.gate.admits_late(&peer) {
                    return Ok(verified);
                }
                let cause = self.gate.cause(&peer);
                Err(Self::refuse(peer, cause))
            }
            Err(error) if is_expiry(&error) => {
                // All else about it has to be good, as of its last second.
                let peer = Self::read(end_entity)?;
                let verified = inner.verify_client_cert(end_entity, &[], last_second(&peer)?);
                let verified = verified.inspect_err(|_| REFUSED_LAST.set(Some(RefusedPeer::Unknown)))?;
                if self.gate.admits_late(&peer) {
                    return Ok(verified);
                }
                let cause = self.gate.late_cause(&peer);
                Err(Self::refuse(peer, cause))
            }
            Err(error) => {
                REFUSED_LAST.set(Some(RefusedPeer::Unknown));
                Err(error)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner().supported_verify_schemes()
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Notes how many intermediate certificates it is to look at.
    #[derive(Debug)]
    struct Noting(Arc<dyn ClientCertVerifier>, Mutex<Vec<usize>>);

    impl ClientCertVerifier for Noting {
        fn root_hint_subjects(&self) -> &[DistinguishedName] {
            &[]
        }

        fn verify_client_cert(
            &self,
            _end_entity: &CertificateDer<'_>,
            intermediates: &[CertificateDer<'_>],
            _now: UnixTime,
        ) -> Result<ClientCertVerified, Error> {
            self.1.lock().unwrap().push(intermediates.len());
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.0.verify_tls12_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.0.verify_tls13_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.supported_verify_schemes()
        }
    }

    #[derive(Debug)]
    struct Closed;

    impl Gate for Closed {
        fn admits(&self, _peer: &PeerCertificate) -> bool {
            false
        }
    }

    #[test]
    fn nothing_but_the_peer_s_own_certificate_is_looked_at() {
        let key = rcgen::KeyPair::generate().unwrap();
        let root = rcgen::CertificateParams::default().self_signed(&key).unwrap().der().clone();
        let library = WebPkiClientVerifier::builder_with_provider(roots(&[&root]).unwrap(), provider());
        let noting = Arc::new(Noting(library.build().unwrap(), Mutex::default()));
        let inner = RwLock::new(Arc::clone(&noting) as Arc<dyn ClientCertVerifier>);
        let verifier = LiveVerifier { inner, gate: Arc::new(Closed) };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        let chain = vec![root.clone(); 256];
        assert!(verifier.verify_client_cert(&root, &chain, now).is_err());
        assert_eq!(*noting.1.lock().unwrap(), [0], "the search for a path in a hostile chain takes seconds");
    }
}
