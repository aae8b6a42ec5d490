use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, Optional, endpoints};
use super::identity::{IdentityAnswer, RenewBody};
use super::secret_text::SecretText;
use super::status::{ReasonBody, Word};
use crate::base::limits::UNSEAL_BYTES_MAX;
use crate::base::{AgentName, InstanceId, OperatorName, Serial, TokenId};

endpoints! {
    /// Whether the broker is sealed
    GET_STATE: GET "/v1/state", Nothing, Nothing => StateAnswer;
    /// Seal the broker
    SEAL: POST "/v1/seal", Nothing, Nothing => StateAnswer;
    /// Open the keyring, and serve
    UNSEAL: POST "/v1/unseal", Nothing, UnsealBody => StateAnswer, up to UNSEAL_BYTES_MAX;
    /// Revoke all credentials of an agent, also while the broker is sealed
    ORDER_REVOKE_AGENT: POST "/v1/agents/{name}/revoke", AgentName, Optional<ReasonBody> => OrderedAnswer;
    /// Suspend an agent, also while the broker is sealed
    ORDER_SUSPEND_AGENT: POST "/v1/agents/{name}/suspend", AgentName, Optional<ReasonBody> => OrderedAnswer;
    /// Revoke an instance of an agent, also while the broker is sealed
    ORDER_REVOKE_INSTANCE: POST "/v1/instances/{id}/revoke", InstanceId, Optional<ReasonBody> => OrderedAnswer;
    /// Revoke a certificate, also while the broker is sealed
    ORDER_REVOKE_CERTIFICATE: POST "/v1/certificates/{serial}/revoke", Serial, Optional<ReasonBody> => OrderedAnswer;
    /// Revoke an access token, also while the broker is sealed
    ORDER_REVOKE_TOKEN: POST "/v1/tokens/{id}/revoke", TokenId, Optional<ReasonBody> => OrderedAnswer;
    /// Revoke all credentials of an operator, also while the broker is sealed
    ORDER_REVOKE_OPERATOR: POST "/v1/operators/{name}/revoke", OperatorName, Optional<ReasonBody> => OrderedAnswer;
    /// Suspend an operator, also while the broker is sealed
    ORDER_SUSPEND_OPERATOR: POST "/v1/operators/{name}/suspend", OperatorName, Optional<ReasonBody> => OrderedAnswer;
    /// Issue an administrator's certificate of one hour
    BREAK_GLASS: POST "/v1/break-glass", Nothing, RenewBody => IdentityAnswer, 201;
    /// Adopt the system clock
    ACCEPT_CLOCK: POST "/v1/clock/accept", Nothing, Nothing => ClockAnswer;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct StateAnswer {
    /// `sealed`, `open` or `sealing`.
    pub state: Word,
    /// Pending orders, which are carried out when the broker is unsealed.
    pub queued: usize,
    /// Why an open broker cannot serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_ready: Option<NotReadyAnswer>,
}

/// As `GET /readyz` refuses.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct NotReadyAnswer {
    pub code: Word,
    pub detail: Word,
    pub fix: Word,
}

/// What opens the keyring: one of them.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnsealBody {
    Passphrase(SecretText),
    /// The text of a key file.
    Key(SecretText),
    /// Shares of a slot's key, one a line: as many as open it.
    Shares(SecretText),
}

/// What became of an order to revoke or suspend.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OrderedAnswer {
    /// The entry that says so; absent when the broker is sealed, or the ledger could not take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Whether it holds beyond the broker's next start.
    pub durable: bool,
    /// Whether, until the ledger has it, it is kept in the runtime directory for the next start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// Whether it is pending: it is carried out before the broker serves.
    pub queued: bool,
}

/// What became of the system clock.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ClockAnswer {
    /// Whether it was adopted: it is not when it agrees already.
    pub adjusted: bool,
    /// The entry that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// What the broker took the time to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// What it takes it to be now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
}
