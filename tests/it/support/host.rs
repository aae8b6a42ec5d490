//! A client of the host socket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::broker::Reply;

/// Says `bytes` and gives back all that comes until the other side closes.
pub(crate) fn say(socket: &Path, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    // A client that is refused early cannot send everything.
    drop(stream.write_all(bytes));
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// One request, and the answer to it.
pub(crate) fn send(
    socket: &Path,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Reply> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: keyward\r\nconnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let answer = say(socket, &[request.as_bytes(), body].concat())?;
    let reply = parse(&answer).ok_or_else(|| io::Error::other(String::from_utf8_lossy(&answer)))?;
    crate::openapi::check(method, path, &reply);
    Ok(reply)
}

/// A request with a JSON body; none when it is null.
pub(crate) fn ask(socket: &Path, method: &str, path: &str, body: &Value) -> Reply {
    if body.is_null() {
        return send(socket, (method, path), &[], b"").unwrap();
    }
    let headers = [("content-type", "application/json")];
    send(socket, (method, path), &headers, body.to_string().as_bytes()).unwrap()
}

/// Waits until the broker says that it stands like this.
pub(crate) fn until(socket: &Path, state: &str) {
    for _ in 0..1500 {
        let reply = send(socket, ("GET", "/v1/state"), &[], b"");
        if reply.is_ok_and(|reply| reply.json()["state"] == state) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the broker did not become {state}");
}

fn parse(answer: &[u8]) -> Option<Reply> {
    let end = memchr::memmem::find(answer, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
    }
    Some(Reply { status, headers, body: answer[end + 4..].to_vec() })
}
