use super::documents::operation::OperationDocument;
use super::documents::problem::ProblemForm;
use crate::policy::RequiredRight;

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
    /// An operator with a live certificate, and with what the route needs.
    Operator(RequiredRight),
    /// A process of root's, or of the broker's own user, on the broker's host.
    Host,
}

/// What happens when a request comes twice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Repetition {
    /// It is carried out again, which does no harm.
    Harmless,
    /// With an idempotency key it is carried out once.
    Once,
}

/// One route of a listener: all that the router, the `OpenAPI` document, the limits, the meters and the tests know
/// of it. It is made of an [`Endpoint`](crate::wire::Endpoint) and of what its handler takes and returns.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The method, upper case.
    pub method: &'static str,
    /// The path, with `{name}` for a segment and `{*name}` for the rest.
    pub path: &'static str,
    /// The status of a success.
    pub status: u16,
    /// One line for the documents.
    pub summary: &'static str,
    /// The operation's id, in upper case.
    pub operation: &'static str,
    /// Who may call it.
    pub caller: Caller,
    /// What an idempotency key does.
    pub repetition: Repetition,
    /// Whether a request may have a query.
    pub takes_query: bool,
    /// Whether it waits for no other request: it revokes something.
    pub is_urgent: bool,
    pub(crate) describe: fn(&mut OperationDocument<'_>),
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
