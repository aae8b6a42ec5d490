use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use serde::Serialize;

use crate::wire::{Endpoint, Method, Nothing, Optional, PageQuery, Target};

/// A request; it can be sent again.
#[derive(Clone)]
pub(super) struct ClientRequest {
    pub(super) method: Method,
    /// Path and query.
    pub(super) uri: String,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
}

/// The input of a request besides its path.
pub(crate) trait RequestInput {
    /// The query, with its question mark.
    fn query(&self) -> String {
        String::new()
    }

    /// The body in JSON.
    fn json(&self) -> Option<Vec<u8>> {
        None
    }
}

impl RequestInput for Nothing {}

impl<T: Serialize> RequestInput for Optional<T> {
    fn json(&self) -> Option<Vec<u8>> {
        self.0.as_ref()?.json()
    }
}

impl<C: std::fmt::Display> RequestInput for PageQuery<C> {
    fn query(&self) -> String {
        self.text()
    }
}

impl<T: Serialize> RequestInput for T {
    fn json(&self) -> Option<Vec<u8>> {
        Some(serde_json::to_vec(self).unwrap_or_default())
    }
}

impl ClientRequest {
    pub(super) fn of<T: Target, I: RequestInput, A>(
        endpoint: Endpoint<T, I, A>,
        target: &T,
        input: &I,
    ) -> Self {
        let mut request = Self::to(endpoint, target);
        request.uri.push_str(&input.query());
        match input.json() {
            Some(body) => request.with_body("application/json", body.into()),
            None => request,
        }
    }

    /// A request without a body.
    pub(super) fn to<T: Target, I, A>(endpoint: Endpoint<T, I, A>, target: &T) -> Self {
        let uri = endpoint.path_to(target);
        Self { method: endpoint.method, uri, headers: Vec::new(), body: Bytes::new() }
    }

    pub(super) fn with_body(mut self, kind: &'static str, body: Bytes) -> Self {
        self.headers.push((header::CONTENT_TYPE, HeaderValue::from_static(kind)));
        self.body = body;
        self
    }

    pub(super) fn with_form(self, form: &impl Serialize) -> Self {
        let fields = serde_json::to_value(form).unwrap_or_default();
        let fields = fields.as_object().into_iter().flatten();
        let pairs = fields.filter_map(|(name, value)| Some((name, value.as_str()?)));
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        self.with_body("application/x-www-form-urlencoded", body.into())
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: Option<HeaderValue>) -> Self {
        self.headers.extend(value.map(|value| (name, value)));
        self
    }
}

/// A header value; `None` for text that a header cannot contain.
pub(super) fn header_value(text: &impl ToString) -> Option<HeaderValue> {
    HeaderValue::from_str(&text.to_string()).ok()
}
