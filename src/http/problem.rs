use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;

use crate::base::RequestId;
use crate::broker::{Failure, FailureKind};
use crate::registry::Fault;

/// A refusal on its way out: RFC 9457 problem details, or OAuth's own form on OAuth routes.
///
/// The only mapping of failures to status codes. Says nothing of the input's values.
#[derive(Clone, Debug)]
pub struct Problem {
    failure: Failure,
    status: StatusCode,
    form: Form,
    request_id: Option<RequestId>,
}

/// How a refusal is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// RFC 9457.
    Problem,
    /// RFC 6749 §5.2.
    OAuth,
}

#[derive(Serialize)]
struct ProblemBody<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    fix: &'a str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision_id: Option<String>,
    #[serde(skip_serializing_if = "<[Fault]>::is_empty")]
    errors: &'a [Fault],
}

#[derive(Serialize)]
struct OAuthBody<'a> {
    error: &'static str,
    error_description: &'a str,
    error_uri: String,
    code: &'a str,
    fix: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision_id: Option<String>,
}

impl Problem {
    /// A refusal that no use case raised: the request did not get that far.
    pub(super) fn new(status: StatusCode, code: &'static str, why: &str, fix: &str) -> Self {
        let failure = Failure {
            kind: FailureKind::Invalid,
            code,
            why: why.to_owned(),
            fix: fix.to_owned(),
            decision: None,
            faults: Vec::new(),
        };
        Self { failure, status, form: Form::Problem, request_id: None }
    }

    /// The same in OAuth's form (RFC 6749 §5.2).
    #[must_use]
    pub(super) fn oauth(mut self) -> Self {
        self.form = Form::OAuth;
        self
    }

    /// The same in the form of the route that it was asked of.
    #[must_use]
    pub(super) fn in_form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// The same, naming the request.
    #[must_use]
    pub(super) fn of_request(mut self, id: RequestId) -> Self {
        self.request_id = Some(id);
        self
    }

    /// No certificate was presented where one is needed.
    pub(super) fn no_certificate() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "certificate_required",
            "this route needs a client certificate issued by this broker",
            "connect with the certificate and key that `keyward join` stored",
        )
        .unauthenticated()
    }

    /// The same, as the failure of a caller to prove who it is.
    #[must_use]
    pub(super) fn unauthenticated(mut self) -> Self {
        self.failure.kind = FailureKind::Unauthenticated;
        self
    }

    fn oauth_error(&self) -> &'static str {
        match self.failure.kind {
            FailureKind::Unauthenticated => "invalid_client",
            FailureKind::Denied => "unauthorized_client",
            FailureKind::InvalidScope => "invalid_scope",
            FailureKind::InvalidTarget => "invalid_target",
            FailureKind::Limited(_) | FailureKind::Unavailable => "temporarily_unavailable",
            FailureKind::Internal => "server_error",
            FailureKind::Invalid if self.failure.code == "grant_type_unsupported" => "unsupported_grant_type",
            FailureKind::Invalid | FailureKind::NotFound | FailureKind::Conflict => "invalid_request",
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let status = match failure.kind {
            FailureKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            FailureKind::Denied => StatusCode::FORBIDDEN,
            FailureKind::NotFound => StatusCode::NOT_FOUND,
            FailureKind::Conflict => StatusCode::CONFLICT,
            FailureKind::Invalid if failure.faults.is_empty() => StatusCode::BAD_REQUEST,
            FailureKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            FailureKind::InvalidScope | FailureKind::InvalidTarget => StatusCode::BAD_REQUEST,
            FailureKind::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            FailureKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            FailureKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { failure, status, form: Form::Problem, request_id: None }
    }
}

impl From<crate::authn::AuthnError> for Problem {
    fn from(error: crate::authn::AuthnError) -> Self {
        Failure::from(error).into()
    }
}

/// Rides on the response; the edge writes it out, with the request's id, and logs it once.
impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

impl Problem {
    /// The code and the decision, for the log.
    pub(super) fn code(&self) -> &'static str {
        self.failure.code
    }

    /// The response as it goes out.
    pub(super) fn write_out(self) -> Response<Body> {
        let (kind, body) = self.body();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.failure.kind {
            FailureKind::Limited(seconds) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            FailureKind::Unavailable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(1_u64));
            }
            FailureKind::Unauthenticated if self.failure.code.starts_with("token_") => {
                let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            FailureKind::Unauthenticated
            | FailureKind::Denied
            | FailureKind::NotFound
            | FailureKind::Conflict
            | FailureKind::Invalid
            | FailureKind::InvalidScope
            | FailureKind::InvalidTarget
            | FailureKind::Internal => {}
        }
        response
    }

    fn body(&self) -> (&'static str, Vec<u8>) {
        let request_id = self.request_id.map(|id| id.to_string());
        let decision_id = self.failure.decision.map(|id| id.to_string());
        let uri = format!("urn:keyward:error:{}", self.failure.code);
        let (kind, body) = match self.form {
            Form::Problem => {
                let body = ProblemBody {
                    r#type: uri,
                    title: self.status.canonical_reason().unwrap_or("Error"),
                    status: self.status.as_u16(),
                    detail: &self.failure.why,
                    code: self.failure.code,
                    fix: &self.failure.fix,
                    retryable: self.failure.is_retryable(),
                    request_id,
                    decision_id,
                    errors: &self.failure.faults,
                };
                ("application/problem+json", serde_json::to_vec(&body))
            }
            Form::OAuth => {
                let body = OAuthBody {
                    error: self.oauth_error(),
                    error_description: &self.failure.why,
                    error_uri: uri,
                    code: self.failure.code,
                    fix: &self.failure.fix,
                    request_id,
                    decision_id,
                };
                ("application/json", serde_json::to_vec(&body))
            }
        };
        (kind, body.unwrap_or_default())
    }
}
