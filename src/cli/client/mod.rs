//! HTTP to a broker: over TLS as an agent or an operator, or over the socket on its host.

mod host;
mod retry;
mod tls;

pub(in crate::cli) use host::ask;
pub use host::host_standing;
pub(in crate::cli) use retry::patiently;
pub(in crate::cli) use tls::{Answer, Client, Storing};
