use std::fmt;

use super::length::{length_s, length_text};
use super::timestamp::Timestamp;

/// A moment that a person names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Moment {
    /// A time, or the beginning of a date.
    At(Timestamp),
    /// So many seconds ago.
    Ago(u32),
}

/// What [`Moment::parse`] accepts, for messages.
pub const MOMENT_FORMS: &str = "a time with its zone such as `2026-11-30T02:00:00Z` or `2026-11-30T03:00+01:00`, a date such as \
                                `2026-11-30` (its beginning in UTC), or a length of time before now such as `6h`";

impl Moment {
    /// Parses one of [`MOMENT_FORMS`]. A time without a zone is none: people mean different ones by it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let date = || text.parse::<jiff::civil::Date>().ok().filter(|_| text.len() == "2026-11-30".len());
        let beginning = || Timestamp::parse(&format!("{}T00:00:00Z", date()?));
        let time = Timestamp::parse(text).or_else(beginning).map(Self::At);
        time.or_else(|| length_s(text).map(Self::Ago))
    }

    /// The moment, seen from `now`.
    #[must_use]
    pub fn seen_from(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(seconds) => now.plus_s(i64::from(seconds).saturating_neg()),
        }
    }
}

/// The text that [`Moment::parse`] reads back.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(time) => time.fmt(f),
            Self::Ago(seconds) => f.write_str(&length_text(*seconds)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_a_date_or_a_length_before_now() {
        let now = Timestamp::parse("2026-12-01T12:00:00Z").unwrap();
        for (text, at) in [
            ("2026-11-30T02:00:00Z", "2026-11-30T02:00:00.000Z"),
            ("2026-11-30T03:00:00+01:00", "2026-11-30T02:00:00.000Z"),
            ("2026-11-30T03:00+01:00", "2026-11-30T02:00:00.000Z"),
            ("2026-11-30 03:00-05:00", "2026-11-30T08:00:00.000Z"),
            ("2026-11-30", "2026-11-30T00:00:00.000Z"),
            ("6h", "2026-12-01T06:00:00.000Z"),
        ] {
            let moment = Moment::parse(text).unwrap();
            assert_eq!(moment.seen_from(now).to_string(), at, "{text}");
            assert_eq!(Moment::parse(&moment.to_string()), Some(moment), "{text}");
        }
    }

    #[test]
    fn a_text_that_has_more_than_one_meaning_is_no_moment() {
        for text in ["", "2026-11-30T02:00:00", "2026-11-31", "30.11.2026", "6", "yesterday", "-6h"] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }
}
