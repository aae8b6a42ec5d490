use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use super::limits::CLOCK_SYNC_AGE_MAX_S;
use super::timekeeper::{ClockReading, RawReading, Timekeeper};
use super::timestamp::Timestamp;

/// A source of time. It is a parameter everywhere, so that tests control it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present moment by the wall clock and the boot clock.
    fn reading(&self) -> ClockReading;

    /// The present moment. Between two adjustments never earlier than an answer already given (I11).
    fn now(&self) -> Timestamp {
        self.reading().now()
    }

    /// A time that only counts up, also during an adjustment: for waits and rates.
    fn elapsed(&self) -> Duration;

    /// When the wall clock was last synchronised; `None` if unknown.
    fn synchronised_at(&self) -> Option<Timestamp>;

    /// Compares the wall clock with the ledger's newest entry, at a start.
    fn start_after(&self, newest: Timestamp);

    /// Both clocks, as they are.
    fn raw(&self) -> RawReading;

    /// Accepts the wall clock as of `raw`, also backwards. Only the ledger's writer calls this, once the entry that
    /// records it is durable.
    fn adopt(&self, raw: RawReading);
}

/// Measures durations for metrics and for the ends of long work, never for a decision.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "nothing is decided by it")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// The time since the start.
    #[must_use]
    pub fn elapsed(&self) -> std::time::Duration {
        self.0.elapsed()
    }
}

/// The machine's clocks: the wall clock, checked against the one that counts since the machine booted, also while
/// it is suspended.
#[derive(Debug)]
pub struct SystemClock {
    keeper: Timekeeper,
    /// Another program writes this file at each synchronisation of the wall clock.
    synchronised: Option<PathBuf>,
}

impl SystemClock {
    /// Starts at the wall clock, whose synchronisation is unknown.
    #[must_use]
    pub fn new() -> Self {
        Self { keeper: Timekeeper::anchored(machine()), synchronised: None }
    }

    /// The same; another program writes `file` at each synchronisation of the wall clock.
    #[must_use]
    pub fn synchronised_by(file: Option<PathBuf>) -> Self {
        Self { synchronised: file, ..Self::new() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
fn machine() -> RawReading {
    RawReading { wall_ms: Timestamp::of_system(SystemTime::now()).ms(), boot_ms: since_boot() }
}

fn since_boot() -> i64 {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    boot.tv_sec.saturating_mul(1000).saturating_add(boot.tv_nsec / 1_000_000)
}

impl Clock for SystemClock {
    fn reading(&self) -> ClockReading {
        self.keeper.reading(machine())
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(since_boot().unsigned_abs())
    }

    fn synchronised_at(&self) -> Option<Timestamp> {
        let written = std::fs::metadata(self.synchronised.as_ref()?).ok()?.modified().ok()?;
        Some(Timestamp::of_system(written))
    }

    fn start_after(&self, newest: Timestamp) {
        let raw = machine();
        self.keeper.start_after(newest, raw, is_recent(self.synchronised_at(), raw));
    }

    fn raw(&self) -> RawReading {
        machine()
    }

    fn adopt(&self, raw: RawReading) {
        self.keeper.adopt(raw);
    }
}

/// Whether the wall clock was synchronised lately. If it was set since, the report seems old, or in the future.
fn is_recent(at: Option<Timestamp>, raw: RawReading) -> bool {
    at.is_some_and(|at| {
        let age_s = Timestamp::from_ms(raw.wall_ms).seconds_since(at);
        (-1..=CLOCK_SYNC_AGE_MAX_S).contains(&age_s)
    })
}

/// A clock that moves only by its methods, for tests and replays.
#[derive(Debug)]
pub struct ManualClock {
    wall_ms: AtomicI64,
    boot_ms: AtomicI64,
    synchronised_ms: AtomicI64,
    keeper: Timekeeper,
}

impl ManualClock {
    /// A clock standing at `start`.
    #[must_use]
    pub const fn new(start: Timestamp) -> Self {
        Self {
            wall_ms: AtomicI64::new(start.ms()),
            boot_ms: AtomicI64::new(0),
            synchronised_ms: AtomicI64::new(i64::MIN),
            keeper: Timekeeper::anchored(RawReading { wall_ms: start.ms(), boot_ms: 0 }),
        }
    }

    /// Moves both clocks forward by `s` seconds.
    pub fn advance_s(&self, s: u32) {
        let ms = i64::from(s).saturating_mul(1000);
        self.wall_ms.fetch_add(ms, Ordering::Relaxed);
        self.boot_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Sets the wall clock `s` seconds ahead, or back; the boot clock stays.
    pub fn step_s(&self, s: i64) {
        self.wall_ms.fetch_add(s.saturating_mul(1000), Ordering::Relaxed);
    }

    /// Reports that the wall clock is synchronised.
    pub fn synchronise(&self) {
        self.synchronised_ms.store(self.raw().wall_ms, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn reading(&self) -> ClockReading {
        self.keeper.reading(self.raw())
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.raw().boot_ms.unsigned_abs())
    }

    fn synchronised_at(&self) -> Option<Timestamp> {
        let ms = self.synchronised_ms.load(Ordering::Relaxed);
        (ms != i64::MIN).then_some(Timestamp::from_ms(ms))
    }

    fn start_after(&self, newest: Timestamp) {
        let raw = self.raw();
        self.keeper.start_after(newest, raw, is_recent(self.synchronised_at(), raw));
    }

    fn raw(&self) -> RawReading {
        let (wall_ms, boot_ms) = (self.wall_ms.load(Ordering::Relaxed), self.boot_ms.load(Ordering::Relaxed));
        RawReading { wall_ms, boot_ms }
    }

    fn adopt(&self, raw: RawReading) {
        self.keeper.adopt(raw);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_tells_when_the_system_clock_was_synchronised() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("synchronized");
        let clock = SystemClock::synchronised_by(Some(file.clone()));
        assert_eq!(clock.synchronised_at(), None);
        std::fs::write(&file, b"").unwrap();
        let age_s = clock.now().seconds_since(clock.synchronised_at().unwrap());
        assert!((-1..10).contains(&age_s), "{age_s}");
    }

    #[test]
    fn a_report_of_synchronisation_counts_for_an_hour() {
        let raw = RawReading { wall_ms: 1_800_000_000_000, boot_ms: 0 };
        let said = |ago_s: i64| is_recent(Some(Timestamp::from_ms(raw.wall_ms).plus_s(-ago_s)), raw);
        assert!(said(0) && said(CLOCK_SYNC_AGE_MAX_S) && !said(CLOCK_SYNC_AGE_MAX_S + 1));
        assert!(!said(-2) && !is_recent(None, raw), "a clock that was set back since, and nothing");
    }

    #[test]
    fn rates_go_on_while_the_wall_clock_is_set() {
        let clock = ManualClock::new(Timestamp::from_s(1_800_000_000));
        clock.step_s(-86_400);
        clock.advance_s(7);
        clock.adopt(clock.raw());
        assert_eq!(clock.elapsed(), Duration::from_secs(7));
    }
}
