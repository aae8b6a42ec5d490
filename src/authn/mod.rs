//! Who is calling. Makes the proofs [`AgentPrincipal`], [`ResourceServerPrincipal`], [`RenewingAgent`],
//! [`OperatorPrincipal`], [`HostPrincipal`] and [`BoundToken`].
//!
//! An identity comes from the certificate of the connection and from nothing else: no header, no
//! body. It is judged against the live records on every request. On the socket of the broker's host
//! the kernel says whose process is at the other end.

mod host;
mod live;
mod presented;
mod principal;
mod resource_server;

pub use host::{HostPrincipal, host};
pub use live::{Credential, Dead, has_certificate, live, may_be_issued, may_open};
pub use presented::{BoundToken, PresentError, present};
pub use principal::{
    AgentPrincipal, AuthnError, OperatorPrincipal, Records, RenewingAgent, Timeliness, agent, operator,
    operator_again, renewing,
};
pub use resource_server::{ResourceServerPrincipal, resource_server};
