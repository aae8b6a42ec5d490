//! What other users, guesses and nonsense do at the socket on the broker's host.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use keyward::base::limits::{
    PASSPHRASE_BYTES_MAX, UNSEAL_BYTES_MAX, UNSEAL_TRIES_MAX, UNSEAL_TRIES_PER_MINUTE,
};
use serde_json::{Value, json};

use crate::sealing::{WORDS, state};
use crate::support::host::{ask, say, send, until};
use crate::support::process::Process;

#[test]
fn guesses_are_slowed_down_and_malformed_input_is_named() {
    let mut process = Process::init_attended("info", WORDS);
    process.spawn();
    let socket = process.socket();
    until(&socket, "sealed");
    let json_type = [("content-type", "application/json")];
    let long = "x".repeat(UNSEAL_BYTES_MAX);
    for (body, status, code) in [
        (json!({ "passphrase": "two\nlines of many words" }), 400, "unseal_malformed"),
        (json!({ "passphrase": "x".repeat(PASSPHRASE_BYTES_MAX + 1) }), 400, "unseal_malformed"),
        (json!({ "key": "keyward-slot-key-1:CNRY" }), 400, "unseal_malformed"),
        (json!({ "shares": "keyward-share-CNRY" }), 400, "unseal_malformed"),
        (json!({ "shares": "" }), 400, "unseal_malformed"),
        (json!({ "CNRY": "x" }), 400, "json_invalid"),
        (json!({ "passphrase": "x", "key": "y" }), 400, "json_invalid"),
        (json!({ "passphrase": long }), 413, "body_too_large"),
    ] {
        let reply = ask(&socket, "POST", "/v1/unseal", &body);
        assert_eq!((reply.status, reply.code().as_str()), (status, code));
        assert!(!reply.text().contains("CNRY"));
    }
    let exactly = format!("{{\"key\":\"{}\"}}", "x".repeat(UNSEAL_BYTES_MAX - 10));
    let reply = send(&socket, ("POST", "/v1/unseal"), &json_type, exactly.as_bytes()).unwrap();
    assert_eq!((exactly.len(), reply.code().as_str()), (UNSEAL_BYTES_MAX, "unseal_malformed"));
    let reply = send(&socket, ("POST", "/v1/unseal"), &[], b"{}").unwrap();
    assert_eq!((reply.status, reply.code().as_str()), (415, "content_type_unsupported"));
    for _ in 0..UNSEAL_TRIES_MAX {
        let reply = ask(&socket, "POST", "/v1/unseal", &json!({ "passphrase": "not these words" }));
        assert_eq!((reply.status, reply.code().as_str()), (401, "unseal_key_wrong"));
    }
    let reply = ask(&socket, "POST", "/v1/unseal", &json!({ "passphrase": WORDS }));
    assert_eq!((reply.status, reply.code().as_str()), (429, "rate_limited"), "the right one too");
    let wait: u64 = reply.header("retry-after").parse().unwrap();
    assert!((1..=u64::from(60 / UNSEAL_TRIES_PER_MINUTE)).contains(&wait), "{wait}");
    assert_eq!(state(&process), "sealed");
}

#[test]
fn nonsense_at_the_socket_harms_nobody() {
    let mut process = Process::init("info");
    process.serve();
    let socket = process.socket();
    let long = vec![b'a'; 1024 * 1024];
    for nonsense in [
        &b"\0\xff\xfe\x16\x03\x01 nonsense\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &long,
    ] {
        // Cut without a word, or told what it is: never served.
        let answer = say(&socket, nonsense).unwrap_or_default();
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    for (method, path, status, code) in [
        ("GET", "/v1/nothing", 404, "route_unknown"),
        ("DELETE", "/v1/seal", 405, "method_not_allowed"),
        ("POST", "/v1/../v1/seal", 400, "path_not_canonical"),
        ("POST", "/v1/seal?now=1", 400, "query_not_allowed"),
        ("GET", "/v1/agents", 404, "route_unknown"),
        ("GET", "/metrics", 404, "route_unknown"),
    ] {
        let reply = send(&socket, (method, path), &[], b"").unwrap();
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{method} {path}");
    }
    assert_eq!(state(&process), "open");
}

#[test]
fn the_socket_takes_so_many_connections_and_no_more() {
    let mut process = Process::init("info");
    process.serve();
    let socket = process.socket();
    let mut silent: Vec<UnixStream> = (0..16).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let request = b"GET /v1/state HTTP/1.1\r\nhost: keyward\r\nconnection: close\r\n\r\n";
    assert_eq!(say(&socket, request).unwrap_or_default(), b"", "one more is closed");
    let mut last = silent.pop().unwrap();
    last.write_all(request).unwrap();
    let mut answer = String::new();
    last.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "those within it are served: {answer}");
}

#[test]
fn a_foreign_user_is_refused_even_where_the_socket_can_be_reached() {
    let mut process = Process::init("info");
    process.serve();
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).args(args);
        command.stdin(Stdio::null()).output().expect("setpriv and curl are needed")
    };
    let socket = process.socket().display().to_string();
    let curl = ["curl", "-sS", "--unix-socket", &socket, "-X", "POST", "http://keyward/v1/seal"];
    assert!(!as_nobody(&curl).status.success(), "the directory keeps others out");
    fs::set_permissions(process.dir.path(), Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(process.path("data"), Permissions::from_mode(0o711)).unwrap();
    assert!(!as_nobody(&curl).status.success(), "the socket is its owner's");
    fs::set_permissions(process.socket(), Permissions::from_mode(0o777)).unwrap();
    let answered: Value = serde_json::from_slice(&as_nobody(&curl).stdout).unwrap();
    assert_eq!(
        (&answered["status"], &answered["code"]),
        (&json!(403), &json!("host_user_not_allowed")),
        "{answered}"
    );
    let curl = ["curl", "-sS", "--unix-socket", &socket, "http://keyward/v1/state"];
    let answered: Value = serde_json::from_slice(&as_nobody(&curl).stdout).unwrap();
    assert_eq!(answered["code"], "host_user_not_allowed", "nor is anything told");
    assert_eq!(state(&process), "open", "root is asked for nothing more");
}
