use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;

use crate::base::code::{self, Code, CodeClass};
use crate::base::limits::COME_BACK_AFTER_S;
use crate::base::{CapabilityName, OperatorName, OwnerName, RequestId};
use crate::broker::Failure;
use crate::wire::{GET_OWN_APPROVAL, NextStepBody, OAuthBody, ProblemBody, SmallerRequestBody, details_with};

/// A refusal as a response: problem details (RFC 9457), or OAuth's format on OAuth routes.
///
/// The only mapping of failures to status codes. Contains no values of the input.
#[derive(Clone, Debug)]
pub struct Problem {
    failure: Failure,
    status: StatusCode,
    form: ProblemForm,
    request_id: Option<RequestId>,
    /// The scope of a sufficient token, for the challenge (RFC 6750 §3); only capabilities of the caller.
    scope: Option<String>,
    /// The operator whose request it refuses, for the log.
    operator: Option<OperatorName>,
}

/// The format of a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ProblemForm {
    /// RFC 9457.
    Problem,
    /// RFC 6749 §5.2.
    OAuth,
}

impl ProblemForm {
    pub(crate) fn of_path(path: &str) -> Self {
        if path.starts_with("/oauth/") { Self::OAuth } else { Self::Problem }
    }
}

impl Problem {
    /// A refusal before any use case.
    pub(crate) fn new(code: Code) -> Self {
        Failure::new(code).into()
    }

    /// With a more precise problem than the code's.
    #[must_use]
    pub(crate) fn because(mut self, why: impl Into<Cow<'static, str>>) -> Self {
        self.failure = self.failure.because(why);
        self
    }

    /// With a more precise fix than the code's.
    #[must_use]
    pub(crate) fn mended_by(mut self, fix: impl Into<Cow<'static, str>>) -> Self {
        self.failure = self.failure.mended_by(fix);
        self
    }

    /// With the format of the route.
    #[must_use]
    pub(crate) fn in_form(mut self, form: ProblemForm) -> Self {
        self.form = form;
        if form == ProblemForm::OAuth && self.failure.code == code::APPROVAL_UNKNOWN {
            self.status = StatusCode::BAD_REQUEST;
        }
        self
    }

    /// With a failure that says more.
    #[must_use]
    pub(crate) fn saying(mut self, more: impl FnOnce(Failure) -> Failure) -> Self {
        self.failure = more(self.failure);
        self
    }

    /// As an operator with this owner is told it.
    #[must_use]
    pub(crate) fn within(mut self, owner: &OwnerName) -> Self {
        self.failure = self.failure.within(owner);
        self
    }

    /// With the request id.
    #[must_use]
    pub(crate) fn of_request(mut self, id: RequestId) -> Self {
        self.request_id = Some(id);
        self
    }

    /// With the scope of a sufficient token in the challenge.
    #[must_use]
    pub(crate) fn for_scope(mut self, scope: Vec<String>) -> Self {
        self.scope = (!scope.is_empty()).then(|| scope.join(" "));
        self
    }

    fn oauth_error(&self) -> &'static str {
        if let Some((_, error)) = OAUTH_ERRORS.iter().find(|(code, _)| *code == self.failure.code) {
            return error;
        }
        match self.failure.code.sort() {
            CodeClass::Unauthenticated => "invalid_client",
            CodeClass::Denied => "unauthorized_client",
            CodeClass::NotGranted | CodeClass::InvalidScope => "invalid_scope",
            CodeClass::InvalidTarget => "invalid_target",
            CodeClass::Limited | CodeClass::Full | CodeClass::Unavailable => "temporarily_unavailable",
            CodeClass::Internal
            | CodeClass::NotStarted
            | CodeClass::Local
            | CodeClass::Unverified
            | CodeClass::Partial => "server_error",
            CodeClass::InvalidDetails => "invalid_authorization_details",
            CodeClass::UnsupportedGrant => "unsupported_grant_type",
            CodeClass::UnsupportedResponse => "unsupported_response_type",
            CodeClass::Invalid | CodeClass::NotFound | CodeClass::Conflict | CodeClass::Usage => {
                "invalid_request"
            }
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self {
            status: status(failure.code),
            failure,
            form: ProblemForm::Problem,
            request_id: None,
            scope: None,
            operator: None,
        }
    }
}

/// The codes with their own OAuth error.
const OAUTH_ERRORS: [(Code, &str); 10] = [
    (code::APPROVAL_REQUIRED, "approval_required"),
    (code::APPROVAL_PENDING, "authorization_pending"),
    (code::DEVICE_POLL_TOO_FAST, "slow_down"),
    (code::APPROVAL_DENIED, "access_denied"),
    (code::APPROVAL_EXPIRED, "expired_token"),
    (code::APPROVAL_USED, "invalid_grant"),
    (code::APPROVAL_WITHDRAWN, "invalid_grant"),
    (code::APPROVAL_UNKNOWN, "invalid_grant"),
    (code::APPROVAL_OF_ANOTHER_AGENT, "invalid_grant"),
    (code::APPROVER_INELIGIBLE, "invalid_grant"),
];

/// The codes with their own HTTP status.
const STATUSES: [(Code, StatusCode); 22] = [
    // Errors of a token request have the status 400 (RFC 6749 §5.2, RFC 8628 §3.5).
    (code::APPROVAL_REQUIRED, StatusCode::BAD_REQUEST),
    (code::APPROVAL_PENDING, StatusCode::BAD_REQUEST),
    (code::APPROVAL_DENIED, StatusCode::BAD_REQUEST),
    (code::APPROVAL_EXPIRED, StatusCode::BAD_REQUEST),
    (code::APPROVAL_USED, StatusCode::BAD_REQUEST),
    (code::APPROVAL_WITHDRAWN, StatusCode::BAD_REQUEST),
    (code::APPROVAL_REQUEST_DIFFERS, StatusCode::BAD_REQUEST),
    (code::APPROVAL_OF_ANOTHER_AGENT, StatusCode::BAD_REQUEST),
    (code::APPROVER_INELIGIBLE, StatusCode::BAD_REQUEST),
    (code::APPROVAL_VOTE_INCOMPLETE, StatusCode::BAD_REQUEST),
    (code::DEVICE_POLL_TOO_FAST, StatusCode::BAD_REQUEST),
    (code::BODY_TIMEOUT, StatusCode::REQUEST_TIMEOUT),
    (code::BODY_TOO_LARGE, StatusCode::PAYLOAD_TOO_LARGE),
    (code::CONTENT_ENCODING_UNSUPPORTED, StatusCode::UNSUPPORTED_MEDIA_TYPE),
    (code::CONTENT_TYPE_UNSUPPORTED, StatusCode::UNSUPPORTED_MEDIA_TYPE),
    (code::DECLARATIONS_INVALID, StatusCode::UNPROCESSABLE_ENTITY),
    (code::HEADERS_TOO_LARGE, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
    (code::IDEMPOTENCY_KEY_REUSED, StatusCode::UNPROCESSABLE_ENTITY),
    (code::METHOD_NOT_ALLOWED, StatusCode::METHOD_NOT_ALLOWED),
    (code::TARGET_TOO_LONG, StatusCode::URI_TOO_LONG),
    (code::TOO_MANY_HEADERS, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
    (code::VERSION_MISMATCH, StatusCode::PRECONDITION_FAILED),
];

fn status(code: Code) -> StatusCode {
    if let Some((_, status)) = STATUSES.iter().find(|(own, _)| *own == code) {
        return *status;
    }
    match code.sort() {
        CodeClass::Unauthenticated => StatusCode::UNAUTHORIZED,
        CodeClass::Denied => StatusCode::FORBIDDEN,
        CodeClass::NotFound => StatusCode::NOT_FOUND,
        CodeClass::Conflict => StatusCode::CONFLICT,
        CodeClass::Invalid
        | CodeClass::NotGranted
        | CodeClass::InvalidScope
        | CodeClass::InvalidTarget
        | CodeClass::InvalidDetails
        | CodeClass::UnsupportedGrant
        | CodeClass::UnsupportedResponse
        | CodeClass::Usage => StatusCode::BAD_REQUEST,
        CodeClass::Limited | CodeClass::Full => StatusCode::TOO_MANY_REQUESTS,
        CodeClass::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        CodeClass::Internal
        | CodeClass::NotStarted
        | CodeClass::Local
        | CodeClass::Unverified
        | CodeClass::Partial => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<crate::authn::AuthnError> for Problem {
    fn from(error: crate::authn::AuthnError) -> Self {
        Failure::from(error).into()
    }
}

/// The challenge of each refusal that other credentials would avoid (RFC 6750 §3, RFC 6749 §5.2). Without a token it
/// contains no error.
const CHALLENGES: [(Code, &str); 10] = [
    (code::CLIENT_ID_MISMATCH, "Basic realm=\"keyward\""),
    (code::CLIENT_SECRET_NOT_SUPPORTED, "Basic realm=\"keyward\""),
    (code::TOKEN_MISSING, "Bearer"),
    (code::TOKEN_INVALID, "Bearer error=\"invalid_token\""),
    (code::TOKEN_EXPIRED, "Bearer error=\"invalid_token\""),
    (code::TOKEN_TOO_OLD, "Bearer error=\"invalid_token\""),
    (code::TOKEN_REVOKED, "Bearer error=\"invalid_token\""),
    (code::TOKEN_UNRECORDED, "Bearer error=\"invalid_token\""),
    (code::TOKEN_BINDING_MISMATCH, "Bearer error=\"invalid_token\""),
    (code::SECRET_NOT_GRANTED, "Bearer error=\"insufficient_scope\""),
];

/// The challenge for a client certificate, for which no scheme is registered.
const BY_CERTIFICATE: &str = "Mutual-TLS realm=\"keyward\"";

/// An extension of the response; the middleware serialises it with the request id, and logs it once.
impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

impl Problem {
    /// The code for the log.
    pub(crate) const fn code(&self) -> Code {
        self.failure.code
    }

    /// The failure behind the response.
    pub(crate) const fn failure(&self) -> &Failure {
        &self.failure
    }

    /// The operator whose request it refuses.
    pub(crate) const fn operator(&self) -> Option<&OperatorName> {
        self.operator.as_ref()
    }

    /// With the operator whose request it refuses.
    #[must_use]
    pub(crate) fn of_operator(mut self, operator: OperatorName) -> Self {
        self.operator = Some(operator);
        self
    }

    /// The final response.
    pub(crate) fn write_out(self) -> Response<Body> {
        let (kind, body) = self.body();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.failure.code.is_retryable() {
            let seconds = self.failure.retry_after_s.unwrap_or(COME_BACK_AFTER_S);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(self.form, ProblemForm::OAuth) {
            headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        }
        if let Some(challenge) = self.challenge() {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }

    /// Every 401 has a challenge (RFC 9110 §15.5.2).
    fn challenge(&self) -> Option<HeaderValue> {
        let known = CHALLENGES.iter().find(|(code, _)| *code == self.failure.code).map(|(_, text)| *text);
        let challenge =
            known.or_else(|| (self.status == StatusCode::UNAUTHORIZED).then_some(BY_CERTIFICATE))?;
        match self.scope.as_ref().filter(|_| challenge.starts_with("Bearer")) {
            None => Some(HeaderValue::from_static(challenge)),
            Some(scope) => {
                let separator = if challenge == "Bearer" { " " } else { ", " };
                HeaderValue::from_str(&format!("{challenge}{separator}scope=\"{scope}\"")).ok()
            }
        }
    }

    /// The smaller request that would be allowed, as a form that the caller can send.
    fn instead(&self) -> Option<SmallerRequestBody> {
        let (instead, denied) = (self.failure.smaller_request()?, self.failure.decision?);
        let names: Vec<&str> = instead.scope.iter().map(CapabilityName::as_str).collect();
        let (scope, expires_in) = (names.join(" "), instead.life_s);
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials").append_pair("scope", &scope);
        details_with(&instead.parameters).into_iter().for_each(|details| {
            form.append_pair("authorization_details", &details);
        });
        expires_in.into_iter().for_each(|life_s| {
            form.append_pair("expires_in", &life_s.to_string());
        });
        form.append_pair("remediates", &denied.to_string());
        Some(SmallerRequestBody { scope, expires_in, form: form.finish() })
    }

    fn body(&self) -> (&'static str, Vec<u8>) {
        let request_id = self.request_id.map(|id| id.to_string());
        let decision_id = self.failure.decision.map(|id| id.to_string());
        let uri = format!("urn:keyward:error:{}", self.failure.code);
        let next = NextStepBody {
            approval_id: self.failure.approval.map(|id| id.to_string()),
            approval_uri: self.failure.approval.map(|id| GET_OWN_APPROVAL.path_to(&id)),
            instead: self.instead(),
        };
        let (kind, body) = match self.form {
            ProblemForm::Problem => {
                let body = ProblemBody {
                    r#type: uri,
                    title: self.status.canonical_reason().unwrap_or("Error").into(),
                    status: self.status.as_u16(),
                    detail: self.failure.why.clone(),
                    code: self.failure.code.as_str().into(),
                    fix: self.failure.fix.clone(),
                    retryable: self.failure.code.is_retryable(),
                    request_id,
                    decision_id,
                    errors: self.failure.faults.clone(),
                    next,
                };
                ("application/problem+json", serde_json::to_vec(&body))
            }
            ProblemForm::OAuth => {
                let body = OAuthBody {
                    error: self.oauth_error().into(),
                    error_description: oauth_text(&self.failure.why),
                    error_uri: uri,
                    code: self.failure.code.as_str().into(),
                    fix: self.failure.fix.clone(),
                    retryable: self.failure.code.is_retryable(),
                    request_id,
                    decision_id,
                    next,
                };
                ("application/json", serde_json::to_vec(&body))
            }
        };
        (kind, body.unwrap_or_default())
    }
}

/// The text of an `error_description`, which has only some characters (RFC 6749 §5.2): `%x20-21`, `%x23-5B` and `%x5D-7E`.
fn oauth_text(text: &str) -> Cow<'static, str> {
    let allowed = |c: char| match c {
        '"' => '\'',
        '\\' => '/',
        '\n' | '\t' => ' ',
        ' '..='~' => c,
        _ => '?',
    };
    Cow::Owned(text.chars().map(allowed).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_description_has_only_the_characters_of_its_rfc() {
        assert_eq!(oauth_text("the scope `a.b` isn't [known]"), "the scope `a.b` isn't [known]");
        assert_eq!(oauth_text("a \"b\" c\\d\ne – f\u{7f}"), "a 'b' c/d e ? f?");
        let all: String = ('\0'..='\u{2ff}').collect();
        let is_allowed = |c: char| matches!(c, '\x20'..='\x21' | '\x23'..='\x5b' | '\x5d'..='\x7e');
        assert!(oauth_text(&all).chars().all(is_allowed));
    }
}
