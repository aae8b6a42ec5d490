use axum::http::request::Parts;
use axum::http::{HeaderName, header};

use crate::base::code;
use crate::base::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use crate::http::documents::problem::Problem;
use crate::http::transport::edge::{OWNER, SENSITIVITY};
use crate::idempotency::Request;

/// The header by which a caller names a request (draft-ietf-httpapi-idempotency-key-header).
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The routes that carry a request with a key out once.
pub const ONCE_ROUTES: [(&str, &str); 32] = [
    ("POST", "/oauth/token"),
    ("POST", "/v1/leases"),
    ("POST", "/v1/apply"),
    ("POST", "/v1/agents/{name}/invitations"),
    ("POST", "/v1/agents/{name}/revoke"),
    ("POST", "/v1/agents/{name}/suspend"),
    ("POST", "/v1/agents/{name}/resume"),
    ("POST", "/v1/instances/{id}/revoke"),
    ("POST", "/v1/certificates/{serial}/revoke"),
    ("POST", "/v1/tokens/{id}/revoke"),
    ("POST", "/v1/operators/{name}/invitations"),
    ("PUT", "/v1/operators/{name}/role"),
    ("POST", "/v1/operators/{name}/revoke"),
    ("POST", "/v1/operators/{name}/suspend"),
    ("POST", "/v1/operators/{name}/resume"),
    ("PUT", "/v1/secrets/{*name}"),
    ("POST", "/v1/secret-versions/{*name}"),
    ("POST", "/v1/value-key/rotate"),
    ("POST", "/v1/rotations/{*name}"),
    ("POST", "/v1/secret-sensitivity/{*name}"),
    ("POST", "/v1/rotation-adoptions/{*name}"),
    ("POST", "/v1/lease-endings"),
    ("POST", "/v1/lease-retries"),
    ("POST", "/v1/leases/{id}/forget"),
    ("POST", "/v1/authorities"),
    ("POST", "/v1/authorities/{generation}/activate"),
    ("POST", "/v1/authorities/{generation}/taint"),
    ("POST", "/v1/authorities/{generation}/revoke"),
    ("POST", "/v1/token-keys"),
    ("POST", "/v1/token-keys/{generation}/activate"),
    ("POST", "/v1/token-keys/{generation}/revoke"),
    ("POST", "/v1/checkpoint-key/rotate"),
];

/// The routes on which a request can be repeated by its nature: a key adds nothing, and does no harm.
/// Every other one that changes something is in [`ONCE_ROUTES`].
pub const SAFE_ROUTES: [(&str, &str); 13] = [
    ("POST", "/v1/clock/accept"),
    ("POST", "/v1/enrol"),
    ("POST", "/v1/renew"),
    ("POST", "/oauth/revoke"),
    ("POST", "/oauth/introspect"),
    ("POST", "/v1/plan"),
    ("POST", "/v1/plan-checks/{*name}"),
    ("POST", "/v1/rotation-checks/{*name}"),
    ("POST", "/v1/leases/{id}/renew"),
    ("POST", "/v1/leases/{id}/give-up"),
    ("POST", "/v1/seal"),
    ("POST", "/v1/unseal"),
    ("POST", "/v1/break-glass"),
];

/// Which line of the route table a request that names itself is on, as the table has it.
#[derive(Clone, Copy)]
struct OnRoute(&'static str);

/// Tells a request that names itself which line of the route table it is on.
pub(crate) fn put_on_route(request: &mut axum::extract::Request, route: &'static str) {
    if request.headers().contains_key(IDEMPOTENCY_KEY) {
        request.extensions_mut().insert(OnRoute(route));
    }
}

/// A request's name for itself, if it has one.
pub(crate) struct Repeat(Option<Box<Named>>);

struct Named {
    key: String,
    route: String,
    target: String,
}

impl Repeat {
    /// What a request says of itself.
    pub(crate) fn of(parts: &Parts) -> Result<Self, Problem> {
        let Some(key) = parts.headers.get(IDEMPOTENCY_KEY) else { return Ok(Self(None)) };
        let key = key.to_str().map_err(|_| Problem::new(code::IDEMPOTENCY_KEY_INVALID))?;
        let is_good = (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len());
        if !is_good || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Problem::new(code::IDEMPOTENCY_KEY_INVALID));
        }
        let OnRoute(route) = parts.extensions.get().copied().unwrap_or(OnRoute(""));
        let route = format!("{} {route}", parts.method);
        // Whatever a handler takes from elsewhere than the body is part of the request.
        let said = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (owner, is, is_not) = (said(OWNER), said(header::IF_MATCH), said(header::IF_NONE_MATCH));
        let sensitivity = said(SENSITIVITY);
        let target = format!("{} {owner} {sensitivity} {is} {is_not}", parts.uri.path());
        Ok(Self(Some(Box::new(Named { key: key.to_owned(), route, target }))))
    }

    /// The request with this `body`, when it named itself.
    pub(crate) fn request<'a>(&'a self, body: &'a [u8]) -> Option<Request<'a>> {
        let Named { key, route, target } = self.0.as_deref()?;
        Some(Request { key, route, target, body })
    }
}
