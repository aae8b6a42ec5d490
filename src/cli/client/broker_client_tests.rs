use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use super::*;
use crate::base::Sensitive;
use crate::base::{CodeId, SystemEntropy, Timestamp};
use crate::crypto::sha256;

/// Longer than the client waits, and an end for the test.
const TEST_WAIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_change_without_a_response_is_said_to_be_in_doubt() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("host.sock");
    // Given a broker that is killed after it has read a part of the request
    let listener = UnixListener::bind(&socket).unwrap();
    let killed = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 4]).unwrap();
        }
    });
    let client = Client::on_host(&socket).within(TEST_WAIT);
    // Then a change says that its outcome is unknown, and a read does not
    let change = client.call(crate::wire::SEAL, &Nothing, &Nothing).await.unwrap_err();
    let read = client.call(GET_STATE, &Nothing, &Nothing).await.unwrap_err();
    killed.join().unwrap();
    let is_in_doubt = |failure: &CommandFailure| failure.why().contains("is unknown");
    assert_eq!((change.code(), read.code()), ("broker_unreachable", "broker_unreachable"));
    assert!(is_in_doubt(&change) && change.fix().contains("keyward plan"), "{change:?}");
    assert!(!is_in_doubt(&read), "{read:?}");
    // And a change that could not be sent says what it said before
    std::fs::remove_file(&socket).unwrap();
    let unsent = client.call(crate::wire::SEAL, &Nothing, &Nothing).await.unwrap_err();
    assert!(unsent.code() == "broker_unreachable" && !is_in_doubt(&unsent), "{unsent:?}");
}

#[tokio::test]
async fn a_request_to_a_silent_broker_ends_in_time() {
    // The kernel accepts the connections, as it does for a broker that is stopped.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let code = EnrolmentCode {
        spiffe: "spiffe://keyward.test/agent/a".parse().unwrap(),
        address: listener.local_addr().unwrap().to_string(),
        pin: sha256(b""),
        id: CodeId::mint(Timestamp::from_s(1), &SystemEntropy),
        secret: Sensitive::new([7; 32]),
    };
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("host.sock");
    let _silent = UnixListener::bind(&socket).unwrap();
    for client in [Client::pinned(&code).unwrap(), Client::on_host(&socket)] {
        let client = client.within(Duration::from_millis(50));
        let outcome = tokio::time::timeout(TEST_WAIT, client.call(GET_STATE, &Nothing, &Nothing)).await;
        let failure = outcome.expect("the client waits without end").map(drop).unwrap_err();
        assert_eq!((failure.code(), failure.exit()), ("broker_unreachable", 10), "{}", failure.why());
    }
}
