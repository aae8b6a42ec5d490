//! The places for connections: a flood of peers that show no certificate locks nobody out who has one.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use keyward::base::Clock;
use keyward::base::limits::SEND_BUFFER_BYTES;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::support::broker::{Caller, TestBroker};
use crate::support::waiting::until;

const CAPS: &str = "[connections]\nmax = 64\nmax_per_peer = 8\n";
/// Far more than any loopback exchange takes.
const SOON: Duration = Duration::from_secs(20);

async fn from(address: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(address.into(), 0)).unwrap();
    socket.connect(to).await.unwrap()
}

/// Twice as many silent connections as there are places, from sixteen addresses.
async fn flood(to: SocketAddr) -> Vec<TcpStream> {
    let mut silent = Vec::new();
    for i in 0..128_u8 {
        silent.push(from(Ipv4Addr::new(127, 0, 0, 2 + i % 16), to).await);
    }
    silent
}

async fn tls(caller: &Caller, stream: TcpStream) -> TlsStream<TcpStream> {
    let name = ServerName::from(caller.address.ip());
    TlsConnector::from(Arc::clone(&caller.config)).connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn silent_connections_of_many_addresses_lock_no_operator_out() {
    let broker = TestBroker::start_with(CAPS).await;
    let operator = broker.operator();
    let mut open = operator.connect().await.unwrap();
    assert_eq!(open.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    let _silent = flood(broker.admins()).await;
    assert_eq!(operator.get("/v1/whoami").await.status, 200, "a new connection");
    assert_eq!(open.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200, "one that was open");
}

#[tokio::test]
async fn silent_connections_of_its_own_address_lock_no_operator_out() {
    let broker = TestBroker::start_with(CAPS).await;
    let mut silent = Vec::new();
    for _ in 0..32 {
        silent.push(TcpStream::connect(broker.admins()).await.unwrap());
    }
    assert_eq!(broker.operator().get("/v1/whoami").await.status, 200);
}

#[tokio::test]
async fn idle_connections_without_a_certificate_lock_no_agent_out() {
    let broker = TestBroker::start_with(CAPS).await;
    broker.declare().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let nobody = broker.nobody(broker.agents());
    let mut idle = Vec::new();
    for i in 0..96_u8 {
        let stream = from(Ipv4Addr::new(127, 0, 0, 2 + i % 16), nobody.address).await;
        let mut stream = tls(&nobody, stream).await;
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        idle.push(stream);
    }
    assert_eq!(agent.caller.get("/v1/whoami").await.status, 200);
    // The oldest of them made room.
    let mut first = idle.swap_remove(0);
    let mut rest = Vec::new();
    drop(tokio::time::timeout(SOON, first.read_to_end(&mut rest)).await.expect("it was closed"));
}

#[tokio::test]
async fn refused_handshakes_keep_no_turn_while_their_peers_read_why() {
    // Three unauthenticated connections, of which two may wait for the broker.
    let broker = TestBroker::start_with("[connections]\nmax = 4\nmax_per_peer = 4\n").await;
    // A first message of TLS 1.2 alone (RFC 5246 §7.4.1.2), with `signature_algorithms`.
    let mut hello = vec![0x16, 3, 1, 0, 0x37, 1, 0, 0, 0x33, 3, 3];
    hello.extend([0; 33]);
    hello.extend([0, 2, 0x13, 1, 1, 0, 0, 8, 0, 0x0d, 0, 4, 0, 2, 4, 3]);
    let mut refused = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(broker.admins()).await.unwrap();
        stream.write_all(&hello).await.unwrap();
        let mut alert = [0; 7];
        stream.read_exact(&mut alert).await.unwrap();
        assert_eq!((alert[0], alert[6]), (0x15, 70), "protocol_version");
        refused.push(stream);
    }
    assert_eq!(broker.operator().get("/v1/whoami").await.status, 200);
}

/// What the kernel holds of what the server sent on the connection of the client at `port`, in bytes.
fn unreceived(server: u16, port: u16) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let (server, port) = (format!(":{server:04X}"), format!(":{port:04X}"));
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|line| line[1].ends_with(&server) && line[2].ends_with(&port))?;
    u64::from_str_radix(line[4].split_once(':')?.0, 16).ok()
}

#[tokio::test]
async fn answers_that_nobody_reads_take_little_memory() {
    let broker = TestBroker::start().await;
    let nobody = broker.nobody(broker.agents());
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(nobody.address).await.unwrap();
    let port = stream.local_addr().unwrap().port();
    let mut stream = tls(&nobody, stream).await;
    stream.write_all(&b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100)).await.unwrap();
    stream.flush().await.unwrap();
    let settled = async {
        let (mut held, mut looks) = (0, 0);
        while looks < 20 {
            let now = unreceived(nobody.address.port(), port).expect("the connection is open");
            (held, looks) = if now == held && now > 0 { (held, looks + 1) } else { (now, 0) };
            tokio::task::yield_now().await;
        }
        held
    };
    let held = tokio::time::timeout(SOON, settled).await.expect("the server stops sending");
    assert!(held < 3 * u64::from(SEND_BUFFER_BYTES), "{held} bytes");
    assert_eq!(broker.operator().get("/v1/whoami").await.status, 200);
}

#[tokio::test]
async fn an_agent_shows_when_it_was_connected_last() {
    // Given an agent that has enrolled, and one that never did
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    let bot = broker.agent("bot", &["publisher"]).await;
    let invited =
        admin.post_json("/v1/agents/quiet-bot/invitations", &json!({ "roles": ["publisher"] })).await;
    assert_eq!(invited.status, 201, "{}", invited.text());
    let seen = async |name: &str| admin.get(&format!("/v1/agents/{name}")).await.json()["last_seen"].clone();
    assert_eq!(seen("quiet-bot").await, Value::Null);
    // It was not seen before its enrolment, although its certificate begins before this
    let enrolled = admin.get("/v1/agents/bot").await.json()["instances"][0]["enrolled_at"].clone();
    assert!(seen("bot").await.as_str().unwrap() >= enrolled.as_str().unwrap(), "{enrolled}");
    // When it is connected, then it is seen now
    let mut open = bot.caller.connect().await.unwrap();
    assert_eq!(open.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    broker.clock.advance_s(60);
    let connected = broker.clock.now().to_string();
    assert_eq!(seen("bot").await, connected);
    // When the connection has ended, then it is seen at its end
    drop(open);
    until(async || {
        let before = broker.clock.now().to_string();
        broker.clock.advance_s(1);
        seen("bot").await.as_str().is_some_and(|at| at <= before.as_str())
    })
    .await;
    let listed = admin.get("/v1/agents").await.json();
    let of_bot = listed["items"].as_array().unwrap().iter().find(|one| one["name"] == "bot").unwrap();
    assert!(of_bot["last_seen"].as_str().unwrap() >= connected.as_str(), "{of_bot}");
}
