use serde::Serialize;

use crate::base::{AgentName, OperatorName};
use crate::ledger::Kind;
use crate::store::Event;

/// Alarm: a caller presented a credential that this broker signed and that its ledger does not have, so the ledger is an
/// older copy. At most one entry an hour.
#[derive(Debug, Serialize)]
pub struct RollbackSuspected {
    /// `token` or `certificate`.
    pub credential: &'static str,
    /// The SPIFFE id of the holder.
    pub subject: String,
    /// The agent or resource server that it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// The operator that it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorName>,
    /// The token's id, or the certificate's serial in hex.
    pub id: String,
    /// The ledger entry that a token names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The newest ledger entry of that moment.
    pub head: u64,
}

impl Event for RollbackSuspected {
    const KIND: Kind = Kind(0x0820);
    const NAME: &'static str = "alarm.rollback-suspected";
}
