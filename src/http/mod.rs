//! The listeners: from bytes to typed input, and from outcomes to responses.
//!
//! The agent router's state is an [`AgentServices`](crate::broker::AgentServices), the admin router's an
//! [`AdminServices`](crate::broker::AdminServices), that of the host's socket a
//! [`HostServices`](crate::broker::HostServices): a request has no way to another's use cases.
//! Text is parsed here, once, into typed values; only this room knows status codes.

mod documents;
mod route;
mod routes;
mod transport;

pub use documents::openapi::openapi;
pub use documents::problem::Problem;
pub use route::{Caller, Repetition, Route, RouteDocument};
pub use routes::listeners::{
    admin_router, admin_routes, agent_router, agent_routes, host_router, host_routes,
};
pub use routes::public_documents::Documents;
pub use routes::sealed::{Sealed, sealed_router};
pub use transport::detached::DetachedHandlers;
pub use transport::host_listener::{HostPeer, serve_host};
pub use transport::listener;
pub use transport::router::{ListenerRouter, ResponseFuture};
