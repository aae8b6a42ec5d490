//! Authentication of callers. Makes the proofs [`AgentPrincipal`], [`ResourceServerPrincipal`], [`RenewingAgent`],
//! [`OperatorPrincipal`], [`RenewingOperator`], [`HostPrincipal`] and [`BoundToken`].
//!
//! The identity comes only from the certificate of the connection, never from a header or a body. It is judged against
//! the live records on every request. At the host socket the kernel identifies the user of the peer process.

mod containing;
mod host;
mod live;
mod operator;
mod presented;
mod principal;
mod records;
mod resource_server;
mod subjects;

pub use containing::{blocking, blocking_agent, blocking_issue, incidents_against};
pub use host::{HostPrincipal, host};
pub use live::{Credential, CredentialFault, has_certificate, is_under, live, may_be_issued, may_open};
pub use operator::{
    OperatorPrincipal, RenewingOperator, enrolled_operator, operator, operator_again, renewing_operator,
};
pub use presented::{BoundToken, PresentError, present};
pub use principal::{AgentPrincipal, AuthnError, RenewingAgent, Timeliness, agent, renewing};
pub use records::Records;
pub use resource_server::{ResourceServerPrincipal, resource_server};
