use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::{Audience, DecisionId, InstanceId, TokenId};
pub use crate::wire::{AuthorizationDetail, Confirmation, DetailType};

/// The claims of an access token (RFC 9068 §2.2).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The broker that issued it.
    pub iss: Arc<str>,
    /// The agent, as its SPIFFE ID.
    pub sub: Arc<str>,
    /// The OAuth client: the same agent.
    pub client_id: Arc<str>,
    /// The audience; exactly one.
    pub aud: Audience,
    /// Capability names, separated by spaces.
    pub scope: Arc<str>,
    /// The capabilities with their access (RFC 9396).
    pub authorization_details: Vec<AuthorizationDetail>,
    /// Its id.
    pub jti: TokenId,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// When it begins to hold, in seconds since 1970.
    pub nbf: i64,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// The certificate that it is bound to.
    pub cnf: Confirmation,
    /// The ledger sequence of its issue.
    pub seq: u64,
    /// The instance of the agent that it was issued to.
    pub instance: InstanceId,
    /// The decision that allowed it.
    pub decision: DecisionId,
}
