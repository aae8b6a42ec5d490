//! The HTTP client: over TLS as an agent or an operator, or over the socket on the broker's host.

mod address_origin;
mod approvals;
mod attempts;
mod broker_client;
mod broker_clock;
mod failure_reports;
mod handshake_failure;
mod received;
mod refusal;
mod refused_certificate;
mod request;
mod retry;
mod secret_values;
mod transport;

pub(crate) use address_origin::AddressOrigin;
pub(crate) use attempts::Attempts;
pub use broker_client::host_state;
pub(crate) use broker_client::{Client, IdentitySource, say_nothing_of_read_only};
pub(crate) use received::Received;
pub(crate) use retry::retry_while_busy;
pub(crate) use secret_values::{PutConditions, RevealedSecret};
