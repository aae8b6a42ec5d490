//! The HTTP client: over TLS as an agent or an operator, or over the socket on the broker's host.

mod broker_client;
mod received;
mod refusal;
mod request;
mod retry;
mod transport;

pub use broker_client::host_state;
pub(crate) use broker_client::{Client, IdentitySource, PutConditions, RevealedSecret};
pub(crate) use received::Received;
pub(crate) use retry::retry_while_busy;
