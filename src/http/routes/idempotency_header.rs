use axum::http::header;
use axum::http::request::Parts;

use crate::base::code;
use crate::base::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use crate::http::documents::problem::Problem;
use crate::http::route::Route;
use crate::idempotency::IdempotentRequest;
use crate::wire::{IDEMPOTENCY_KEY_HEADER, OWNER_HEADER, SENSITIVITY_HEADER, WIDEN_HEADER};

/// The idempotency key of a request, and its input besides the body.
pub(crate) struct IdempotencyHeader(Option<Box<Keyed>>);

struct Keyed {
    key: String,
    route: String,
    target: String,
}

impl IdempotencyHeader {
    pub(crate) fn of(parts: &Parts, route: &Route) -> Result<Self, Problem> {
        let Some(key) = parts.headers.get(IDEMPOTENCY_KEY_HEADER) else { return Ok(Self(None)) };
        let key = key.to_str().map_err(|_| Problem::new(code::IDEMPOTENCY_KEY_INVALID))?;
        let is_good = (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len());
        if !is_good || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Problem::new(code::IDEMPOTENCY_KEY_INVALID));
        }
        let route = format!("{} {}", route.method, route.path);
        // All input of a handler identifies the request, also what is not in the body.
        let said =
            |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (owner, sensitivity) = (said(OWNER_HEADER), said(SENSITIVITY_HEADER));
        let (is, is_not) = (said(header::IF_MATCH.as_str()), said(header::IF_NONE_MATCH.as_str()));
        // At the end, and nothing without it: remembered requests of an earlier version have none.
        let widen = said(WIDEN_HEADER);
        let widen = if widen.is_empty() { String::new() } else { format!(" {widen}") };
        let target = format!("{} {owner} {sensitivity} {is} {is_not}{widen}", parts.uri.path());
        Ok(Self(Some(Box::new(Keyed { key: key.to_owned(), route, target }))))
    }

    /// The identity of the request with this `body`, if it has an idempotency key.
    pub(crate) fn request<'a>(&'a self, body: &'a [u8]) -> Option<IdempotentRequest<'a>> {
        let Keyed { key, route, target } = self.0.as_deref()?;
        Some(IdempotentRequest { key, route, target, body })
    }

    /// The header together with the body.
    pub(crate) fn with_body(self, body: &[u8]) -> OwnedIdempotentRequest {
        OwnedIdempotentRequest { header: self, body: body.to_vec() }
    }
}

/// The idempotency key of a request, if it has one, and all that the request says.
pub(crate) struct OwnedIdempotentRequest {
    header: IdempotencyHeader,
    body: Vec<u8>,
}

impl OwnedIdempotentRequest {
    pub(crate) fn request(&self) -> Option<IdempotentRequest<'_>> {
        self.header.request(&self.body)
    }
}
