use std::fmt;
use std::marker::PhantomData;

use crate::base::limits::BODY_BYTES_MAX;
use crate::base::{
    AgentName, ApprovalId, ApprovalReference, CapabilityName, CodeId, IncidentId, InstanceId, LeaseId,
    OperatorName, SecretName, Serial, TokenId,
};

/// An operation of a listener: method, path, target in the path, input, and response of a success.
#[derive(Debug)]
pub struct Endpoint<Target, Input, Answer> {
    pub method: Method,
    /// `{name}` stands for a segment, `{*name}` for all remaining segments.
    pub path: &'static str,
    /// The status of a success.
    pub status: u16,
    /// Largest request body, in bytes.
    pub body_bytes_max: usize,
    pub summary: &'static str,
    /// In upper case; in lower case the operation id in the `OpenAPI` document.
    pub name: &'static str,
    types: PhantomData<fn(Target, Input) -> Answer>,
}

impl<T, I, A> Clone for Endpoint<T, I, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, I, A> Copy for Endpoint<T, I, A> {}

impl<T, I, A> Endpoint<T, I, A> {
    #[must_use]
    pub const fn new(name: &'static str, summary: &'static str, method: Method, path: &'static str) -> Self {
        Self {
            method,
            path,
            status: 200,
            body_bytes_max: BODY_BYTES_MAX,
            summary: summary.trim_ascii(),
            name,
            types: PhantomData,
        }
    }

    /// The endpoint with another status of a success.
    #[must_use]
    pub const fn answers(mut self, status: u16) -> Self {
        self.status = status;
        self
    }
}

impl<T, I, A> Endpoint<T, I, A> {
    /// The endpoint with another limit of the body.
    #[must_use]
    pub const fn takes(mut self, body_bytes_max: usize) -> Self {
        self.body_bytes_max = body_bytes_max;
        self
    }
}

/// Paths of requests with a body that change nothing.
const READING: [&str; 5] = [
    "/oauth/introspect",
    "/v1/export",
    "/v1/lease-plan-checks/{name}",
    "/v1/plan",
    "/v1/plan-checks/{*name}",
];

/// Paths of requests that are simply repeated: a lost token expires, an enrolment or renewal that sends the same key again
/// gets the same certificate, an approval key that is proposed, accepted or removed stays so, an identical request for approval
/// finds the first one, and the same vote changes nothing.
const REPEATABLE: [&str; 10] = [
    "/oauth/device_authorization",
    "/oauth/token",
    "/v1/approval-key",
    "/v1/approvals",
    "/v1/approvals/{id}/votes",
    "/v1/approvals/{id}/withdraw",
    "/v1/enrol",
    "/v1/operators/{name}/approval-key/accept",
    "/v1/operators/{name}/approval-key/remove",
    "/v1/renew",
];

impl<T, I, A> Endpoint<T, I, A> {
    /// Whether a client without a response has to find out what the request has changed before it repeats the request.
    #[must_use]
    pub fn leaves_doubt(&self) -> bool {
        let is_harmless = READING.contains(&self.path) || REPEATABLE.contains(&self.path);
        self.method != Method::GET && !is_harmless
    }
}

impl<T: Target, I, A> Endpoint<T, I, A> {
    /// The path of a request for `target`.
    #[must_use]
    pub fn path_to(&self, target: &T) -> String {
        target.put_into(self.path)
    }
}

/// The methods that endpoints have, spelled as in a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    GET,
    POST,
    PUT,
    DELETE,
}

impl Method {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GET => "GET",
            Self::POST => "POST",
            Self::PUT => "PUT",
            Self::DELETE => "DELETE",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The object that the path of an endpoint names.
pub trait Target {
    /// `path` with the target instead of the parameter.
    fn put_into(&self, path: &str) -> String;

    /// The name, id or number, for messages; empty without a target.
    fn name(&self) -> String;
}

impl Target for Nothing {
    fn put_into(&self, path: &str) -> String {
        path.to_owned()
    }

    fn name(&self) -> String {
        String::new()
    }
}

macro_rules! targets {
    ($($target:ty),*) => {$(
        impl Target for $target {
            fn put_into(&self, path: &str) -> String {
                let (before, rest) = path.split_once('{').unwrap_or((path, "}"));
                let after = rest.split_once('}').map_or("", |(_, after)| after);
                format!("{before}{self}{after}")
            }

            fn name(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

targets!(
    AgentName,
    ApprovalId,
    ApprovalReference,
    CapabilityName,
    CodeId,
    IncidentId,
    InstanceId,
    LeaseId,
    OperatorName,
    SecretName,
    Serial,
    TokenId,
    u32,
    u64
);

/// No target, no input or no answer.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

/// An optional JSON body.
#[derive(Clone, Copy, Debug)]
pub struct Optional<T>(pub Option<T>);

/// A form (`application/x-www-form-urlencoded`) with the fields of `T`.
#[derive(Debug)]
pub struct Form<T>(PhantomData<T>);

/// Any query; the endpoint ignores it.
#[derive(Debug)]
pub struct AnyQuery;

/// The bytes of a secret value; headers contain its owner, its sensitivity and conditions.
#[derive(Debug)]
pub struct SecretUpload;

/// The bytes of a secret value.
#[derive(Debug)]
pub struct SecretValueBody;

/// Plain text.
#[derive(Debug)]
pub struct Text(pub String);

/// Certificates in PEM.
#[derive(Debug)]
pub struct Pem(pub String);

/// A ZIP archive.
#[derive(Debug)]
pub struct Zip(pub Vec<u8>);

/// Metrics in `OpenMetrics` text.
#[derive(Debug)]
pub struct OpenMetrics(pub String);

macro_rules! endpoints {
    ($(#[doc = $summary:literal] $name:ident: $method:ident $path:literal, $target:ty, $input:ty => $answer:ty $(, $status:literal)? $(, up to $bytes:expr)?;)*) => {$(
        #[doc = $summary]
        pub const $name: $crate::wire::Endpoint<$target, $input, $answer> =
            $crate::wire::Endpoint::new(stringify!($name), $summary, $crate::wire::Method::$method, $path)$(.answers($status))?$(.takes($bytes))?;
    )*};
}

pub(crate) use endpoints;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_target() {
        let one: Endpoint<AgentName, Nothing, Nothing> =
            Endpoint::new("A", "", Method::POST, "/v1/agents/{name}/revoke");
        assert_eq!(one.path_to(&"a".parse().unwrap()), "/v1/agents/a/revoke");
        let rest: Endpoint<SecretName, Nothing, Nothing> =
            Endpoint::new("A", "", Method::GET, "/v1/secrets/{*name}");
        assert_eq!(rest.path_to(&"a/b".parse().unwrap()), "/v1/secrets/a/b");
        let none: Endpoint<Nothing, Nothing, Nothing> = Endpoint::new("A", "", Method::GET, "/livez");
        assert_eq!(none.path_to(&Nothing), "/livez");
    }
}
