//! The accept loop and its TLS against real clients, with a gate, a clock and a router of the test's.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use keyward::base::{Clock, ManualClock, Sensitive, SystemEntropy, Timestamp};
use keyward::crypto::{EcdsaKey, SignatureForm};
use keyward::http::listener::{
    ConnectionCaps, ConnectionIds, CredentialWatch, ListenerConditions, ListenerState, Peer, serve,
};
use keyward::pki::tls::{Gate, ServerTls, TlsIdentity, client_config, pinned_client_config};
use keyward::pki::{Authority, CertificatePlan, PeerCertificate, new_key_and_request, read_request};
use keyward::telemetry::{Alarms, Latency, Meters};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, AlertDescription, ClientConfig, HandshakeKind};

use crate::support::waiting::until;

const NOW: Timestamp = Timestamp::from_s(1_800_000_000);
const DAY_S: i64 = 86_400;
const AGENT: &str = "spiffe://keyward.test/agent/research-bot";
pub(crate) const CAPS: ConnectionCaps = ConnectionCaps { max: 64, max_per_peer: 32 };
/// Long enough for any loopback exchange, shorter than any wait of the listener's own.
pub(crate) const SOON: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Door(AtomicBool);

impl Gate for Door {
    fn admits(&self, _peer: &PeerCertificate) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

fn authority() -> Authority {
    let pkcs8 = EcdsaKey::generate().unwrap();
    let key = || EcdsaKey::from_pkcs8(&pkcs8, SignatureForm::Asn1).unwrap();
    let domain = "keyward.test".parse().unwrap();
    Authority::new(Authority::found(&domain, &key(), NOW, &SystemEntropy).unwrap(), key()).unwrap()
}

fn agent_of(issuer: &Authority, begin: Timestamp) -> TlsIdentity {
    let (key_pem, request) = new_key_and_request().unwrap();
    let key = read_request(&request).unwrap();
    let plan = CertificatePlan::draw(
        AGENT.parse().unwrap(),
        &key,
        begin,
        DAY_S,
        issuer.public().not_after(),
        &SystemEntropy,
    );
    TlsIdentity { chain: vec![issuer.sign(&plan, &key).unwrap()], key_pem }
}

fn server_of(issuer: &Authority) -> TlsIdentity {
    let (key_pem, request) = new_key_and_request().unwrap();
    let (key, names) = (read_request(&request).unwrap(), ["127.0.0.1".to_owned()]);
    let leaf = issuer.sign_server(&names, &key, NOW, 30 * DAY_S, &SystemEntropy).unwrap();
    TlsIdentity { chain: vec![leaf, issuer.public().der().to_vec()], key_pem }
}

/// A listener that serves, and all that it stands on.
pub(crate) struct Bed {
    pub(crate) issuer: Authority,
    clock: Arc<ManualClock>,
    door: Arc<Door>,
    hold: Arc<Notify>,
    held: Arc<Notify>,
    pub(crate) address: SocketAddr,
    course: watch::Sender<ListenerState>,
    serving: JoinHandle<()>,
}

impl Bed {
    pub(crate) async fn new(caps: ConnectionCaps) -> Self {
        let issuer = authority();
        let identity = server_of(&issuer);
        Self::showing(issuer, &identity, caps).await
    }

    async fn showing(issuer: Authority, identity: &TlsIdentity, caps: ConnectionCaps) -> Self {
        let clock = Arc::new(ManualClock::new(NOW));
        let door = Arc::new(Door(AtomicBool::new(true)));
        let (hold, held) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let our_time = Arc::clone(&clock) as Arc<dyn Clock>;
        let gate = Arc::clone(&door) as Arc<dyn Gate>;
        let authorities = [issuer.public().clone()];
        let tls = ServerTls::new(identity, &authorities, Arc::clone(&gate), our_time).unwrap().configs();
        let level = Meters::new(&Latency::new(), &Alarms::new()).connections("agents");
        let credentials = CredentialWatch { gate, changed: watch::channel(0).1 };
        let waits = (Arc::clone(&hold), Arc::clone(&held));
        let router = Router::new().route("/who", get(who)).route("/panic", get(breaks)).route(
            "/hold",
            get(move || async move {
                waits.1.notify_one();
                waits.0.notified().await;
                "done"
            }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (course, state) = watch::channel(ListenerState::On);
        let ids =
            ConnectionIds { clock: Arc::clone(&clock) as Arc<dyn Clock>, entropy: Arc::new(SystemEntropy) };
        let conditions = ListenerConditions { caps, credentials, state, level, ids };
        let serving = tokio::spawn(serve(listener, tls, router, conditions));
        Self { issuer, clock, door, hold, held, address, course, serving }
    }

    pub(crate) fn agent(&self) -> TlsIdentity {
        agent_of(&self.issuer, NOW)
    }

    /// A client that trusts this listener's authority, with any certificate.
    pub(crate) fn client(&self, identity: Option<&TlsIdentity>) -> Arc<ClientConfig> {
        client_config(
            &[self.issuer.public().der().to_vec()],
            identity,
            Arc::clone(&self.clock) as Arc<dyn Clock>,
        )
        .unwrap()
    }

    pub(crate) async fn ask(&self, config: &Arc<ClientConfig>, path: &str) -> Option<String> {
        self.open(config).await?.ask(path).await
    }

    pub(crate) async fn open(&self, config: &Arc<ClientConfig>) -> Option<Open> {
        let stream = connect(self.address, config).await.ok()?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(Open(sender))
    }
}

async fn who(Extension(peer): Extension<Peer>) -> String {
    let certificate = peer.certificate.as_ref();
    let name = certificate.map_or("nobody".to_owned(), |certificate| certificate.spiffe().to_string());
    format!("{name} from {}", peer.connection.source)
}

async fn breaks() -> &'static str {
    panic!("a handler's fault")
}

pub(crate) struct Open(SendRequest<Empty<Bytes>>);

impl Open {
    pub(crate) async fn ask(&mut self, path: &str) -> Option<String> {
        let request = hyper::Request::get(path).header("host", "broker").body(Empty::new()).unwrap();
        let response = self.0.send_request(request).await.ok()?;
        Some(String::from_utf8(response.into_body().collect().await.ok()?.to_bytes().to_vec()).unwrap())
    }
}

async fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::from(address.ip());
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}

/// What the listener said when it refused this client; fails when it did not refuse.
async fn refusal(bed: &Bed, config: &Arc<ClientConfig>) -> AlertDescription {
    let said = async {
        // The client's half is over before the listener has judged: the alert comes with the first read.
        connect(bed.address, config).await?.read_u8().await
    };
    let error = tokio::time::timeout(SOON, said).await.expect("neither served nor refused").unwrap_err();
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        other => panic!("no alert, but {other:?} in {error:?}"),
    }
}

#[tokio::test]
async fn a_peer_is_who_its_certificate_says_and_nobody_without_one() {
    let bed = Bed::new(CAPS).await;
    let nobody = bed.client(None);
    assert_eq!(bed.ask(&nobody, "/who").await.unwrap(), "nobody from 127.0.0.1");
    let agent = bed.client(Some(&bed.agent()));
    let mut open = bed.open(&agent).await.unwrap();
    for _ in 0..3 {
        assert_eq!(open.ask("/who").await.unwrap(), format!("{AGENT} from 127.0.0.1"));
    }
}

/// Hazard TLS-02.
#[tokio::test]
async fn a_foreign_authority_of_the_same_name_is_refused_at_the_handshake() {
    let bed = Bed::new(CAPS).await;
    let foreign = bed.client(Some(&agent_of(&authority(), NOW)));
    assert_eq!(refusal(&bed, &foreign).await, AlertDescription::DecryptError);
    assert!(bed.ask(&bed.client(Some(&bed.agent())), "/who").await.is_some());
}

/// Hazard TLS-03.
#[tokio::test]
async fn time_is_judged_by_the_broker_s_clock() {
    let bed = Bed::new(CAPS).await;
    let today = bed.client(Some(&bed.agent()));
    let tomorrow = bed.client(Some(&agent_of(&bed.issuer, NOW.plus_s(DAY_S))));
    assert!(bed.ask(&today, "/who").await.is_some());
    assert_eq!(refusal(&bed, &tomorrow).await, AlertDescription::CertificateExpired, "not yet");
    bed.clock.advance_s(86_401);
    assert_eq!(refusal(&bed, &today).await, AlertDescription::CertificateExpired);
    assert!(bed.ask(&tomorrow, "/who").await.is_some());
}

/// Hazard TLS-04.
#[tokio::test]
async fn whom_the_gate_does_not_admit_is_refused_at_the_handshake() {
    let bed = Bed::new(CAPS).await;
    let agent = bed.client(Some(&bed.agent()));
    assert!(bed.ask(&agent, "/who").await.is_some());
    bed.door.0.store(false, Ordering::SeqCst);
    assert_eq!(refusal(&bed, &agent).await, AlertDescription::CertificateRevoked);
    assert!(bed.ask(&bed.client(None), "/who").await.is_some(), "who shows nothing is for the routes");
}

/// A certificate of the agent's profile for another agent, signed with `parent`'s own key.
fn signed_by_a_leaf(parent: &TlsIdentity) -> TlsIdentity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x41; 16]));
    params.subject_alt_names =
        vec![SanType::URI("spiffe://keyward.test/agent/other-bot".try_into().unwrap())];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let mut issuer = CertificateParams::default();
    issuer.distinguished_name = rcgen::DistinguishedName::new();
    let issuer = Issuer::new(issuer, KeyPair::from_pem(parent.key_pem.expose()).unwrap());
    let child = params.signed_by(&key, &issuer).unwrap().der().to_vec();
    TlsIdentity { chain: vec![child, parent.chain[0].clone()], key_pem: Sensitive::new(key.serialize_pem()) }
}

/// Hazard TLS-06.
#[tokio::test]
async fn what_an_agent_s_key_has_signed_is_refused() {
    let bed = Bed::new(CAPS).await;
    let parent = bed.agent();
    let child = signed_by_a_leaf(&parent);
    // Nothing is wrong with it but its issuer: read alone, it is a peer's certificate.
    assert!(PeerCertificate::parse(&child.chain[0]).is_ok());
    // An agent's certificate beside it is not read: only an authority could have signed with it.
    assert_eq!(refusal(&bed, &bed.client(Some(&child))).await, AlertDescription::UnknownCA);
    assert!(bed.ask(&bed.client(Some(&parent)), "/who").await.is_some());
}

/// Hazard TLS-07.
#[tokio::test]
async fn server_and_client_certificates_are_not_interchangeable() {
    let bed = Bed::new(CAPS).await;
    let server_as_client = bed.client(Some(&server_of(&bed.issuer)));
    assert_eq!(refusal(&bed, &server_as_client).await, AlertDescription::UnsupportedCertificate);

    let issuer = authority();
    let mut agent = agent_of(&issuer, NOW);
    agent.chain.push(issuer.public().der().to_vec());
    let impostor = Bed::showing(issuer, &agent, CAPS).await;
    let clock = || Arc::clone(&impostor.clock) as Arc<dyn Clock>;
    let pinned = pinned_client_config(impostor.issuer.public().key_pin(), clock()).unwrap();
    for config in [impostor.client(None), pinned] {
        assert!(is_wrong_name(&connect(impostor.address, &config).await.unwrap_err()));
    }
}

fn is_wrong_name(error: &std::io::Error) -> bool {
    use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(
        error.get_ref().and_then(|inner| inner.downcast_ref()),
        Some(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
    )
}

/// Hazard ENR-11.
#[tokio::test]
async fn a_pin_accepts_only_its_authority_for_the_right_name() {
    let bed = Bed::new(CAPS).await;
    let clock = || Arc::clone(&bed.clock) as Arc<dyn Clock>;
    let pinned = pinned_client_config(bed.issuer.public().key_pin(), clock()).unwrap();
    assert!(bed.ask(&pinned, "/who").await.is_some());
    let other = pinned_client_config(authority().public().key_pin(), clock()).unwrap();
    assert!(connect(bed.address, &other).await.is_err());

    let stream = TcpStream::connect(bed.address).await.unwrap();
    let name = ServerName::from("127.0.0.2".parse::<IpAddr>().unwrap());
    let wrong_name = TlsConnector::from(Arc::clone(&pinned)).connect(name, stream).await.unwrap_err();
    assert!(is_wrong_name(&wrong_name));

    // The pinned authority is public: showing it beside a leaf that it has not signed helps nobody.
    let mut forged = server_of(&authority());
    forged.chain[1] = bed.issuer.public().der().to_vec();
    let impostor = Bed::showing(authority(), &forged, CAPS).await;
    assert!(connect(impostor.address, &pinned).await.is_err());

    bed.clock.advance_s(31 * 86_400);
    assert!(connect(bed.address, &pinned).await.is_err(), "the broker's certificate has ended");
}

/// Hazard TLS-05.
#[tokio::test]
async fn no_session_is_resumed_and_no_ticket_given() {
    let bed = Bed::new(CAPS).await;
    let mut eager = ClientConfig::clone(&bed.client(Some(&bed.agent())));
    eager.resumption = Resumption::in_memory_sessions(16);
    let eager = Arc::new(eager);
    for _ in 0..2 {
        let mut stream = connect(bed.address, &eager).await.unwrap();
        let request = b"GET /who HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"));
        let session = stream.get_ref().1;
        assert_eq!(
            (session.handshake_kind(), session.tls13_tickets_received()),
            (Some(HandshakeKind::Full), 0)
        );
    }
}

#[tokio::test]
async fn silent_peers_delay_neither_others_nor_the_stop() {
    let bed = Bed::new(CAPS).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(bed.address).await.unwrap());
    }
    let nobody = bed.client(None);
    let mut idle = bed.open(&nobody).await.unwrap();
    assert!(idle.ask("/who").await.is_some());
    let _shaken_and_silent = connect(bed.address, &nobody).await.unwrap();
    bed.course.send_replace(ListenerState::Drain);
    tokio::time::timeout(SOON, bed.serving).await.expect("the stop waits for nobody").unwrap();
    assert!(idle.ask("/who").await.is_none());
    assert!(TcpStream::connect(bed.address).await.is_err());
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_stop_is_over() {
    let mut bed = Bed::new(CAPS).await;
    let mut open = bed.open(&bed.client(None)).await.unwrap();
    let asked = tokio::spawn(async move { open.ask("/hold").await });
    bed.held.notified().await;
    bed.course.send_replace(ListenerState::Drain);
    until(async || TcpStream::connect(bed.address).await.is_err()).await;
    assert!(!bed.serving.is_finished());
    bed.hold.notify_one();
    assert_eq!(asked.await.unwrap().as_deref(), Some("done"));
    tokio::time::timeout(SOON, &mut bed.serving).await.expect("then it is over").unwrap();
}
