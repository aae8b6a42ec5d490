use axum::extract::Request;
use axum::http::uri::Scheme;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header};

use super::framing::FramingFault;
use crate::base::code;
use crate::base::limits::{HEADER_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX};
use crate::http::documents::problem::Problem;
use crate::wire::{IDEMPOTENCY_KEY_HEADER, OWNER_HEADER, SENSITIVITY_HEADER, WIDEN_HEADER};

/// Header fields that must not occur twice (RFC 9110 §5.3).
const ONCE: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    HeaderName::from_static(OWNER_HEADER),
    HeaderName::from_static(SENSITIVITY_HEADER),
    HeaderName::from_static(WIDEN_HEADER),
    HeaderName::from_static(IDEMPOTENCY_KEY_HEADER),
];

/// Checks that request line and header are unambiguous and within their limits.
pub(crate) fn check_head(request: &Request, takes_query: bool) -> Result<(), Problem> {
    let (uri, headers) = (request.uri(), request.headers());
    bounded(uri, headers)?;
    if request.version() == Version::HTTP_11 && !headers.contains_key(header::HOST) {
        return Err(Problem::new(code::HOST_MISSING));
    }
    match request.extensions().get::<FramingFault>() {
        Some(FramingFault::Lengths) => return Err(Problem::new(code::TRANSFER_ENCODING_INVALID)),
        Some(FramingFault::Fragment) => return Err(Problem::new(code::PATH_NOT_CANONICAL)),
        None => {}
    }
    if let Some(twice) = ONCE.iter().find(|name| headers.get_all(*name).iter().nth(1).is_some()) {
        let why = format!("the header `{twice}` occurs twice");
        return Err(Problem::new(code::HEADER_REPEATED).because(why));
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Problem::new(code::CONTENT_ENCODING_UNSUPPORTED));
    }
    if !is_canonical(uri.path()) || !is_of_origin(uri) {
        return Err(Problem::new(code::PATH_NOT_CANONICAL));
    }
    if uri.query().is_some() && !takes_query {
        return Err(Problem::new(code::QUERY_NOT_ALLOWED));
    }
    Ok(())
}

/// Whether a target is a path, optionally after `https` and a host (RFC 9112 §3.2.2). The host is not checked: the
/// certificate identifies the broker.
fn is_of_origin(uri: &Uri) -> bool {
    match (uri.scheme(), uri.authority()) {
        (None, None) => true,
        (Some(scheme), Some(authority)) => *scheme == Scheme::HTTPS && !authority.as_str().contains('@'),
        _ => false,
    }
}

/// Checks that request line and header are within their limits.
fn bounded(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > TARGET_BYTES_MAX {
        return Err(Problem::new(code::TARGET_TOO_LONG));
    }
    if headers.len() > HEADERS_MAX {
        return Err(Problem::new(code::TOO_MANY_HEADERS));
    }
    let field = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len().saturating_add(value.len());
    if headers.iter().map(field).fold(0, usize::saturating_add) > HEADER_BYTES_MAX {
        return Err(Problem::new(code::HEADERS_TOO_LARGE));
    }
    Ok(())
}

/// Each path has one spelling: the router matches the bytes of the request.
fn is_canonical(path: &str) -> bool {
    path.starts_with('/')
        && path
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'/' | b'-' | b'_' | b'.'))
        && path.split('/').skip(1).all(|segment| !matches!(segment, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hazard POL-04.
    #[test]
    fn paths_have_one_spelling() {
        for good in ["/livez", "/v1/secrets/github/app", "/.well-known/jwks.json", "/v1/agents/a-b"] {
            assert!(is_canonical(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "/",
            "//",
            "/v1//secrets",
            "/v1/secrets/../agents",
            "/v1/./a",
            "/v1/%2e%2e/a",
            "/v1/a;x=1",
            "/V1/secrets/a",
            "/v1/secrets/a/",
            "/v1\\secrets",
            "/v1/secrets/a%2fb",
            "/v1/secrets/\u{e9}",
            "/v1/a b",
            "/v1/a%00",
            "/v1/~a",
            "/v1/a+b",
            "/v1/a:b",
            "/v1/a@b",
            "/...%2f",
        ] {
            assert!(!is_canonical(bad), "{bad}");
        }
    }
}
