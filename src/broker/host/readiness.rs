use crate::base::code;
use crate::base::limits::DISK_FREE_BYTES_MIN;
use crate::broker::caller_services::{AdminServices, AgentServices};
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::ledger::WriteState;
use crate::telemetry::Alarm;

impl Services {
    /// Refuses if requests that need an entry cannot be served now, by the result of the newest write or probe.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn check_ready(&self) -> Result<(), Failure> {
        if self.state.store.is_read_only() {
            let code = if self.is_copy() { code::DATA_COPIED } else { code::READ_ONLY };
            return Err(Failure::new(code));
        }
        match self.state.store.write_state() {
            // An untrusted clock stops issuance.
            WriteState::Writable | WriteState::Slow(_) => self.state.issuing().map(drop),
            WriteState::NoSpace => Err(Failure::new(code::LEDGER_NO_SPACE)),
            WriteState::Stalled(since) => {
                let why =
                    format!("the broker's {STORAGE} has not answered a write for {} s", since.as_secs());
                Err(Failure::new(code::LEDGER_STALLED)
                    .because(why)
                    .mended_by(format!("check the broker's {STORAGE}; the broker continues once it answers")))
            }
            WriteState::Failing => Err(Failure::new(code::LEDGER_UNWRITTEN)
                .because(format!(
                    "the newest write to the broker's {STORAGE}, or its newest probe write, failed"
                ))
                .mended_by(format!("check the broker's {STORAGE}; the broker's log has the error"))),
            WriteState::Stopped => Err(Failure::new(code::LEDGER_FAILED)
                .mended_by(format!("correct the fault of the broker's {STORAGE}, then restart the broker"))),
        }
    }

    /// Whether the data directory is another one than the recorded one.
    fn is_copy(&self) -> bool {
        let known = self.state.store.read(|world, _| world.keys.custody.location());
        known.is_some_and(|known| self.state.store.lock_mark().is_ok_and(|lock| lock != known.lock))
    }

    /// Raises an alarm once the ledger no longer has entries that were acknowledged. It has stopped then.
    pub(crate) async fn raise_when_entries_are_lost(&self) {
        let why = self.state.store.entries_lost().await;
        self.notifications.meters.alarms().raise(
            Alarm::EntriesLost,
            format_args!(
                "{why}: the broker records nothing until a restart; make the server primary that has the entries, then restart \
                 the broker"
            ),
        );
    }

    /// Whether the newest write took long.
    pub(crate) fn is_disk_slow(&self) -> bool {
        matches!(self.state.store.write_state(), WriteState::Slow(_))
    }

    /// Whether the data directory's disk is nearly full.
    pub(crate) fn is_disk_space_low(&self) -> bool {
        self.state.store.free_bytes().is_some_and(|bytes| bytes < DISK_FREE_BYTES_MIN)
    }
}

/// Where the ledger's entries become durable.
const STORAGE: &str = "data disk (or the database in `[ledger]`)";

impl AgentServices {
    /// Refuses if requests cannot be served.
    ///
    /// # Errors
    /// [`Failure`], with the reason.
    pub fn check_ready(&self) -> Result<(), Failure> {
        self.0.check_ready()
    }
}

impl AdminServices {
    /// Refuses if requests cannot be served.
    ///
    /// # Errors
    /// [`Failure`], with the reason.
    pub fn check_ready(&self) -> Result<(), Failure> {
        self.0.check_ready()
    }
}
