use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::base::{code, io_reason};
use crate::console::Failure;

/// Opening a large ledger takes its time, and whoever has typed a passphrase wants to know.
const ANSWER_WAIT: Duration = Duration::from_secs(600);
const STANDING_WAIT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Asks the broker behind the socket on this host; without a `body`, with none.
pub(in crate::cli) async fn ask(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<Bytes>,
) -> Result<Value, Failure> {
    let asked = tokio::time::timeout(ANSWER_WAIT, exchange(socket, method, path, body)).await;
    let (status, body) = asked.map_err(|_| unreachable(socket, "it did not answer in time"))??;
    if !(200..300).contains(&status) {
        return Err(Failure::from_answer(status, &body));
    }
    serde_json::from_slice(&body)
        .map_err(|_| Failure::new(code::RESPONSE_INVALID).because("the broker's answer is not JSON"))
}

/// How the broker behind the socket on this host stands.
///
/// # Errors
/// [`Failure`]: it does not answer.
pub async fn host_standing(socket: &Path) -> Result<Value, Failure> {
    let asked = tokio::time::timeout(STANDING_WAIT, ask(socket, Method::GET, "/v1/state", None)).await;
    asked.unwrap_or_else(|_| Err(unreachable(socket, "it did not answer in time")))
}

async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<Bytes>,
) -> Result<(u16, Bytes), Failure> {
    let failed = |error: hyper::Error| unreachable(socket, &error.to_string());
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|error| unreachable(socket, &io_reason(&error)))?;
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "keyward");
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let request = request
        .body(Full::new(body.unwrap_or_default()))
        .map_err(|_| Failure::usage("a name holds characters that no name has", "use canonical names"))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(failed)?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    drop(sender);
    driver.abort();
    let body = body.map_err(|_| unreachable(socket, "its answer did not arrive whole"))?;
    Ok((status, body.to_bytes()))
}

fn unreachable(socket: &Path, why: &str) -> Failure {
    Failure::new(code::BROKER_UNREACHABLE)
        .because(format!("the broker at `{}` cannot be reached: {why}", socket.display()))
        .mended_by("see whether it runs, whether this is its host, and whether you are root")
}
