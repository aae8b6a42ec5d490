use serde::Serialize;

use super::change::Event;
use crate::ledger::Kind;

/// The ledger adopted the time of the wall clock, which can be earlier than the time of the entry before.
#[derive(Debug, Serialize)]
pub struct ClockAdjusted<'a> {
    /// `host uid N`, or `the system` when it was synchronised.
    pub by: &'a str,
    /// The broker's former time.
    pub was: String,
    /// The time of the wall clock.
    pub wall: String,
    /// Seconds from the one to the other; negative when time went back.
    pub difference_s: i64,
}

impl Event for ClockAdjusted<'_> {
    const KIND: Kind = Kind::CLOCK_ADJUSTED;
    const NAME: &'static str = "clock.adjusted";
}

/// Alarm: the wall clock and the clock since boot began to disagree.
#[derive(Debug, Serialize)]
pub struct ClockDisagrees {
    /// The time of the wall clock.
    pub wall: String,
    /// What the wall clock was at the last anchor, plus what the boot clock has counted since.
    pub expected: String,
    /// Seconds from the latter to the former.
    pub difference_s: i64,
    /// Whether nothing is issued until the wall clock is adopted: it did not fit the ledger at start.
    pub stops_issuance: bool,
}

impl Event for ClockDisagrees {
    const KIND: Kind = Kind(0x0b02);
    const NAME: &'static str = "alarm.clock-disagrees";
}
