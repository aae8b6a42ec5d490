//! The limits of a listener's connections, by address and by certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use keyward::base::limits::HANDSHAKE_REST_BYTES_MAX;
use keyward::http::listener::ConnectionCaps;
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::listener::{Bed, CAPS, SOON};
use crate::support::waiting::until;

/// Hazard HTTP-13.
#[tokio::test]
async fn a_panicking_handler_closes_its_connection_and_frees_the_place() {
    let bed = Bed::new(ConnectionCaps { max: 1, max_per_peer: 1 }).await;
    let nobody = bed.client(None);
    for _ in 0..3 {
        assert!(retried(&bed, &nobody, "/panic").await.is_none());
        assert!(retried(&bed, &nobody, "/who").await.is_some());
    }
}

/// Asks as soon as there is a place.
async fn retried(bed: &Bed, config: &Arc<ClientConfig>, path: &str) -> Option<String> {
    let opened = async {
        loop {
            match bed.open(config).await {
                Some(mut open) => break open.ask(path).await,
                None => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(SOON, opened).await.expect("a place comes back")
}

#[tokio::test]
async fn one_address_takes_its_own_places_alone() {
    let bed = Bed::new(ConnectionCaps { max: 4, max_per_peer: 2 }).await;
    let from = |address: &str| {
        let (to, from) = (bed.address, SocketAddr::new(address.parse().unwrap(), 0));
        async move {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(from).unwrap();
            socket.connect(to).await.unwrap()
        }
    };
    let nobody = bed.client(None);
    let mut other = bed.open(&nobody).await.unwrap();
    assert_eq!(other.ask("/who").await.unwrap(), "nobody from 127.0.0.1");
    // Half-open handshakes count; the oldest of the same address makes room.
    let (mut first, second) = (from("127.0.0.2").await, from("127.0.0.2").await);
    let third = from("127.0.0.2").await;
    let closed = tokio::time::timeout(SOON, first.read(&mut [0; 1])).await.expect("closed at once");
    assert_eq!(closed.unwrap_or(0), 0);
    let name = ServerName::from(bed.address.ip());
    TlsConnector::from(Arc::clone(&nobody)).connect(name, third).await.unwrap();
    assert_eq!(other.ask("/who").await.unwrap(), "nobody from 127.0.0.1", "another address loses nothing");
    let untouched = second.try_read(&mut [0; 1]).unwrap_err();
    assert_eq!(untouched.kind(), std::io::ErrorKind::WouldBlock, "nor does the newer one");
}

#[tokio::test]
async fn further_certificates_of_a_peer_are_ignored_and_bounded() {
    let bed = Bed::new(CAPS).await;
    let authority = bed.issuer.public().der().to_vec();
    for (bytes, is_taken) in [(HANDSHAKE_REST_BYTES_MAX / 2, true), (HANDSHAKE_REST_BYTES_MAX + 1024, false)]
    {
        let mut agent = bed.agent();
        agent.chain.extend(vec![authority.clone(); bytes / authority.len()]);
        let answer = bed.ask(&bed.client(Some(&agent)), "/who").await;
        assert_eq!(answer.is_some(), is_taken, "{bytes} bytes");
    }
}

#[tokio::test]
async fn a_certificate_has_a_quarter_of_the_connections_of_its_address() {
    let bed = Bed::new(ConnectionCaps { max: 16, max_per_peer: 8 }).await;
    let (agent, nobody) = (bed.client(Some(&bed.agent())), bed.client(None));
    let mut open = [bed.open(&agent).await.unwrap(), bed.open(&agent).await.unwrap()];
    for one in &mut open {
        assert!(one.ask("/who").await.is_some());
    }
    let refused = bed.ask(&agent, "/who").await.unwrap();
    assert!(refused.contains("\"code\":\"too_many_connections\""), "one beyond: {refused}");
    assert!(bed.ask(&nobody, "/who").await.is_some(), "others at its address have places left");
    drop(open);
    // The places come back.
    until(async || bed.ask(&agent, "/who").await.is_some_and(|answer| !answer.contains("code"))).await;
}
