use super::fault::DatabaseFault;
use crate::ledger::LogFailure;

/// Why a step of the writer was not done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Trouble {
    /// Nothing was written, and the next attempt may succeed.
    Again(DatabaseFault),
    /// The disk of the server is full; nothing was written.
    Full,
    /// The COMMIT of a batch has an unknown outcome.
    Unknown,
    /// Acknowledged entries are gone, so this writer must not write any more.
    Lost(String),
    /// This writer must not write any more.
    Stop(String),
}

impl From<DatabaseFault> for Trouble {
    fn from(fault: DatabaseFault) -> Self {
        if fault.is_full() { Self::Full } else { Self::Again(fault) }
    }
}

impl From<Trouble> for LogFailure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Again(fault) => Self::Failing(fault.to_string()),
            Trouble::Full => Self::NoSpace,
            Trouble::Unknown => Self::Unknown,
            Trouble::Lost(why) => Self::EntriesLost(why),
            Trouble::Stop(why) => Self::Stopped(why),
        }
    }
}
