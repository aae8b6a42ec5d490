//! The listeners as TLS peers see them, and as hostile ones do.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use keyward::base::Clock;
use keyward::base::limits::HELLO_BYTES_MAX;
use keyward::pki::certificates_from_pem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use tokio_rustls::rustls::crypto::{CryptoProvider, SupportedKxGroup};
use tokio_rustls::rustls::pki_types::{ServerName, UnixTime};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, NamedGroup, RootCertStore};

use crate::support::broker::{Caller, TestBroker};
use crate::support::openssl;
use crate::support::waiting::until;

async fn tls(caller: &Caller) -> tokio_rustls::client::TlsStream<TcpStream> {
    let stream = TcpStream::connect(caller.address).await.unwrap();
    let name = ServerName::try_from(caller.address.ip().to_string()).unwrap();
    TlsConnector::from(Arc::clone(&caller.config)).connect(name, stream).await.unwrap()
}

/// The broker's time.
#[derive(Debug)]
struct At(UnixTime);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0)
    }
}

/// What is agreed on with a client that offers these key exchanges, and sends a share for the first of them.
async fn agreed(broker: &TestBroker, offered: &[&'static dyn SupportedKxGroup]) -> NamedGroup {
    let provider = CryptoProvider { kx_groups: offered.to_vec(), ..default_provider() };
    let time =
        At(UnixTime::since_unix_epoch(Duration::from_secs(broker.clock.now().s().try_into().unwrap())));
    let mut roots = RootCertStore::empty();
    for authority in certificates_from_pem(&broker.authority_pem()).unwrap() {
        roots.add(authority.into()).unwrap();
    }
    let config = ClientConfig::builder_with_details(Arc::new(provider), Arc::new(time))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let caller = Caller { config: Arc::new(config), ..broker.nobody(broker.agents()) };
    tls(&caller).await.get_ref().1.negotiated_key_exchange_group().unwrap().name()
}

#[tokio::test]
async fn the_post_quantum_group_is_agreed_on_with_whoever_offers_it() {
    let broker = TestBroker::start().await;
    let ours = tls(&broker.nobody(broker.agents())).await;
    let ours = ours.get_ref().1.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(ours, NamedGroup::X25519MLKEM768, "our own client");
    let last = [kx_group::X25519, kx_group::SECP256R1, kx_group::X25519MLKEM768];
    assert_eq!(agreed(&broker, &last).await, NamedGroup::X25519MLKEM768, "no share for it, and offered last");
    assert_eq!(agreed(&broker, &[kx_group::SECP256R1]).await, NamedGroup::secp256r1, "not offered");
}

/// What `openssl s_client` says when it talks to the agent listener.
fn s_client(address: &str, args: &[&str], input: &str) -> String {
    let all = [&["s_client", "-connect", address, "-ign_eof"], args].concat();
    let mut child = std::process::Command::new("openssl")
        .args(all)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("openssl is needed: run scripts/test");
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    said
}

/// Hazards TLS-05, TLS-14.
#[tokio::test(flavor = "multi_thread")]
async fn old_versions_are_refused_and_no_ticket_is_ever_given() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let (cert, key) = (broker.path().join("c.pem"), broker.path().join("k.pem"));
    std::fs::write(&cert, &agent.certificate).unwrap();
    std::fs::write(&key, &agent.key).unwrap();
    let address = broker.agents().to_string();
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    let request = "GET /v1/whoami HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let session = broker.path().join("session").display().to_string();
    let said = s_client(&address, &["-cert", &cert, "-key", &key, "-sess_out", &session], request);
    assert!(said.contains("200 OK") && said.contains("TLSv1.3"), "{said}");
    assert!(!said.contains("New Session Ticket"), "{said}");
    assert!(!std::path::Path::new(&session).exists(), "there is nothing to resume");
    for version in ["-tls1_2", "-tls1_1"] {
        let refused = s_client(&address, &[version], request);
        assert!(!refused.contains("200 OK"), "{refused}");
    }
}

/// Hazard TLS-06.
#[tokio::test]
async fn openssl_takes_no_certificate_that_an_agent_s_key_signed() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let dir = broker.path();
    let file = |name: &str| dir.join(name).display().to_string();
    std::fs::write(file("a.crt"), &agent.certificate).unwrap();
    std::fs::write(file("a.key"), &agent.key).unwrap();
    let request = openssl::request(
        &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "/",
        &["-addext", "subjectAltName=URI:spiffe://keyward.test/agent/b"],
    );
    std::fs::write(file("b.csr"), request).unwrap();
    let signed = openssl::run(&[
        "x509",
        "-req",
        "-inform",
        "DER",
        "-in",
        &file("b.csr"),
        "-CA",
        &file("a.crt"),
        "-CAkey",
        &file("a.key"),
        "-copy_extensions",
        "copy",
        "-days",
        "1",
        "-out",
        &file("b.crt"),
    ]);
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    let (child, parent) = (std::fs::read_to_string(file("b.crt")).unwrap(), agent.certificate.clone());
    std::fs::write(file("chain.pem"), format!("{child}{parent}")).unwrap();
    std::fs::write(file("ca.pem"), broker.authority_pem()).unwrap();
    let output =
        openssl::run(&["verify", "-CAfile", &file("ca.pem"), "-untrusted", &file("a.crt"), &file("b.crt")]);
    assert!(!output.status.success(), "even OpenSSL accepts it");
}

#[tokio::test]
async fn openssl_strict_accepts_a_certificate_and_refuses_an_altered_one() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let authority = broker.authority_pem();
    for purpose in ["sslclient", "sslserver"] {
        assert!(openssl::verifies(broker.path(), &authority, &agent.certificate, purpose), "{purpose}");
    }
    let other = TestBroker::declared().await;
    assert!(!openssl::verifies(broker.path(), &other.authority_pem(), &agent.certificate, "sslclient"));
    let mut lines: Vec<String> = agent.certificate.lines().map(str::to_owned).collect();
    let last = lines.len() - 3;
    lines[last] = lines[last].chars().rev().collect();
    let altered = format!("{}\n", lines.join("\n"));
    assert!(!openssl::verifies(broker.path(), &authority, &altered, "sslclient"));
    std::fs::write(broker.path().join("leaf.pem"), &agent.certificate).unwrap();
    let text = openssl::run(&[
        "x509",
        "-noout",
        "-text",
        "-in",
        &broker.path().join("leaf.pem").display().to_string(),
    ]);
    let text = String::from_utf8(text.stdout).unwrap();
    for line in [
        "Subject: \n",
        "X509v3 Subject Alternative Name: critical",
        "URI:spiffe://keyward.test/agent/a",
        "CA:FALSE",
        "X509v3 Key Usage: critical",
        "Digital Signature\n",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "X509v3 Subject Key Identifier",
        "X509v3 Authority Key Identifier",
        "ecdsa-with-SHA256",
        "prime256v1",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

/// Hazard HTTP-11.
#[tokio::test]
async fn silent_and_garbled_peers_stop_nobody() {
    let broker = TestBroker::declared().await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(broker.agents()).await.unwrap());
    }
    for garbage in
        [&b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 64], &[0xff; 512]]
    {
        let mut stream = TcpStream::connect(broker.agents()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut rest = Vec::new();
        // In any case it ends the connection and serves the others.
        drop(
            tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest))
                .await
                .expect("closed"),
        );
    }
    let agent = broker.agent("a", &["repo-reader"]).await;
    assert_eq!(agent.caller.get("/v1/whoami").await.status, 200);
    drop(silent);
}

#[tokio::test]
async fn a_first_message_beyond_its_limit_is_refused() {
    let broker = TestBroker::start().await;
    let nobody = broker.nobody(broker.agents());
    let at_most = HELLO_BYTES_MAX / 251;
    for (names, is_taken) in [(at_most - 8, true), (at_most + 1, false)] {
        let mut config = ClientConfig::clone(&nobody.config);
        config.alpn_protocols.extend((0..names).map(|_| vec![b'x'; 250]));
        let stream = TcpStream::connect(nobody.address).await.unwrap();
        let name = ServerName::from(nobody.address.ip());
        let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        assert_eq!(shaken.is_ok(), is_taken, "{names} names of 250 bytes");
    }
}

#[tokio::test]
async fn connections_beyond_the_cap_are_refused_and_places_come_back() {
    let broker = TestBroker::start_with("[connections]\nmax = 16\nmax_per_peer = 12\n").await;
    let operator = broker.operator();
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut connection = operator.connect().await.unwrap();
        assert_eq!(connection.send("GET", "/livez", &[], b"").await.unwrap().status, 200);
        open.push(connection);
    }
    let beyond = operator.get("/livez").await;
    assert_eq!((beyond.status, beyond.code().as_str()), (429, "too_many_connections"));
    for connection in &mut open {
        assert_eq!(connection.send("GET", "/livez", &[], b"").await.unwrap().status, 200);
    }
    drop(open);
    // The places come back.
    until(async || operator.get("/livez").await.status == 200).await;
}

/// Hazard ENR-11.
#[tokio::test]
async fn a_code_is_never_sent_to_a_broker_with_another_key() {
    use keyward::base::Clock;
    use keyward::pki::{certificate_from_pem, key_pin, tls::pinned_client_config};
    let (broker, impostor) = (TestBroker::start().await, TestBroker::start().await);
    let pin = key_pin(&certificate_from_pem(&broker.authority_pem()).unwrap()).unwrap();
    let clock = Arc::clone(&broker.clock) as Arc<dyn Clock>;
    let config = pinned_client_config(pin, clock).unwrap();
    let right = Caller { address: broker.agents(), config: Arc::clone(&config) };
    let wrong = Caller { address: impostor.agents(), config };
    assert_eq!(right.get("/livez").await.status, 200);
    assert!(wrong.connect().await.is_err(), "refused in the handshake, before anything is sent");
}
