use axum::Router;
use axum::routing::MethodRouter;

use crate::policy::Need;

/// Who may call a route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Caller {
    /// Anybody: no certificate needed.
    Public,
    /// An agent with a live certificate.
    Agent,
    /// A resource server with a live certificate.
    ResourceServer,
    /// Either of them.
    Enrolled,
    /// An operator with a live certificate, and with what the route needs.
    Operator(Need),
    /// A process of root's, or of the broker's own user, on the broker's host.
    Host,
}

impl Caller {
    /// Whether it takes an operator.
    pub(crate) const fn is_operator(self) -> bool {
        matches!(self, Self::Operator(_))
    }
}

/// One line of a listener's route table. The router is built from the table, so that a test that
/// walks the table walks the router.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Route {
    /// The method, upper case.
    pub method: &'static str,
    /// The path, with `{name}` for a segment and `{*name}` for the rest.
    pub path: &'static str,
    /// Who may call it.
    pub caller: Caller,
}

/// A table with the handlers behind it.
pub(crate) type Table<S> = Vec<(Route, MethodRouter<S>)>;

pub(crate) const fn route(method: &'static str, path: &'static str, caller: Caller) -> Route {
    Route { method, path, caller }
}

pub(crate) fn build<S: Clone + Send + Sync + 'static>(table: Table<S>) -> Router<S> {
    table.into_iter().fold(Router::new(), |router, (route, handler)| router.route(route.path, handler))
}
