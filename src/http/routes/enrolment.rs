use axum::body::Body;
use axum::extract::Request;
use axum::http::{Response, StatusCode};

use super::answers::answer;
use super::input::json;
use crate::base::Sensitive;
use crate::base::code;
use crate::base::encoding::from_base64url;
use crate::base::limits::BODY_BYTES_MAX;
use crate::broker::{EnrolInput, Enrolled, RenewInput};
use crate::http::documents::problem::Problem;
use crate::http::transport::listener::Peer;
use crate::pki::{AuthorityCertificate, SpiffeId, authorities_pem, certificate_pem};
use crate::wire::{EnrolBody, IdentityAnswer, RenewBody};

/// Reads a redemption of an enrolment code.
pub(crate) async fn enrol_input(request: Request, peer: &Peer) -> Result<EnrolInput, Problem> {
    let body: EnrolBody = json(request, BODY_BYTES_MAX).await?;
    let malformed = |what: &str| {
        let why = format!("`{what}` is not in the form that an enrolment takes");
        Problem::new(code::ENROLMENT_MALFORMED).because(why)
    };
    let secret = from_base64url(body.secret.value().expose()).map(zeroize::Zeroizing::new);
    let secret = secret.filter(|bytes| bytes.len() == 32).ok_or_else(|| malformed("secret"))?;
    Ok(EnrolInput {
        code: body.code_id.parse().map_err(|_| malformed("code_id"))?,
        secret: Sensitive::filled(|to| to.copy_from_slice(&secret)),
        request: from_base64url(&body.csr).ok_or_else(|| malformed("csr"))?,
        peer: peer.address,
    })
}

/// Reads a renewal.
pub(crate) async fn renew_input(request: Request, peer: &Peer) -> Result<RenewInput, Problem> {
    Ok(RenewInput { request: request_in(request).await?, peer: peer.address })
}

/// Reads a request for a certificate that comes alone.
pub(crate) async fn request_in(request: Request) -> Result<Vec<u8>, Problem> {
    let body: RenewBody = json(request, BODY_BYTES_MAX).await?;
    from_base64url(&body.csr).ok_or_else(|| Problem::new(code::RENEWAL_MALFORMED))
}

/// A certificate on its way to whoever asked for it.
pub(crate) fn identity(authorities: &[AuthorityCertificate], enrolled: &Enrolled) -> Response<Body> {
    let (mut agent, mut resource_server, mut operator) = (None, None, None);
    match &enrolled.spiffe {
        SpiffeId::Agent { name, .. } => agent = Some(name.to_string()),
        SpiffeId::ResourceServer { name, .. } => resource_server = Some(name.to_string()),
        SpiffeId::Operator { name, .. } => operator = Some(name.to_string()),
    }
    let answered = IdentityAnswer {
        agent,
        instance: enrolled.instance.map(|id| id.to_string()),
        resource_server,
        operator,
        spiffe_id: enrolled.spiffe.to_string(),
        certificate: certificate_pem(&enrolled.certificate),
        authority: authorities_pem(authorities),
        not_after: enrolled.not_after.to_string(),
    };
    answer(StatusCode::CREATED, &answered)
}
