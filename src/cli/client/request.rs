use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::Value;

use crate::console::CommandFailure;
use crate::wire::{ApprovalsQuery, Endpoint, EntriesQuery, Method, Nothing, Optional, PageQuery, Target};

/// A request; it can be sent again.
#[derive(Clone)]
pub(super) struct ClientRequest {
    pub(super) method: Method,
    /// Path and query.
    pub(super) uri: String,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
    /// Whether its outcome is in doubt without a response.
    pub(super) leaves_doubt: bool,
}

/// The input of a request besides its path.
pub(crate) trait RequestInput {
    /// The query, with its question mark.
    fn query(&self) -> String {
        String::new()
    }

    /// The body in JSON.
    fn json(&self) -> Result<Option<Vec<u8>>, CommandFailure> {
        Ok(None)
    }
}

impl RequestInput for Nothing {}

impl<T: Serialize> RequestInput for Optional<T> {
    fn json(&self) -> Result<Option<Vec<u8>>, CommandFailure> {
        self.0.as_ref().map_or(Ok(None), RequestInput::json)
    }
}

impl<C: std::fmt::Display> RequestInput for PageQuery<C> {
    fn query(&self) -> String {
        self.text()
    }
}

impl RequestInput for ApprovalsQuery {
    fn query(&self) -> String {
        self.text()
    }
}

impl RequestInput for EntriesQuery {
    fn query(&self) -> String {
        let parameters = self.parameters();
        if parameters.is_empty() {
            return String::new();
        }
        form_urlencoded::Serializer::for_suffix("?".to_owned(), 1).extend_pairs(parameters).finish()
    }
}

impl<T: Serialize> RequestInput for T {
    fn json(&self) -> Result<Option<Vec<u8>>, CommandFailure> {
        serde_json::to_vec(self).map(Some).map_err(|_| unsendable("a body"))
    }
}

impl ClientRequest {
    pub(super) fn of<T: Target, I: RequestInput, A>(
        endpoint: Endpoint<T, I, A>,
        target: &T,
        input: &I,
    ) -> Result<Self, CommandFailure> {
        let mut request = Self::to(endpoint, target);
        request.uri.push_str(&input.query());
        Ok(match input.json()? {
            Some(body) => request.with_body("application/json", body.into()),
            None => request,
        })
    }

    /// A request without a body.
    pub(super) fn to<T: Target, I, A>(endpoint: Endpoint<T, I, A>, target: &T) -> Self {
        let (uri, leaves_doubt) = (endpoint.path_to(target), endpoint.leaves_doubt());
        Self { method: endpoint.method, uri, headers: Vec::new(), body: Bytes::new(), leaves_doubt }
    }

    pub(super) fn with_body(mut self, kind: &'static str, body: Bytes) -> Self {
        self.headers.push((header::CONTENT_TYPE, HeaderValue::from_static(kind)));
        self.body = body;
        self
    }

    /// Nothing of a form or of a header is left out without notice: without it the request means something else.
    pub(super) fn with_form(self, form: &impl Serialize) -> Result<Self, CommandFailure> {
        let Ok(Value::Object(fields)) = serde_json::to_value(form) else { return Err(unsendable("a form")) };
        let mut body = form_urlencoded::Serializer::new(String::new());
        for (name, value) in &fields {
            match value {
                Value::Null => {}
                Value::String(text) => {
                    body.append_pair(name, text);
                }
                Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                    return Err(unsendable("a field of a form"));
                }
            }
        }
        Ok(self.with_body("application/x-www-form-urlencoded", body.finish().into()))
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: Option<HeaderValue>) -> Self {
        self.headers.extend(value.map(|value| (name, value)));
        self
    }
}

/// A header value.
pub(super) fn header_value(text: &impl ToString) -> Result<HeaderValue, CommandFailure> {
    HeaderValue::from_str(&text.to_string()).map_err(|_| unsendable("a header"))
}

fn unsendable(part: &str) -> CommandFailure {
    CommandFailure::internal(&format!("{part} of the request cannot be written; nothing was sent"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::MINT_TOKEN;

    #[test]
    fn form_is_written_whole_or_refused() {
        let written = |form| ClientRequest::to(MINT_TOKEN, &Nothing).with_form(&form);
        let request = written(json!({ "a": "x y", "b": null, "c": "ä" })).unwrap();
        assert_eq!(request.body, "a=x+y&c=%C3%A4");
        for other in [json!(7), json!(true), json!(["x"]), json!({ "x": "y" })] {
            let refused = written(json!({ "a": "x", "b": other })).map(|request| request.body);
            assert_eq!(refused.unwrap_err().code(), "internal", "{other}");
        }
        assert!(written(json!("text")).is_err());
    }
}
