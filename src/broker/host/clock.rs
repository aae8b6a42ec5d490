use std::time::Duration;

use crate::authn::HostPrincipal;
use crate::base::code;
use crate::base::limits::{CLOCK_ALARM_PAUSE_S, CLOCK_SYNC_AGE_MAX_S, CLOCK_SYNC_WAIT_S};
use crate::base::{ClockReading, ClockTrust, Timestamp};
use crate::broker::deciding::IssueTime;
use crate::broker::failure::Failure;
use crate::broker::host::host_services::HostServices;
use crate::broker::services::{Services, State};
use crate::broker::world::Effect;
use crate::store::{Change, ClockAdjusted, ClockDisagrees};
use crate::telemetry::Alarm;

/// The state of the clock check between two checks.
#[derive(Debug, Default)]
pub struct ClockWatch {
    doubt: Option<Doubt>,
    /// The last synchronisation of the system clock while the clocks agreed, or at a start that was held.
    synchronised_before: Option<Timestamp>,
    /// The earliest time of the boot clock for the next entry about a disagreement: a clock that is set repeatedly
    /// must not fill the ledger.
    next_entry: Duration,
}

/// A disagreement of the clocks.
#[derive(Debug)]
struct Doubt {
    /// Its beginning, by the boot clock.
    since: Duration,
    /// Whether it is recorded.
    is_recorded: bool,
    /// The beginning of the reports of a synchronised wall clock, by the boot clock, and the difference of the clocks
    /// then, in milliseconds.
    confirmed: Option<(Duration, i64)>,
}

/// The wall clock was adopted.
#[derive(Clone, Copy, Debug)]
pub struct Adjustment {
    /// The ledger entry.
    pub seq: u64,
    /// The time before.
    pub was: Timestamp,
    /// The time after.
    pub now: Timestamp,
}

/// The actor of an automatic adoption in entries; no operator's name contains a space.
const THE_SYSTEM: &str = "the system";

/// The time until a synchronisation is seen, in seconds.
const SEEN_WITHIN_S: i64 = 10;

/// The pause before an entry is retried, in seconds.
const RECORD_AGAIN_S: u64 = 60;

/// The largest movement of the wall clock against the boot clock since the confirmation, in milliseconds.
const SAME_CLOCK_MS: u64 = 1000;

impl State {
    /// The time for a credential that is issued now.
    ///
    /// # Errors
    /// [`Failure`] if the wall clock did not fit the ledger at the start, and was not adopted later.
    pub(crate) fn issuing(&self) -> Result<IssueTime, Failure> {
        let as_of = self.store.as_of();
        let time = self.clock.reading();
        if time.trust() == ClockTrust::Held { Err(in_doubt(time)) } else { Ok(IssueTime { time, as_of }) }
    }

    /// The same for a credential that is valid for `life_s` seconds from the earliest reading.
    ///
    /// # Errors
    /// [`Failure`], also if it would have expired by the latest reading.
    pub(crate) fn certifying(&self, life_s: i64) -> Result<IssueTime, Failure> {
        let issue = self.issuing()?;
        outlasts(issue.time, issue.time.earliest().plus_s(life_s))?;
        Ok(issue)
    }
}

impl Services {
    /// Whether the clocks agree: only then do schedules begin anything.
    #[must_use]
    pub fn clocks_agree(&self) -> bool {
        self.state.clock.reading().trust() == ClockTrust::Agreed
    }

    /// Compares the clocks. Raises an alarm when they disagree, and adopts the wall clock after the system has
    /// reported it as synchronised for a minute.
    ///
    /// # Errors
    /// [`Failure`] if an entry could not be written; the next check tries again.
    pub async fn look_at_clock(&self, watch: &mut ClockWatch) -> Result<(), Failure> {
        let (reading, elapsed) = (self.state.clock.reading(), self.state.clock.elapsed());
        let synchronised = self.state.clock.synchronised_at();
        if reading.trust() == ClockTrust::Agreed {
            if watch.doubt.take().is_some() {
                tracing::info!("the wall clock and the boot clock agree again");
            }
            watch.synchronised_before = synchronised;
            return Ok(());
        }
        let doubt = match &mut watch.doubt {
            Some(doubt) => doubt,
            none => {
                self.raise_clock_alarm(reading);
                if reading.trust() == ClockTrust::Held {
                    // A report from before the start may be older than the change of the clock.
                    watch.synchronised_before = synchronised;
                }
                none.insert(Doubt { since: elapsed, is_recorded: false, confirmed: None })
            }
        };
        let mut recorded = Ok(());
        if !doubt.is_recorded && elapsed >= watch.next_entry {
            recorded = self.record_clock_alarm(reading).await;
            doubt.is_recorded = recorded.is_ok();
            let pause_s = if doubt.is_recorded { CLOCK_ALARM_PAUSE_S } else { RECORD_AGAIN_S };
            watch.next_entry = elapsed.saturating_add(Duration::from_secs(pause_s));
        }
        let is_fresh = synchronised.is_some_and(|at| {
            let age_s = reading.wall().seconds_since(at);
            let doubted_s = i64::try_from(elapsed.saturating_sub(doubt.since).as_secs()).unwrap_or(i64::MAX);
            // The report must be newer than the change of the clock.
            let is_newer =
                age_s <= doubted_s.saturating_add(SEEN_WITHIN_S) && synchronised != watch.synchronised_before;
            is_newer && (-1..=CLOCK_SYNC_AGE_MAX_S).contains(&age_s)
        });
        if doubt.is_confirmed(is_fresh, reading, elapsed) {
            self.adopt_clock(THE_SYSTEM).await?;
            watch.doubt = None;
        }
        recorded
    }

    fn raise_clock_alarm(&self, reading: ClockReading) {
        let (wall, expected) = (reading.wall(), reading.now());
        let difference_s = wall.seconds_since(expected);
        self.notifications.meters.alarms().raise(
            Alarm::ClockDisagrees,
            format_args!(
                "the system clock says {wall}, and {expected} was expected ({difference_s} s): set it right, or, if it \
                 is right, run `keyward clock accept` on this host"
            ),
        );
    }

    async fn record_clock_alarm(&self, reading: ClockReading) -> Result<(), Failure> {
        let event = ClockDisagrees {
            wall: reading.wall().to_string(),
            expected: reading.now().to_string(),
            difference_s: reading.wall().seconds_since(reading.now()),
            stops_issuance: reading.trust() == ClockTrust::Held,
        };
        self.state.record(&event).await?;
        Ok(())
    }

    /// Adopts the wall clock.
    async fn adopt_clock(&self, by: &str) -> Result<Adjustment, Failure> {
        let reading = self.state.clock.reading();
        let (was, wall) = (reading.now(), reading.wall());
        let event = ClockAdjusted {
            by,
            was: was.to_string(),
            wall: wall.to_string(),
            difference_s: wall.seconds_since(was),
        };
        // An earlier time ends credentials: the entry may use the reserve of a full disk.
        let change = Change::new(&event)?.effect(Effect::Clock { was }).urgent();
        let receipt = self.state.store.commit(change, ()).await?;
        let adjustment = Adjustment { seq: receipt.seq(), was, now: receipt.time() };
        receipt.redeem();
        tracing::warn!(%by, %was, now = %adjustment.now, "the system clock was accepted");
        // Connections are checked again, and every schedule reads the new time.
        self.notifications.authorities_changed();
        self.notifications.leases.send_modify(|changes| *changes = changes.wrapping_add(1));
        self.notifications.rotations.send_modify(|changes| *changes = changes.wrapping_add(1));
        Ok(adjustment)
    }
}

impl Doubt {
    /// Whether the system has reported this wall clock as synchronised for long enough.
    fn is_confirmed(&mut self, is_fresh: bool, reading: ClockReading, elapsed: Duration) -> bool {
        let elapsed_ms = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        let offset_ms = reading.wall().ms().saturating_sub(elapsed_ms);
        let begun = self.confirmed.filter(|(_, offset)| offset_ms.abs_diff(*offset) <= SAME_CLOCK_MS);
        self.confirmed = is_fresh.then(|| begun.unwrap_or((elapsed, offset_ms)));
        self.confirmed
            .is_some_and(|(since, _)| elapsed.saturating_sub(since) >= Duration::from_secs(CLOCK_SYNC_WAIT_S))
    }
}

impl HostServices {
    /// Adopts the wall clock for a user of the host; `None` if the clocks agree.
    ///
    /// # Errors
    /// [`Failure`]; a sealed broker has no ledger to compare the clock with.
    pub async fn accept_clock(&self, by: HostPrincipal) -> Result<Option<Adjustment>, Failure> {
        let services = self.services().ok_or_else(|| Failure::new(code::SEALED))?;
        if services.clocks_agree() {
            return Ok(None);
        }
        services.adopt_clock(&by.to_string()).await.map(Some)
    }
}

/// Checks that a credential with the end `end` is valid by the latest reading.
///
/// # Errors
/// [`Failure`] if it would be expired at once.
pub(crate) fn outlasts(reading: ClockReading, end: Timestamp) -> Result<(), Failure> {
    let holds = reading.trust() == ClockTrust::Agreed || end > reading.latest();
    if holds { Ok(()) } else { Err(in_doubt(reading)) }
}

/// The refusal, with both times.
pub(crate) fn in_doubt(reading: ClockReading) -> Failure {
    let (now, wall) = (reading.now(), reading.wall());
    let why = match reading.trust() {
        ClockTrust::Held => {
            format!("the system clock is at {wall}, but the ledger's newest entry leads to {now}")
        }
        ClockTrust::Agreed | ClockTrust::Disputed => {
            format!("the system clock is at {wall}, but the boot clock leads to {now}")
        }
    };
    Failure::new(code::CLOCK_UNTRUSTED).because(why)
}
