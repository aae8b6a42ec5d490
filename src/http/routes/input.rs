use std::collections::BTreeMap;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::client_id::BasicClient;
use super::form::parse_form;
use super::repeat::Repeat;
use crate::authn::{AgentPrincipal, AuthnError, RenewingAgent, ResourceServerPrincipal};
use crate::base::code;
use crate::base::limits::LIST_ITEMS_MAX;
use crate::base::{IdError, NameError, Sensitive};
use crate::broker::{AgentDesk, Page};
use crate::http::documents::problem::Problem;
use crate::http::transport::edge::read_body;
use crate::http::transport::listener::Peer;
use crate::idempotency::Once;
use crate::pki::{PeerCertificate, Serial, SerialError, SpiffeId};
use crate::registry::Held;
use crate::wire::Object;
use std::sync::Arc;

/// The paths of lists that come in parts.
pub(crate) const LISTS: [&str; 6] =
    ["/v1/agents", "/v1/capabilities", "/v1/operators", "/v1/roles", "/v1/rotations", "/v1/secrets"];

/// The part of a list that a request asks for: `?after=NAME&limit=N`.
pub(crate) struct Wanted(pub(crate) Page);

impl<S: Sync> FromRequestParts<S> for Wanted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let mut page = Page::default();
        let refused = || Problem::new(code::QUERY_INVALID);
        for (field, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            match field.as_ref() {
                "after" => page.after = Some(value.into_owned()),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=LIST_ITEMS_MAX).contains(limit));
                    page.limit = limit.ok_or_else(refused)?;
                }
                _ => return Err(refused()),
            }
        }
        Ok(Self(page))
    }
}

/// The certificate of the connection, on routes that need one.
pub(crate) struct Certified(pub(crate) Arc<PeerCertificate>);

impl<S: Sync> FromRequestParts<S> for Certified {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<Peer>();
        let certificate = peer.and_then(|peer| peer.certificate.clone());
        certificate.map(Self).ok_or_else(|| Problem::new(code::CERTIFICATE_REQUIRED))
    }
}

/// The agent behind the connection, judged now. The only way for a handler to have one.
pub(crate) struct Agent {
    pub(crate) principal: AgentPrincipal,
    repeat: Repeat,
}

impl Agent {
    /// What its request, with this body, is known again by, when it named itself.
    pub(crate) fn once(&self, desk: &AgentDesk, body: &[u8]) -> Option<Once> {
        self.repeat.request(body).map(|request| desk.once(&self.principal, &request))
    }
}

impl FromRequestParts<AgentDesk> for Agent {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &AgentDesk) -> Result<Self, Problem> {
        let Certified(certificate) = Certified::from_request_parts(parts, desk).await?;
        let mut principal = desk.identify(&certificate)?;
        if principal.held() == Held::Next {
            desk.promote(&certificate).await?;
            principal = desk.identify(&certificate)?;
        }
        let repeat = Repeat::of(parts)?;
        Ok(Self { principal, repeat })
    }
}

/// The resource server behind the connection, judged now. The only way for a handler to have one.
pub(crate) struct ResourceServer {
    pub(crate) principal: ResourceServerPrincipal,
    pub(crate) certificate: Arc<PeerCertificate>,
}

impl FromRequestParts<AgentDesk> for ResourceServer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &AgentDesk) -> Result<Self, Problem> {
        let Certified(certificate) = Certified::from_request_parts(parts, desk).await?;
        let identify = || match desk.identify_resource_server(&certificate) {
            // Whoever has come this far without being one is an agent.
            Err(AuthnError::WrongKind) => Err(Problem::new(code::INTROSPECTION_NOT_ALLOWED)),
            found => Ok(found?),
        };
        let mut principal = identify()?;
        if principal.held() == Held::Next {
            desk.promote(&certificate).await?;
            principal = identify()?;
        }
        Ok(Self { principal, certificate })
    }
}

/// Either of them.
pub(crate) enum Enrolled {
    Agent(Agent),
    ResourceServer(ResourceServer),
}

impl FromRequestParts<AgentDesk> for Enrolled {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &AgentDesk) -> Result<Self, Problem> {
        let Certified(certificate) = Certified::from_request_parts(parts, desk).await?;
        match certificate.spiffe() {
            SpiffeId::ResourceServer { .. } => {
                ResourceServer::from_request_parts(parts, desk).await.map(Self::ResourceServer)
            }
            SpiffeId::Agent { .. } | SpiffeId::Operator { .. } => {
                Agent::from_request_parts(parts, desk).await.map(Self::Agent)
            }
        }
    }
}

/// An agent or a resource server that may renew, judged now: its certificate may have ended within the grace. The
/// only way for a handler to have one.
pub(crate) struct Renewing(pub(crate) RenewingAgent);

impl FromRequestParts<AgentDesk> for Renewing {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &AgentDesk) -> Result<Self, Problem> {
        let Certified(certificate) = Certified::from_request_parts(parts, desk).await?;
        let mut renewing = desk.identify_renewing(&certificate)?;
        if renewing.held() == Held::Next {
            desk.promote(&certificate).await?;
            renewing = desk.identify_renewing(&certificate)?;
        }
        Ok(Self(renewing))
    }
}

/// Reads and parses a JSON body: of our content type, without unknown, repeated or mistyped fields.
pub(crate) async fn json<T: DeserializeOwned>(request: Request, limit: usize) -> Result<T, Problem> {
    parse_json(&body(request, JSON, limit).await?)
}

/// The content type of JSON.
pub(crate) const JSON: &str = "application/json";
/// The content type of a form.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
/// The content type of bytes as they are.
pub(crate) const BYTES: &str = "application/octet-stream";

/// Reads a body of this content type.
///
/// Lets go of the header at once: as an `async fn` it would keep one more place for a whole request in the
/// memory of whatever waits for it.
pub(crate) fn body(
    request: Request,
    kind: &'static str,
    limit: usize,
) -> impl Future<Output = Result<Sensitive<Vec<u8>>, Problem>> + Send {
    let is_wanted = content_type(request.headers(), kind);
    let body = request.into_body();
    async move {
        is_wanted?;
        read_body(body, limit).await
    }
}

/// Parses a JSON body: without unknown, repeated or mistyped fields.
pub(crate) fn parse_json<T: DeserializeOwned>(body: &Sensitive<Vec<u8>>) -> Result<T, Problem> {
    serde_json::from_slice(body.expose()).map(|Object(parsed)| parsed).map_err(|error| {
        let why = format!(
            "the body is not the JSON that this route takes: {} at line {}, column {}",
            fault(&error),
            error.line(),
            error.column()
        );
        Problem::new(code::JSON_INVALID).because(why)
    })
}

/// What is wrong with it, without quoting it.
fn fault(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    match error.classify() {
        Category::Syntax => "it is not JSON".to_owned(),
        Category::Eof => "it ends too early".to_owned(),
        Category::Io => "it could not be read".to_owned(),
        Category::Data => {
            let text = error.to_string();
            if text.starts_with("unknown field") {
                "unknown field".to_owned()
            } else if text.starts_with("duplicate field") {
                "repeated field".to_owned()
            } else if let Some(rest) = text.strip_prefix("missing field `") {
                // The name is ours, not the caller's.
                format!("missing field `{}`", rest.split('`').next().unwrap_or_default())
            } else {
                "a field has the wrong type or form".to_owned()
            }
        }
    }
}

/// Reads a form body whose fields come at most once each. Fields that nobody asked for are left
/// to lie, as OAuth wants it (RFC 6749 §3.2).
/// A client that is named beside its certificate has to be the holder of `client`; a resource server is none.
pub(crate) async fn form(
    request: Request,
    client: Option<&PeerCertificate>,
    limit: usize,
) -> Result<BTreeMap<String, String>, Problem> {
    let named = client.map(|_| BasicClient::of(request.headers())).transpose()?;
    let body = body(request, FORM, limit).await?;
    let fields = parse_form(&body)?;
    if let (Some(named), Some(certificate)) = (named, client) {
        named.is_holder_of(certificate, &fields)?;
    }
    Ok(fields.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
}

fn content_type(headers: &HeaderMap, wanted: &'static str) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (kind, parameter) = given.split_once(';').unwrap_or((given, ""));
    // A value may be quoted (RFC 9110 §8.3.1).
    let is_utf_8 = parameter.trim().split_once('=').is_some_and(|(name, value)| {
        let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
        name.eq_ignore_ascii_case("charset") && value.eq_ignore_ascii_case("utf-8")
    });
    if kind.trim().eq_ignore_ascii_case(wanted) && (is_utf_8 || parameter.trim().is_empty()) {
        return Ok(());
    }
    let why = format!("this route takes `{wanted}`");
    Err(Problem::new(code::CONTENT_TYPE_UNSUPPORTED).because(why))
}

/// A canonical name out of the path or the body.
pub(crate) fn name<N: FromStr<Err = NameError>>(text: &str) -> Result<N, Problem> {
    text.parse().map_err(|error: NameError| {
        let fix = format!("use {}", error.rule());
        Problem::new(code::NAME_NOT_CANONICAL).because(error.to_string()).mended_by(fix)
    })
}

/// A canonical id out of the path.
pub(crate) fn id<I: FromStr<Err = IdError>>(text: &str) -> Result<I, Problem> {
    text.parse().map_err(|error: IdError| Problem::new(code::ID_NOT_CANONICAL).because(error.to_string()))
}

/// A serial out of the path.
pub(crate) fn serial(text: &str) -> Result<Serial, Problem> {
    text.parse().map_err(|error: SerialError| Problem::new(code::ID_NOT_CANONICAL).because(error.to_string()))
}

/// The bearer token of the `Authorization` header (RFC 6750 §2.1), and of nowhere else.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| value.split_once(' ')).and_then(|(scheme, token)| {
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
    });
    token.ok_or_else(|| Problem::new(code::TOKEN_MISSING))
}
