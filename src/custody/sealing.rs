use serde::Serialize;

use crate::ledger::Kind;
use crate::store::Event;

/// The broker, which had been sealed or had started so, was opened by hand.
#[derive(Debug, Serialize)]
pub struct BrokerUnsealed {
    /// Who did: `host uid N`.
    pub by: String,
    /// What was given for it: a `passphrase` or a `key-file`.
    pub with: &'static str,
    /// Tries that were refused since the broker was sealed, or started.
    pub refused: u32,
}

/// The broker was told to seal itself, and does so next.
#[derive(Debug, Serialize)]
pub struct BrokerSealed {
    /// Who told it: `host uid N`.
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
