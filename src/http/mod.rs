//! The listeners: from bytes to typed input, and from outcomes to responses.
//!
//! The agent router's state is an [`AgentDesk`](crate::broker::AgentDesk), the admin router's an
//! [`AdminDesk`](crate::broker::AdminDesk), that of the host's socket a
//! [`HostDesk`](crate::broker::HostDesk): a request has no way to another's use cases.
//! Text is parsed here, once, into typed values; only this room knows status codes.

mod acceptable;
mod admins;
mod agents;
mod answers;
mod aside;
mod bounded;
mod caps;
mod client_id;
mod discovery;
mod documents;
mod edge;
mod enrolment;
mod form;
mod front;
mod guard;
mod heads;
mod host;
mod host_listener;
mod input;
mod introspection;
mod leases;
mod lent;
pub mod listener;
mod object;
mod of_peer;
mod openapi;
mod operators;
mod outlived;
mod patience;
mod places;
mod problem;
mod proven;
mod repeat;
mod rotations;
mod routes;
mod sealed;
mod secrets;
mod signing_keys;
mod stall;
mod upstreams;

pub use admins::{admin_router, admin_routes};
pub use agents::{agent_router, agent_routes};
pub use documents::Documents;
pub use front::{Answering, Front};
pub use host::{host_router, host_routes};
pub use host_listener::{HostPeer, serve_host};
pub use openapi::openapi;
pub use outlived::Outlived;
pub use problem::Problem;
pub use repeat::{ONCE_ROUTES, SAFE_ROUTES};
pub use routes::{Caller, Route};
pub use sealed::{Sealed, sealed_router};
