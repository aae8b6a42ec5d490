use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;

use super::input::JSON;
use crate::base::limits::DOCUMENTS_MAX_AGE_S;
use crate::http::documents::operation::OperationDocument;
use crate::wire::{Nothing, OpenMetrics, Pem, SecretValueBody, Text, Zip};

pub(crate) const OCTETS: &str = "application/octet-stream";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PEM: &str = "application/x-pem-file";
const TEXT: &str = "text/plain; charset=utf-8";
const ZIP: &str = "application/zip";

/// Longer than most responses; a longer one costs a copy.
const USUAL_BYTES: usize = 2048;

/// The documented response of an endpoint.
pub(crate) trait Answer: 'static {
    fn describe(document: &mut OperationDocument<'_>);
}

/// The return value of a handler for the response `A`.
pub(crate) trait IntoAnswer<A> {
    fn give(self, status: StatusCode) -> Response<Body>;
}

impl<A: Serialize + JsonSchema + 'static> Answer for A {
    fn describe(document: &mut OperationDocument<'_>) {
        document.answer::<A>(JSON);
    }
}

impl<A: Serialize + JsonSchema + 'static> IntoAnswer<A> for A {
    fn give(self, status: StatusCode) -> Response<Body> {
        json(status, &self)
    }
}

/// `value` as a JSON response.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let mut body = Vec::with_capacity(USUAL_BYTES);
    if serde_json::to_writer(&mut body, value).is_err() {
        body.clear();
    }
    bytes(status, JSON, body)
}

fn bytes(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

impl Answer for Nothing {
    fn describe(_: &mut OperationDocument<'_>) {}
}

impl IntoAnswer<Self> for Nothing {
    fn give(self, status: StatusCode) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response
    }
}

macro_rules! texts {
    ($($answer:ident as $kind:ident),*) => {$(
        impl Answer for $answer {
            fn describe(document: &mut OperationDocument<'_>) {
                document.answer::<String>($kind);
            }
        }

        impl IntoAnswer<Self> for $answer {
            fn give(self, status: StatusCode) -> Response<Body> {
                bytes(status, $kind, self.0)
            }
        }
    )*};
}

texts!(Text as TEXT, Pem as PEM, OpenMetrics as OPENMETRICS);

impl Answer for Zip {
    fn describe(document: &mut OperationDocument<'_>) {
        document.answer::<serde_json::Value>(ZIP);
    }
}

impl IntoAnswer<Self> for Zip {
    fn give(self, status: StatusCode) -> Response<Body> {
        bytes(status, ZIP, self.0)
    }
}

impl Answer for SecretValueBody {
    fn describe(document: &mut OperationDocument<'_>) {
        document.answer::<serde_json::Value>(OCTETS);
    }
}

/// A finished response.
pub(crate) struct ReadyResponse(pub(crate) Response<Body>);

impl<A: Answer> IntoAnswer<A> for ReadyResponse {
    fn give(self, _: StatusCode) -> Response<Body> {
        self.0
    }
}

/// A response with further headers.
pub(crate) struct WithHeaders<G> {
    pub(crate) answer: G,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl<A: Answer, G: IntoAnswer<A>> IntoAnswer<A> for WithHeaders<G> {
    fn give(self, status: StatusCode) -> Response<Body> {
        let mut response = self.answer.give(status);
        response.headers_mut().extend(self.headers);
        response
    }
}

/// The value of a secret as a response.
pub(crate) struct SecretBytes(pub(crate) Vec<u8>);

impl IntoAnswer<SecretValueBody> for SecretBytes {
    fn give(self, status: StatusCode) -> Response<Body> {
        bytes(status, OCTETS, self.0)
    }
}

/// Public documents may be cached for a minute, so that a rotation is seen in time.
pub(crate) fn cacheable<G>(answer: G) -> WithHeaders<G> {
    let age = HeaderValue::try_from(format!("public, max-age={DOCUMENTS_MAX_AGE_S}"));
    WithHeaders { answer, headers: age.map(|age| (header::CACHE_CONTROL, age)).into_iter().collect() }
}

/// The response is for one caller, and may be cached only by this caller.
pub(crate) fn private<G>(answer: G) -> WithHeaders<G> {
    let age = HeaderValue::from_static("private, max-age=60");
    WithHeaders { answer, headers: vec![(header::CACHE_CONTROL, age)] }
}
