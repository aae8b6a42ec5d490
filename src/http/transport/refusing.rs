//! Connections that get a refusal for an answer. The peer has proved its certificate; no request of it is carried out.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::connections::ConnectionSlot;
use crate::base::code::{self, Code};
use crate::base::{Connection, RequestId};
use crate::http::documents::problem::{Problem, ProblemForm};
use crate::pki::PeerCertificate;
use crate::pki::tls::{Gate, PeerRefusal};

/// The reason to refuse every request of a connection.
pub(super) enum ConnectionRefusal {
    /// A reason that the peer is told.
    Told(Code),
    /// The certificate is refused now, and was not at the handshake: the next handshake says why.
    Untold,
}

/// Makes a connection authenticated if the client has `shown` a certificate. Gives the certificate.
///
/// # Errors
/// [`ConnectionRefusal`].
pub(super) fn admit(
    shown: Option<&[CertificateDer<'_>]>,
    connection: Connection,
    slot: &mut ConnectionSlot,
    gate: &dyn Gate,
) -> Result<Option<Arc<PeerCertificate>>, ConnectionRefusal> {
    let Some(leaf) = shown.and_then(<[_]>::first) else { return Ok(None) };
    // The handshake has checked it before; a certificate that is not read identifies no client.
    let peer = PeerCertificate::parse(leaf).map_err(|_| ConnectionRefusal::Untold)?;
    let peer = peer.presented_on(connection);
    if !slot.keep(peer.serial()) {
        return Err(ConnectionRefusal::Told(code::TOO_MANY_CONNECTIONS));
    }
    if gate.admits(&peer) || gate.admits_late(&peer) {
        return Ok(Some(Arc::new(peer)));
    }
    // The handshake admitted the certificate, and did not know the address.
    gate.connection_refused(&peer);
    Err(match gate.cause(&peer) {
        PeerRefusal::Suspended => ConnectionRefusal::Told(code::NETWORK_CONTAINED),
        PeerRefusal::OutOfTime
        | PeerRefusal::WrongKind
        | PeerRefusal::Authority
        | PeerRefusal::Unknown
        | PeerRefusal::Revoked => ConnectionRefusal::Untold,
    })
}

/// Answers each request with `code`, and asks for the end of the connection. `name` makes request ids.
pub(super) fn refusing(code: Code, name: impl Fn() -> RequestId + Clone + Send + Sync + 'static) -> Router {
    Router::new().fallback(move |request: Request<Body>| {
        let refused = refused(code, request.uri().path(), name());
        async move { refused }
    })
}

fn refused(code: Code, path: &str, id: RequestId) -> Response<Body> {
    let mut response = Problem::new(code).in_form(ProblemForm::of_path(path)).of_request(id).write_out();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
