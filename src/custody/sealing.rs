use serde::Serialize;

use crate::ledger::Kind;
use crate::store::Event;

/// A broker that was sealed, or had started sealed, was unsealed.
#[derive(Debug, Serialize)]
pub struct BrokerUnsealed {
    /// The actor: `host uid N`.
    pub by: String,
    /// The kind of unseal key: `passphrase` or `key-file`.
    pub with: &'static str,
    /// Tries that were refused since the broker was sealed, or started.
    pub refused: u32,
}

/// The broker got the order to seal itself, and wipes its keys next.
#[derive(Debug, Serialize)]
pub struct BrokerSealed {
    /// The actor: `host uid N`.
    pub by: String,
}

impl Event for BrokerUnsealed {
    const KIND: Kind = Kind(0x0810);
    const NAME: &'static str = "broker.unsealed";
}

impl Event for BrokerSealed {
    const KIND: Kind = Kind(0x0811);
    const NAME: &'static str = "broker.sealed";
}
