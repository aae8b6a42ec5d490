use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Method;
use hyper::header::{self, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::super::declaration::TargetError;
use super::origin::{HttpOrigin, split};
use super::template::{Field, Filling, Spelling, Template};
use crate::base::encoding::base64;
use crate::base::limits::{UPSTREAM_HEADERS_MAX, UPSTREAM_STATUSES_MAX};

/// A declared request.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct DeclaredRequest {
    url: String,
    method: Option<Verb>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    bearer: Option<Stored>,
    basic: Option<Basic>,
    content_type: Option<String>,
    body: Option<String>,
    expect: Option<Vec<u16>>,
    refused: Option<Vec<u16>>,
}

/// Methods of requests.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
enum Verb {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

/// A stored value that authenticates a request.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Stored {
    Value,
    Current,
    Admin,
}

/// A name and a stored password (RFC 7617).
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
struct Basic {
    username: String,
    password: Stored,
}

/// The purpose of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// Sets a value that the broker made.
    Apply,
    /// Creates a value at the upstream.
    Create,
    /// Checks whether a value works.
    Verify,
    /// Revokes a value.
    Retire,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Create => "create",
            Self::Verify => "verify",
            Self::Retire => "retire",
        }
    }

    /// The available fields.
    const fn fields(self) -> &'static [Field] {
        match self {
            Self::Apply => &[Field::Value, Field::Current, Field::Admin, Field::Rotation],
            Self::Create => &[Field::Current, Field::Admin, Field::Rotation],
            Self::Verify => &[Field::Value],
            Self::Retire => &[Field::Value, Field::Current, Field::Admin, Field::Slot, Field::Rotation],
        }
    }

    const fn verb(self) -> Verb {
        match self {
            Self::Apply | Self::Create => Verb::Post,
            Self::Verify => Verb::Get,
            Self::Retire => Verb::Delete,
        }
    }

    /// The statuses of success.
    const fn expect(self) -> &'static [u16] {
        match self {
            Self::Apply => &[200, 201, 202, 204],
            Self::Create => &[200, 201],
            Self::Verify => &[200, 204],
            // A missing value is revoked.
            Self::Retire => &[200, 202, 204, 404, 410],
        }
    }
}

/// A checked request.
#[derive(Clone, Debug)]
pub(super) struct HttpRequest {
    /// The origin.
    pub(super) origin: HttpOrigin,
    /// The statuses of success.
    pub(super) expect: Vec<u16>,
    /// The statuses of a refused value.
    pub(super) refused: Vec<u16>,
    method: Method,
    path: Template,
    headers: Vec<(HeaderName, Template)>,
    login: Option<Login>,
    body: Option<Body>,
}

#[derive(Clone, Debug)]
struct Body {
    kind: HeaderValue,
    spelling: Spelling,
    template: Template,
}

#[derive(Clone, Debug)]
enum Login {
    Bearer(Field),
    Basic(String, Field),
}

/// A field of a declared request, and its problem.
type FieldFault = (&'static str, String);

/// Headers of the transport, and headers with their own fields in the declaration.
const OURS: [&str; 14] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Parts of names of headers with secret values.
const SECRETIVE: [&str; 6] = ["auth", "cookie", "key", "password", "secret", "token"];

impl DeclaredRequest {
    /// The checked request.
    ///
    /// # Errors
    /// [`TargetError`], with the field.
    pub(super) fn judged(&self, purpose: Purpose) -> Result<HttpRequest, TargetError> {
        let refuse = |field: &str, why: String| {
            let field = format!("{}.{field}", purpose.as_str());
            TargetError::at(&field, format!("`{field}`: {why}"))
        };
        let (origin, path) = split(&self.url).map_err(|why| refuse("url", why.to_owned()))?;
        let slots: Vec<Field> = purpose.fields().iter().copied().filter(|field| !field.is_secret()).collect();
        let path = Template::read(path, &slots).map_err(|why| {
            let is_secret = Template::read(path, purpose.fields()).is_ok();
            let secret = "no value goes into a URL, because proxies and servers log URLs";
            refuse("url", if is_secret { secret.to_owned() } else { why })
        })?;
        let verb = self.method.unwrap_or_else(|| purpose.verb());
        let mut headers = Vec::new();
        for (name, text) in &self.headers {
            headers.push(header(name, text, purpose).map_err(|why| refuse("headers", why))?);
        }
        if headers.len() > UPSTREAM_HEADERS_MAX {
            return Err(refuse("headers", format!("more than {UPSTREAM_HEADERS_MAX} headers")));
        }
        let login = self.login(purpose).map_err(|(field, why)| refuse(field, why))?;
        let body = self.body(verb, purpose).map_err(|(field, why)| refuse(field, why))?;
        let statuses = |field: &str, given: &Option<Vec<u16>>, usual: &[u16]| match given {
            None => Ok(usual.to_vec()),
            Some(given) => statuses(given).map_err(|why| refuse(field, why.to_owned())),
        };
        let expect = statuses("expect", &self.expect, purpose.expect())?;
        let refused = match purpose {
            Purpose::Verify => statuses("refused", &self.refused, &[401, 403])?,
            Purpose::Apply | Purpose::Create | Purpose::Retire if self.refused.is_some() => {
                return Err(refuse("refused", "it is only for `verify`".to_owned()));
            }
            Purpose::Apply | Purpose::Create | Purpose::Retire => Vec::new(),
        };
        if expect.iter().any(|status| refused.contains(status)) {
            return Err(refuse("expect", "a status is also in `refused`".to_owned()));
        }
        Ok(HttpRequest { origin, expect, refused, method: verb.method(), path, headers, login, body })
    }

    fn login(&self, purpose: Purpose) -> Result<Option<Login>, FieldFault> {
        let known = |named: &'static str, stored: Stored| {
            let field = stored.field();
            let is_known = purpose.fields().contains(&field);
            if is_known { Ok(field) } else { Err((named, format!("`{}` is not known here", field.as_str()))) }
        };
        match (self.bearer, &self.basic) {
            (Some(_), Some(_)) => Err(("basic", "it contradicts `bearer`: leave one of them out".to_owned())),
            (Some(stored), None) => Ok(Some(Login::Bearer(known("bearer", stored)?))),
            (None, Some(Basic { username, password })) => {
                if username.is_empty() || username.contains(':') || username.chars().any(char::is_control) {
                    return Err(("basic", "`username` is empty, or has a colon (RFC 7617 §2)".to_owned()));
                }
                Ok(Some(Login::Basic(username.clone(), known("basic", *password)?)))
            }
            (None, None) => Ok(None),
        }
    }

    fn body(&self, verb: Verb, purpose: Purpose) -> Result<Option<Body>, FieldFault> {
        let Some(text) = &self.body else {
            let lonely = self.content_type.is_some();
            return if lonely { Err(("content_type", "`body` is missing".to_owned())) } else { Ok(None) };
        };
        if matches!(verb, Verb::Get | Verb::Head) {
            return Err(("body", "GET and HEAD have no body".to_owned()));
        }
        let kind = self.content_type.as_deref().unwrap_or("application/json");
        let spelling = match kind {
            "application/x-www-form-urlencoded" => Spelling::Form,
            "text/plain" | "application/octet-stream" => Spelling::Plain,
            json if is_json(json) => Spelling::Json,
            _ => {
                let why = "allowed are `application/json`, `application/…+json`, `application/x-www-form-urlencoded`, \
                           `text/plain` and `application/octet-stream`";
                return Err(("content_type", why.to_owned()));
            }
        };
        let template = Template::read(text, purpose.fields()).map_err(|why| ("body", why))?;
        // The sample contains a string terminator: a field outside of a string breaks the document.
        let is_whole = |text: Zeroizing<Vec<u8>>| serde_json::from_slice::<serde_json::Value>(&text).is_ok();
        if spelling == Spelling::Json && !template.sampled("x\"y", spelling).is_some_and(is_whole) {
            return Err(("body", "it is not JSON with its fields inside of strings".to_owned()));
        }
        if spelling == Spelling::Form && !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(("body", "a form has only visible ASCII characters".to_owned()));
        }
        let kind = HeaderValue::from_str(kind);
        let kind = kind.map_err(|_| ("content_type", "it is not a content type".to_owned()))?;
        Ok(Some(Body { kind, spelling, template }))
    }
}

/// One header field, without a secret in clear text.
fn header(name: &str, text: &str, purpose: Purpose) -> Result<(HeaderName, Template), String> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).ok().filter(|parsed| parsed.as_str() == name);
    let parsed = parsed.ok_or("a name is not a header name in lower case")?;
    if OURS.contains(&name) {
        return Err("a header of the transport, or with its own field, cannot be a header here: \
                    use `bearer`, `basic`, `content_type`"
            .to_owned());
    }
    let template = Template::read(text, purpose.fields())?;
    if SECRETIVE.iter().any(|part| name.contains(part)) && !template.fields().any(|_| true) {
        return Err(
            "a header of this name holds a secret: use a field, never a value in clear text".to_owned()
        );
    }
    let sampled = template.sampled("x", Spelling::Plain);
    match sampled.map(|text| HeaderValue::from_bytes(&text)) {
        Some(Ok(_)) => Ok((parsed, template)),
        Some(Err(_)) | None => Err("a header has a character that headers cannot have".to_owned()),
    }
}

fn is_json(kind: &str) -> bool {
    let subtype = kind.strip_prefix("application/").unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+".contains(&byte);
    subtype == "json" || (subtype.ends_with("+json") && subtype.bytes().all(plain))
}

/// Final statuses; a redirect is not allowed.
fn statuses(given: &[u16]) -> Result<Vec<u16>, &'static str> {
    let is_final = |status: &u16| matches!(status, 200..=299 | 400..=599);
    if given.is_empty() || given.len() > UPSTREAM_STATUSES_MAX {
        return Err("declare 1 to 16 statuses");
    }
    if !given.iter().all(is_final) {
        return Err("allowed are 200 to 299 and 400 to 599: redirects are not followed");
    }
    Ok(given.to_vec())
}

impl Verb {
    fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Head => Method::HEAD,
            Self::Post => Method::POST,
            Self::Put => Method::PUT,
            Self::Patch => Method::PATCH,
            Self::Delete => Method::DELETE,
        }
    }
}

impl Stored {
    const fn field(self) -> Field {
        match self {
            Self::Value => Field::Value,
            Self::Current => Field::Current,
            Self::Admin => Field::Admin,
        }
    }
}

impl HttpRequest {
    /// Whether the request contains `field`.
    pub(super) fn uses(&self, field: Field) -> bool {
        let shown = match &self.login {
            Some(Login::Bearer(shown) | Login::Basic(_, shown)) => Some(*shown),
            None => None,
        };
        let templates = self.headers.iter().map(|(_, template)| template).chain([&self.path]);
        let templates = templates.chain(self.body.iter().map(|body| &body.template));
        shown == Some(field) || templates.flat_map(Template::fields).any(|used| used == field)
    }

    /// The request with the values of one call; `None` if a value is missing or cannot be encoded.
    pub(super) fn filled(&self, with: &Filling<'_>) -> Option<hyper::Request<Full<Bytes>>> {
        let text = |template: &Template, spelling| template.filled(with, spelling);
        let path = text(&self.path, Spelling::Plain)?;
        let mut request = hyper::Request::builder()
            .method(self.method.clone())
            .uri(path.as_slice())
            .header(header::HOST, &self.origin.authority)
            .header(header::USER_AGENT, "keyward")
            .header(header::ACCEPT, "*/*")
            .header(header::CONNECTION, "close");
        for (name, template) in &self.headers {
            request = request.header(name, sensitive(&text(template, Spelling::Plain)?)?);
        }
        if let Some(login) = &self.login {
            request = request.header(header::AUTHORIZATION, login.shown(with)?);
        }
        let mut bytes = Bytes::new();
        if let Some(Body { kind, spelling, template }) = &self.body {
            request = request.header(header::CONTENT_TYPE, kind);
            bytes = Bytes::copy_from_slice(&text(template, *spelling)?);
        }
        request.body(Full::new(bytes)).ok()
    }
}

impl Login {
    fn shown(&self, with: &Filling<'_>) -> Option<HeaderValue> {
        let text = match self {
            Self::Bearer(field) => [b"Bearer ".as_slice(), &with.of(*field)?].concat(),
            Self::Basic(username, field) => {
                let pair = Zeroizing::new([username.as_bytes(), b":", &with.of(*field)?].concat());
                format!("Basic {}", base64(&pair)).into_bytes()
            }
        };
        sensitive(&Zeroizing::new(text))
    }
}

/// A header value that libraries do not log; `None` if it contains a terminator.
fn sensitive(text: &[u8]) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
