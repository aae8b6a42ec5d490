use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};

use super::encoding::ShortText;

/// A moment as text.
pub type TimeText = ShortText<32>;

/// A moment in milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `ms` milliseconds after 1970-01-01 UTC.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// The moment `s` seconds after 1970-01-01 UTC; saturates.
    #[must_use]
    pub const fn from_s(s: i64) -> Self {
        Self(s.saturating_mul(1000))
    }

    /// The moment that an RFC 3339 text says.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|at| Self(at.as_millisecond()))
    }

    /// Milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01 UTC, rounded down.
    #[must_use]
    pub const fn s(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment plus `s` seconds; saturates.
    #[must_use]
    pub const fn plus_s(self, s: i64) -> Self {
        Self(self.0.saturating_add(s.saturating_mul(1000)))
    }

    /// Its text, to be written somewhere at once.
    #[must_use]
    pub fn text(self) -> TimeText {
        let mut text = TimeText::new("");
        text.write(format_args!("{self}"));
        text
    }

    /// Whole seconds from `earlier` to `self`; negative when `self` is before `earlier`.
    #[must_use]
    pub const fn seconds_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0).div_euclid(1000)
    }
}

/// RFC 3339 in UTC with milliseconds, e.g. `2026-11-20T09:30:00.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// Tells the time. Handed in wherever time is read, so that tests own it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present moment. Never earlier than an answer already given (I11).
    fn now(&self) -> Timestamp;

    /// From now on no answer is earlier than `moment`: the ledger's last entry, at start.
    fn not_before(&self, moment: Timestamp);
}

/// Measures how long something of our own takes: for meters, never for a decision.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Begins to measure.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "nothing is decided by it")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// How long it has been since.
    #[must_use]
    pub fn elapsed(&self) -> std::time::Duration {
        self.0.elapsed()
    }
}

/// The machine's wall clock, kept from running backwards by a high-water mark.
#[derive(Debug)]
pub struct SystemClock {
    high_water_ms: AtomicI64,
}

impl SystemClock {
    /// A clock that has not answered yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { high_water_ms: AtomicI64::new(i64::MIN) }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        let ms = match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(_) => 0,
        };
        Timestamp(self.high_water_ms.fetch_max(ms, Ordering::Relaxed).max(ms))
    }

    fn not_before(&self, moment: Timestamp) {
        self.high_water_ms.fetch_max(moment.0, Ordering::Relaxed);
    }
}

/// A clock that stands still until told otherwise: for tests and replays.
#[derive(Debug)]
pub struct ManualClock {
    ms: AtomicI64,
}

impl ManualClock {
    /// A clock standing at `start`.
    #[must_use]
    pub const fn new(start: Timestamp) -> Self {
        Self { ms: AtomicI64::new(start.0) }
    }

    /// Moves the clock forward by `s` seconds.
    pub fn advance_s(&self, s: u32) {
        self.ms.fetch_add(i64::from(s).saturating_mul(1000), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.ms.load(Ordering::Relaxed))
    }

    fn not_before(&self, moment: Timestamp) {
        self.ms.fetch_max(moment.0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_print_as_rfc_3339_in_utc() {
        assert_eq!(Timestamp::from_ms(1_700_000_000_123).to_string(), "2023-11-14T22:13:20.123Z");
    }

    #[test]
    fn the_system_clock_never_answers_earlier_than_it_was_told() {
        let clock = SystemClock::new();
        let far = clock.now().plus_s(3600);
        clock.not_before(far);
        assert!(clock.now() >= far);
    }

    #[test]
    fn arithmetic_saturates_at_the_ends_of_time() {
        assert_eq!(Timestamp::from_ms(i64::MAX).plus_s(1).ms(), i64::MAX);
        assert_eq!(Timestamp::from_s(i64::MIN).ms(), i64::MIN);
    }
}
