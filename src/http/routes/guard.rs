use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::routing::{MethodRouter, get, post, put};
use serde::de::DeserializeOwned;

use super::input::{Certified, JSON, body, parse_json};
use super::repeat::Repeat;
use crate::broker::AdminDesk;
use crate::http::documents::problem::Problem;
use crate::http::route::{Caller, Route, route};
use crate::idempotency::Once;
use crate::pki::PeerCertificate;
use crate::policy::{Authorised, Right};

/// The operator behind the connection, judged now and let do `R`. The only way for a handler to have
/// one.
pub(crate) struct Operator<R> {
    pub(crate) authorised: Authorised<R>,
    pub(crate) certificate: Arc<PeerCertificate>,
    repeat: Repeat,
}

impl<R> Operator<R> {
    /// What its request, with this body, is known again by, when it named itself.
    pub(crate) fn once(&self, desk: &AdminDesk, body: &[u8]) -> Option<Once> {
        self.repeat.request(body).map(|request| desk.once(self.authorised.operator(), &request))
    }
}

impl<R> Operator<R> {
    /// The JSON of its request, and what the request is known again by, when it named itself.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        desk: &AdminDesk,
        request: Request,
        bytes_max: usize,
    ) -> Result<(T, Option<Once>), Problem> {
        let body = body(request, JSON, bytes_max).await?;
        let once = self.once(desk, body.expose());
        Ok((parse_json(&body)?, once))
    }
}

impl<R: Right> FromRequestParts<AdminDesk> for Operator<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &AdminDesk) -> Result<Self, Problem> {
        let Certified(certificate) = Certified::from_request_parts(parts, desk).await?;
        let authorised = desk.authorise(&certificate).await?;
        let repeat = Repeat::of(parts)?;
        Ok(Self { authorised, certificate, repeat })
    }
}

/// A line of the operators' route table. What it needs is what the handler takes: the two cannot
/// differ, and a handler that takes no [`Operator`] makes no line.
pub(crate) fn operator<R, H, T>(
    method: &'static str,
    path: &'static str,
    handler: H,
) -> (Route, MethodRouter<AdminDesk>)
where
    R: Right,
    H: Handler<T, AdminDesk>,
    T: Guarded<R> + 'static,
{
    let handled = match method {
        "GET" => get(handler),
        "PUT" => put(handler),
        _ => post(handler),
    };
    (route(method, path, Caller::Operator(R::NEED)), handled)
}

/// Arguments of a handler, an operator that may do `R` among the first of them.
pub(crate) trait Guarded<R> {}

impl<M, R> Guarded<R> for (M, State<AdminDesk>, Operator<R>) {}
impl<M, R, A> Guarded<R> for (M, State<AdminDesk>, Operator<R>, A) {}
impl<M, R, A, B> Guarded<R> for (M, State<AdminDesk>, Operator<R>, A, B) {}
