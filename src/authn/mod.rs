//! Who is calling. Makes the proofs [`AgentPrincipal`], [`ResourceServerPrincipal`], [`RenewingAgent`],
//! [`OperatorPrincipal`], [`HostPrincipal`] and [`BoundToken`].
//!
//! An identity comes from the certificate of the connection and from nothing else: no header, no
//! body. It is judged against the live records on every request. On the socket of the broker's host
//! the kernel says whose process is at the other end.

mod host;
mod live;
mod operator;
mod presented;
mod principal;
mod records;
mod resource_server;

pub use host::{HostPrincipal, host};
pub use live::{Credential, CredentialFault, has_certificate, live, may_be_issued, may_open};
pub use operator::{OperatorPrincipal, operator, operator_again};
pub use presented::{BoundToken, PresentError, present};
pub use principal::{AgentPrincipal, AuthnError, RenewingAgent, Timeliness, agent, renewing};
pub use records::Records;
pub use resource_server::{ResourceServerPrincipal, resource_server};
