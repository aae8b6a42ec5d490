use serde_json::Value;

use super::documents::operation::{OperationDocument, Schemas};
use super::documents::problem::ProblemForm;
use crate::broker::RequestedObject;
use crate::policy::RequiredRight;
use crate::wire::Method;

/// Who may call a route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Caller {
    /// No certificate is needed.
    Public,
    /// An agent with a live certificate.
    Agent,
    /// A resource server with a live certificate.
    ResourceServer,
    /// An agent or a resource server.
    Enrolled,
    /// An operator with a live certificate and the right that the route needs.
    Operator(RequiredRight),
    /// A process of root or of the broker's own user, on the broker's host.
    Host,
}

/// The effect of a repeated request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Repetition {
    /// The request is carried out again, without further effect.
    Harmless,
    /// With an idempotency key the request is carried out once.
    Once,
}

/// A route of a listener, for the router, the `OpenAPI` document, the limits, the metrics and the tests. It is derived
/// from an [`Endpoint`](crate::wire::Endpoint) and from the types of its handler.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with `{name}` for a segment and `{*name}` for the rest.
    pub path: &'static str,
    /// The status of a success.
    pub status: u16,
    /// Its description in the `OpenAPI` document.
    pub document: RouteDocument,
    /// Who may call it.
    pub caller: Caller,
    /// The effect of a repeated request.
    pub repetition: Repetition,
    /// Whether a request may have a query.
    pub takes_query: bool,
    /// Whether requests wait for no other request, because the route revokes.
    pub is_urgent: bool,
}

/// The description of a route, for the `OpenAPI` document and for the record of a refusal.
#[derive(Clone, Copy, Debug)]
pub struct RouteDocument {
    /// A summary in one line.
    pub summary: &'static str,
    /// The operation's id, in upper case.
    pub operation: &'static str,
    pub(crate) describe: fn(&mut OperationDocument<'_>),
    /// The object that a path for the route names.
    pub(crate) object: fn(&str, &str) -> Option<RequestedObject>,
    /// The schema of the response to a pending request, if the route has one.
    pub(crate) accepted: Option<fn(&mut Schemas) -> Value>,
}

impl Route {
    pub(crate) fn form(&self) -> ProblemForm {
        ProblemForm::of_path(self.path)
    }

    /// The name of the path's parameter.
    pub(crate) fn parameter(&self) -> Option<&'static str> {
        let (_, rest) = self.path.split_once('{')?;
        rest.split('}').next().map(|name| name.trim_start_matches('*'))
    }
}
