use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::ledger::Kind;
use crate::store::Event;

/// Where the data directory is. The lock file is never written over, so that another file means another
/// copy of the data: a backup that was put back, or a copy of a broker that may still run.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Location {
    /// The mark of the lock file (`store::lock_mark`).
    pub lock: u64,
    /// A digest of the machine's id, where the machine has one.
    pub machine: Option<[u8; 16]>,
}

impl Location {
    /// This location, with the machine of `before` where the machine has no id.
    #[must_use]
    pub fn or_machine_of(self, before: Self) -> Self {
        Self { machine: self.machine.or(before.machine), ..self }
    }
}

/// An order on the host to serve from this copy of the data: every other one has stopped for good.
#[derive(Clone, Copy, Debug)]
pub struct AdoptionOrder<'a> {
    /// `host uid N`.
    pub by: &'a str,
    /// When it was given, by the host's clock; earlier builds did not say.
    pub at: Option<Timestamp>,
}

/// The broker adopted this data directory, and serves from it from here on.
#[derive(Debug, Serialize)]
pub struct DataAdopted<'a> {
    /// `host uid N`, or `found at start` for data that no start has located before.
    pub by: &'a str,
    /// When the order was given, by the host's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordered_at: Option<Timestamp>,
    /// The mark of the lock file (`store::lock_mark`).
    pub lock: u64,
    /// The mark of the lock file that the data were with before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<u64>,
}

impl Event for DataAdopted<'_> {
    const KIND: Kind = Kind(0x0821);
    const NAME: &'static str = "data.adopted";
}

/// Alarm: the data directory is on another machine than before; a container counts as another machine after an upgrade of
/// its image.
#[derive(Debug, Serialize)]
pub struct MachineChanged {
    /// A digest of the machine's id, in hex.
    pub machine: String,
    /// The digest of the machine's id before.
    pub was: String,
}

impl Event for MachineChanged {
    const KIND: Kind = Kind(0x0822);
    const NAME: &'static str = "alarm.machine-changed";
}
