use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};

/// The challenge parameter that names the broker's metadata as a protected resource (RFC 9728 §5.1), from which a client
/// learns where to get a token.
pub(crate) fn pointed_to(issuer: &str, mut response: Response<Body>) -> Response<Body> {
    let given = response.headers().get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
    let challenge = match given {
        // The first parameter follows without a comma.
        Some("Bearer") => "Bearer ".to_owned(),
        Some(given) if given.starts_with("Bearer ") => format!("{given}, "),
        Some(_) if response.status() == StatusCode::UNAUTHORIZED => "Bearer ".to_owned(),
        Some(_) | None => return response,
    };
    let whole = format!("{challenge}resource_metadata=\"{issuer}/.well-known/oauth-protected-resource\"");
    if let Ok(whole) = HeaderValue::from_str(&whole) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, whole);
    }
    response
}
