use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, Optional, endpoints};
use super::identity::{IdentityAnswer, RenewBody};
use super::secret_text::SecretText;
use super::status::{FixedText, ReasonBody};
use crate::base::limits::UNSEAL_BYTES_MAX;
use crate::base::{AgentName, InstanceId, OperatorName, Serial, TokenId};

endpoints! {
    /// Show whether the broker is sealed
    GET_STATE: GET "/v1/state", Nothing, Nothing => StateAnswer;
    /// Seal the broker
    SEAL: POST "/v1/seal", Nothing, Nothing => StateAnswer;
    /// Unseal the broker
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
    /// Issue an admin's certificate for one hour (break-glass access)
    BREAK_GLASS: POST "/v1/break-glass", Nothing, RenewBody => IdentityAnswer, 201;
    /// Accept the system clock
    ACCEPT_CLOCK: POST "/v1/clock/accept", Nothing, Nothing => ClockAnswer;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct StateAnswer {
    /// `sealed`, `open` or `sealing`.
    pub state: FixedText,
    /// Pending orders, which are carried out when the broker is unsealed.
    pub queued: usize,
    /// The problem of an unsealed broker that cannot serve requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_ready: Option<NotReadyAnswer>,
    /// The warnings of an unsealed broker, as on the operators' port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<FixedText>,
    /// Whether the memory of the broker is locked, so that no key reaches swap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_locked: Option<bool>,
    /// The pending orders that the broker settled when it was unsealed or started, and those that failed within the last
    /// 24 hours and were not repeated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settled: Vec<SettledOrderAnswer>,
}

/// A pending order with its result.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct SettledOrderAnswer {
    /// The command that gives the order again.
    pub order: String,
    pub by: String,
    pub at: String,
    /// `carried-out`, `in-memory` until the ledger records it, or `failed`.
    pub outcome: FixedText,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<FixedText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The refusal of `GET /readyz`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct NotReadyAnswer {
    pub code: FixedText,
    pub detail: FixedText,
    pub fix: FixedText,
}

/// The unseal key: exactly one of these fields.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnsealBody {
    Passphrase(SecretText),
    /// The text of a key file.
    Key(SecretText),
    /// Shares of a slot's key, one per line, at least as many as the slot's threshold.
    Shares(SecretText),
}

/// The result of an order to revoke or suspend.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OrderedAnswer {
    /// The ledger entry of the order; absent if the broker is sealed, or the ledger did not record it in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Whether the order survives a restart of the broker.
    pub durable: bool,
    /// Whether the runtime directory stores the order until the ledger has recorded it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// Whether the order is pending: the broker carries it out when it is unsealed, before it serves requests.
    pub queued: bool,
}

/// The result of accepting the system clock.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ClockAnswer {
    /// Whether the broker's clock was adjusted; false if the clocks agreed already.
    pub adjusted: bool,
    /// The ledger entry of the adjustment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The broker's time before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// The broker's time now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
}
