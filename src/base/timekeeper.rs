use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use super::limits::{CLOCK_AHEAD_MAX_S, CLOCK_BEHIND_MAX_S, CLOCK_TOLERANCE_MS};
use super::timestamp::Timestamp;

/// Whether the wall clock agrees with the expected time: the wall clock at the last anchor, plus the time that the
/// boot clock has counted since.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClockTrust {
    /// The clocks agree. Decisions use the wall clock.
    Agreed,
    /// The clocks disagree. Decisions use the expected time, and credentials must be valid at both times.
    Disputed,
    /// The wall clock did not fit the ledger's newest entry at the start. Nothing is issued until an operator accepts it.
    Held,
}

/// The times of both clocks at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClockReading {
    now: Timestamp,
    wall: Timestamp,
    trust: ClockTrust,
}

impl ClockReading {
    /// A reading of clocks that agree.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self { now, wall: now, trust: ClockTrust::Agreed }
    }

    /// The time of entries, leases and retention. Between two adjustments it does not go back (I11).
    #[must_use]
    pub const fn now(self) -> Timestamp {
        self.now
    }

    /// The time of the wall clock.
    #[must_use]
    pub const fn wall(self) -> Timestamp {
        self.wall
    }

    /// Whether the clocks agree.
    #[must_use]
    pub const fn trust(self) -> ClockTrust {
        self.trust
    }

    /// The earlier time. An object that begins after it is not valid yet, and lives count from it.
    #[must_use]
    pub fn earliest(self) -> Timestamp {
        if self.trust == ClockTrust::Agreed { self.now } else { self.now.min(self.wall) }
    }

    /// The later time. An object that ends before it has expired.
    #[must_use]
    pub fn latest(self) -> Timestamp {
        if self.trust == ClockTrust::Agreed { self.now } else { self.now.max(self.wall) }
    }

    /// Whether an object that is valid from `begin` to before `end` is valid at both times.
    #[must_use]
    pub fn is_within(self, begin: Timestamp, end: Timestamp) -> bool {
        self.earliest() >= begin && self.latest() < end
    }

    /// Seconds between the two times, rounded up; 0 if they agree.
    #[must_use]
    pub fn gap_s(self) -> i64 {
        let ms = self.latest().ms().saturating_sub(self.earliest().ms());
        ms.saturating_add(999).div_euclid(1000)
    }
}

/// The machine's two clocks at one moment, in milliseconds: since 1970, and since some moment before the program
/// started.
#[derive(Clone, Copy, Debug)]
pub struct RawReading {
    pub(super) wall_ms: i64,
    pub(super) boot_ms: i64,
}

impl RawReading {
    /// The time of the wall clock.
    #[must_use]
    pub const fn wall(self) -> Timestamp {
        Timestamp::from_ms(self.wall_ms)
    }

    const fn offset_ms(self) -> i64 {
        self.wall_ms.saturating_sub(self.boot_ms)
    }
}

/// Combines wall clock and boot clock into one time: see docs/explanation/time.md.
#[derive(Debug)]
pub(super) struct Timekeeper {
    /// Wall clock minus boot clock at the anchor: at the start, or when the wall clock was last adopted.
    offset_ms: AtomicI64,
    high_water_ms: AtomicI64,
    is_held: AtomicBool,
}

impl Timekeeper {
    pub(super) const fn anchored(raw: RawReading) -> Self {
        Self {
            offset_ms: AtomicI64::new(raw.offset_ms()),
            high_water_ms: AtomicI64::new(i64::MIN),
            is_held: AtomicBool::new(false),
        }
    }

    pub(super) fn reading(&self, raw: RawReading) -> ClockReading {
        let expected = self.offset_ms.load(Ordering::Acquire).saturating_add(raw.boot_ms);
        let trust = if self.is_held.load(Ordering::Acquire) {
            ClockTrust::Held
        } else if raw.wall_ms.abs_diff(expected) > CLOCK_TOLERANCE_MS {
            ClockTrust::Disputed
        } else {
            ClockTrust::Agreed
        };
        let candidate = if trust == ClockTrust::Agreed { raw.wall_ms } else { expected };
        let high = self.high_water_ms.fetch_max(candidate, Ordering::AcqRel).max(candidate);
        // Within the tolerance time stands still instead of going back. A larger mark is from before an adjustment.
        let now = if high.saturating_sub_unsigned(CLOCK_TOLERANCE_MS) > expected {
            self.high_water_ms.store(candidate, Ordering::Release);
            candidate
        } else {
            high
        };
        ClockReading { now: Timestamp::from_ms(now), wall: Timestamp::from_ms(raw.wall_ms), trust }
    }

    /// Accepts the wall clock as of `raw`, also backwards.
    pub(super) fn adopt(&self, raw: RawReading) {
        self.offset_ms.store(raw.offset_ms(), Ordering::Release);
        self.high_water_ms.store(raw.wall_ms, Ordering::Release);
        self.is_held.store(false, Ordering::Release);
    }

    /// Compares the wall clock with the ledger's newest entry. If it does not fit, time continues from that entry.
    pub(super) fn start_after(&self, newest: Timestamp, raw: RawReading, is_synchronised: bool) {
        let ahead_s = Timestamp::from_ms(raw.wall_ms).seconds_since(newest);
        let behind_ms = newest.ms().saturating_sub(raw.wall_ms);
        let is_ahead = ahead_s > CLOCK_AHEAD_MAX_S && !is_synchronised;
        let is_behind = behind_ms > CLOCK_BEHIND_MAX_S.saturating_mul(1000);
        let fits = !is_ahead && behind_ms.saturating_sub_unsigned(CLOCK_TOLERANCE_MS) <= 0;
        let offset = if fits { raw.offset_ms() } else { newest.ms().saturating_sub(raw.boot_ms) };
        self.offset_ms.store(offset, Ordering::Release);
        self.high_water_ms.store(newest.ms(), Ordering::Release);
        self.is_held.store(is_ahead || is_behind, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: i64 = 1_800_000_000_000;
    const HOUR_MS: i64 = 3_600_000;

    fn raw(wall_ms: i64, boot_ms: i64) -> RawReading {
        RawReading { wall_ms: START_MS.saturating_add(wall_ms), boot_ms }
    }

    fn keeper() -> Timekeeper {
        Timekeeper::anchored(raw(0, 0))
    }

    #[test]
    fn decisions_follow_the_wall_clock_while_the_clocks_agree() {
        let reading = keeper().reading(raw(14_000, 10_000));
        assert_eq!((reading.now().ms(), reading.trust()), (START_MS + 14_000, ClockTrust::Agreed));
        assert_eq!((reading.earliest(), reading.latest()), (reading.now(), reading.now()));
    }

    #[test]
    fn time_stands_still_when_the_wall_clock_steps_back_a_little() {
        let keeper = keeper();
        assert_eq!(keeper.reading(raw(14_000, 10_000)).now().ms(), START_MS + 14_000);
        assert_eq!(keeper.reading(raw(9_000, 11_000)).now().ms(), START_MS + 14_000);
        assert_eq!(keeper.reading(raw(15_000, 17_000)).now().ms(), START_MS + 15_000);
    }

    #[test]
    fn a_wrong_hour_is_not_followed_and_leaves_no_trace() {
        let keeper = keeper();
        let wrong = keeper.reading(raw(HOUR_MS + 1_000, 1_000));
        assert_eq!((wrong.now().ms(), wrong.trust()), (START_MS + 1_000, ClockTrust::Disputed));
        assert_eq!((wrong.latest().ms(), wrong.gap_s()), (START_MS + HOUR_MS + 1_000, 3600));
        let right = keeper.reading(raw(2_000, 2_000));
        assert_eq!((right.now().ms(), right.trust()), (START_MS + 2_000, ClockTrust::Agreed));
    }

    #[test]
    fn an_object_is_valid_only_at_both_times() {
        let keeper = keeper();
        let at = |s: i64| Timestamp::from_ms(START_MS).plus_s(s);
        let ahead = keeper.reading(raw(HOUR_MS, 0));
        assert!(!ahead.is_within(at(0), at(3600)) && ahead.is_within(at(0), at(3601)));
        let behind = keeper.reading(raw(-HOUR_MS, 0));
        assert!(!behind.is_within(at(-3599), at(1)) && behind.is_within(at(-3600), at(1)));
    }

    #[test]
    fn adopting_goes_back_also_after_a_reader_raised_the_mark_late() {
        let keeper = keeper();
        keeper.adopt(raw(HOUR_MS, 0));
        let ahead = keeper.reading(raw(HOUR_MS, 0)).now();
        keeper.adopt(raw(0, 0));
        keeper.high_water_ms.fetch_max(ahead.ms(), Ordering::AcqRel);
        assert_eq!(keeper.reading(raw(1_000, 1_000)).now().ms(), START_MS + 1_000);
    }

    #[test]
    fn a_wall_clock_that_is_set_again_before_it_is_adopted_is_not_followed() {
        let keeper = keeper();
        let recorded = raw(HOUR_MS, 0);
        keeper.adopt(recorded);
        let again = keeper.reading(raw(2 * HOUR_MS + 1_000, 1_000));
        assert_eq!((again.now(), again.trust()), (recorded.wall().plus_s(1), ClockTrust::Disputed));
    }

    #[test]
    fn a_start_before_the_newest_entry_goes_on_from_that_entry() {
        let keeper = keeper();
        let newest = Timestamp::from_ms(START_MS);
        let (tolerance_ms, longest_ms) = (CLOCK_TOLERANCE_MS.cast_signed(), CLOCK_BEHIND_MAX_S * 1000);
        for (behind_ms, trust) in [
            (tolerance_ms, ClockTrust::Agreed),
            (tolerance_ms + 1, ClockTrust::Disputed),
            (longest_ms, ClockTrust::Disputed),
            (longest_ms + 1, ClockTrust::Held),
        ] {
            keeper.start_after(newest, raw(-behind_ms, 0), true);
            let reading = keeper.reading(raw(-behind_ms, 0));
            assert_eq!((reading.now(), reading.trust()), (newest, trust), "{behind_ms}");
        }
    }

    #[test]
    fn a_start_long_after_the_newest_entry_needs_synchronisation() {
        let keeper = keeper();
        let newest = Timestamp::from_ms(START_MS);
        let month_ms = CLOCK_AHEAD_MAX_S * 1000;
        for (ahead_ms, is_synchronised, trust) in [
            (month_ms, false, ClockTrust::Agreed),
            (month_ms + 1000, false, ClockTrust::Held),
            (month_ms + 1000, true, ClockTrust::Agreed),
        ] {
            keeper.start_after(newest, raw(ahead_ms, 0), is_synchronised);
            assert_eq!(keeper.reading(raw(ahead_ms, 0)).trust(), trust, "{ahead_ms} {is_synchronised}");
        }
        keeper.start_after(newest, raw(month_ms + 1000, 0), false);
        keeper.adopt(raw(month_ms + 1000, 0));
        let reading = keeper.reading(raw(month_ms + 2000, 1000));
        assert_eq!((reading.now().ms(), reading.trust()), (START_MS + month_ms + 2000, ClockTrust::Agreed));
    }
}
