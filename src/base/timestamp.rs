use std::fmt;
use std::time::SystemTime;

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

    /// A moment of the system, e.g. a file's modification time; at the earliest 1970.
    #[must_use]
    pub fn of_system(at: SystemTime) -> Self {
        let since = at.duration_since(SystemTime::UNIX_EPOCH);
        Self(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Parses RFC 3339.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|at| Self(at.as_millisecond()))
    }

    /// Parses the date of an HTTP header (RFC 9110 §5.6.7), e.g. `Sun, 06 Nov 1994 08:49:37 GMT`.
    #[must_use]
    pub fn parse_http(text: &str) -> Option<Self> {
        let parser = jiff::fmt::rfc2822::DateTimeParser::new();
        parser.parse_timestamp(text).ok().map(|at| Self(at.as_millisecond()))
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

    /// The text, without an allocation.
    #[must_use]
    pub fn text(self) -> TimeText {
        let mut text = TimeText::new("");
        text.write(format_args!("{self}"));
        text
    }

    /// The moment to the minute, for people: e.g. `2026-11-28 19:14 UTC`.
    #[must_use]
    pub fn to_minute(self) -> String {
        let text: String = self.to_string().chars().take("2026-11-28T19:14".len()).collect();
        format!("{} UTC", text.replace('T', " "))
    }

    /// This moment after the clock went back from `was` to `now`: a later moment moves back by the same step.
    #[must_use]
    pub const fn brought_back(self, was: Self, now: Self) -> Self {
        let step_ms = was.0.saturating_sub(now.0);
        if self.0 > now.0 { Self(self.0.saturating_sub(step_ms)) } else { self }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_print_as_rfc_3339_in_utc() {
        assert_eq!(Timestamp::from_ms(1_700_000_000_123).to_string(), "2023-11-14T22:13:20.123Z");
    }

    #[test]
    fn minutes_print_for_people() {
        assert_eq!(Timestamp::from_ms(1_700_000_000_123).to_minute(), "2023-11-14 22:13 UTC");
    }

    #[test]
    fn arithmetic_saturates_at_the_ends_of_time() {
        assert_eq!(Timestamp::from_ms(i64::MAX).plus_s(1).ms(), i64::MAX);
        assert_eq!(Timestamp::from_s(i64::MIN).ms(), i64::MIN);
    }
}
