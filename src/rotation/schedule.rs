use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{ToSpan, Unit, Zoned};
use serde::{Deserialize, Serialize};

use crate::base::limits::{BLACKOUTS_MAX, ROTATION_EVERY_MAX_S, ROTATION_EVERY_MIN_S};
use crate::base::{Timestamp, length_s, length_text};

/// When a secret is rotated: a rhythm, and what may hold it back.
///
/// Days and times of day are those of `zone`, whose rules are built into the broker.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Schedule {
    rhythm: Rhythm,
    zone: String,
    window: Option<Window>,
    blackout: Vec<Days>,
    jitter_s: u32,
}

/// What brings the next rotation about.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Rhythm {
    /// So many seconds after the one before.
    EveryS(u32),
    /// Whenever the pattern matches: minute, hour, day of month, month, day of week.
    Cron(String),
}

/// The part of a day in which rotations may begin; it may go over midnight.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Window {
    from: Time,
    to: Time,
}

/// Days on which none may begin, both ends included.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Days {
    first: Date,
    last: Date,
}

/// A schedule as it is written.
#[derive(Clone, Debug, Default)]
pub struct ScheduleText<'a> {
    /// A length of time, e.g. `30d`.
    pub every: Option<&'a str>,
    /// A cron pattern of five fields.
    pub cron: Option<&'a str>,
    /// An IANA time zone; UTC when there is none.
    pub zone: Option<&'a str>,
    /// `HH:MM-HH:MM`.
    pub window: Option<&'a str>,
    /// Days, `YYYY-MM-DD` or `YYYY-MM-DD/YYYY-MM-DD`.
    pub blackout: Vec<&'a str>,
    /// A length of time.
    pub jitter: Option<&'a str>,
}

/// A schedule as a declaration has it: the fields of [`ScheduleText`].
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct ScheduleFields {
    /// A length of time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// A cron pattern of five fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// An IANA time zone; `None` for UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// `HH:MM-HH:MM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// Days or periods of days.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blackout: Vec<String>,
    /// A length of time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<String>,
}

/// Why something written is no schedule: the field, and what is wrong with it. Never repeats a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{field}` {wrong}")]
pub struct ScheduleError {
    /// Which field.
    pub field: &'static str,
    /// What is wrong with it.
    pub wrong: &'static str,
}

const fn wrong<T>(field: &'static str, wrong: &'static str) -> Result<T, ScheduleError> {
    Err(ScheduleError { field, wrong })
}

/// Longest stretch of blackout days, in days.
const BLACKOUT_DAYS_MAX: i32 = 366;

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// [`ScheduleError`], also for one that would never come due.
    pub fn read(written: &ScheduleText<'_>) -> Result<Self, ScheduleError> {
        let rhythm = match (written.every, written.cron) {
            (Some(every), None) => Rhythm::EveryS(every_s(every)?),
            (None, Some(pattern)) => Rhythm::Cron(pattern.to_owned()),
            (Some(_), Some(_)) => return wrong("cron", "contradicts `every`: leave one of them out"),
            (None, None) => return wrong("every", "or `cron` is missing: declare one of them"),
        };
        let zone = written.zone.unwrap_or("UTC").to_owned();
        if TimeZone::get(&zone).is_err() {
            return wrong("zone", "is not a time zone of the IANA database, e.g. `Europe/Berlin`");
        }
        let window = written.window.map(Window::read).transpose()?;
        if written.blackout.len() > BLACKOUTS_MAX {
            return wrong("blackout", "has too many entries");
        }
        let blackout = written.blackout.iter().map(|days| Days::read(days)).collect::<Result<_, _>>()?;
        let jitter_s = written.jitter.map_or(Ok(0), |text| field_s("jitter", text))?;
        if let Rhythm::EveryS(every) = rhythm
            && jitter_s >= every
        {
            return wrong("jitter", "must be shorter than `every`");
        }
        let schedule = Self { rhythm, zone, window, blackout, jitter_s };
        schedule.clockwork()?;
        if schedule.next_after(Timestamp::from_s(0), 0).is_none() {
            return wrong(schedule.rhythm.field(), "never comes due");
        }
        Ok(schedule)
    }

    /// When the rotation after the one at `last` is due. `salt` picks the place within the jitter, the
    /// same one each time; `None` when it never is.
    #[must_use]
    pub fn next_after(&self, last: Timestamp, salt: u64) -> Option<Timestamp> {
        let (zone, cron) = self.clockwork().ok()?;
        let nominal = match (&self.rhythm, cron) {
            (Rhythm::EveryS(every), _) => last.plus_s(i64::from(*every)),
            (Rhythm::Cron(_), Some(cron)) => {
                let next = cron.find_next_occurrence(&zoned(last, &zone)?, false).ok()?;
                Timestamp::from_ms(next.timestamp().as_millisecond())
            }
            (Rhythm::Cron(_), None) => return None,
        };
        let open = self.permitted_from(nominal)?;
        let room = self.open_for_s(open, &zone).min(self.jitter_s);
        let delay = salt.checked_rem(u64::from(room).saturating_add(1)).unwrap_or(0);
        Some(open.plus_s(i64::try_from(delay).unwrap_or(0)))
    }

    /// The first moment at or after `from` at which a rotation may begin.
    #[must_use]
    pub fn permitted_from(&self, from: Timestamp) -> Option<Timestamp> {
        let (zone, _) = self.clockwork().ok()?;
        let mut at = zoned(from, &zone)?;
        // Each round leaves a stretch of blackout behind, or comes into the window; a stretch can be met
        // once more at the window's other end.
        for _ in 0..=self.blackout.len().saturating_mul(3).saturating_add(3) {
            let moved = match (self.after_blackout(&at), self.window) {
                (Some(after), _) => after,
                (None, Some(window)) if !window.holds(at.time()) => window.next_opening(&at)?,
                (None, _) => return Some(Timestamp::from_ms(at.timestamp().as_millisecond())),
            };
            at = moved;
        }
        None
    }

    /// In words, as it was written.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = match &self.rhythm {
            Rhythm::EveryS(every) => format!("every {}", spoken(*every)),
            Rhythm::Cron(pattern) => format!("cron `{pattern}`"),
        };
        if self.zone != "UTC" {
            text.push_str(&format!(" in {}", self.zone));
        }
        if let Some(window) = self.window {
            text.push_str(&format!(", {}-{}", window.from.strftime("%H:%M"), window.to.strftime("%H:%M")));
        }
        if !self.blackout.is_empty() {
            text.push_str(&format!(", except {} periods of days", self.blackout.len()));
        }
        if self.jitter_s > 0 {
            text.push_str(&format!(", up to {} later", spoken(self.jitter_s)));
        }
        text
    }

    /// The fields of the declaration that reads as this schedule.
    #[must_use]
    pub fn fields(&self) -> ScheduleFields {
        let (every, cron) = match &self.rhythm {
            Rhythm::EveryS(every) => (Some(length_text(*every)), None),
            Rhythm::Cron(pattern) => (None, Some(pattern.clone())),
        };
        let time = |time: Time| time.strftime("%H:%M").to_string();
        ScheduleFields {
            every,
            cron,
            zone: (self.zone != "UTC").then(|| self.zone.clone()),
            window: self.window.map(|window| format!("{}-{}", time(window.from), time(window.to))),
            blackout: self.blackout.iter().map(Days::text).collect(),
            jitter: (self.jitter_s > 0).then(|| length_text(self.jitter_s)),
        }
    }

    /// The seconds between two rotations at the least.
    #[must_use]
    pub const fn interval_s(&self) -> Option<u32> {
        match self.rhythm {
            Rhythm::EveryS(every) => Some(every),
            Rhythm::Cron(_) => None,
        }
    }

    /// What runs it: the time zone, and the pattern when there is one.
    fn clockwork(&self) -> Result<(TimeZone, Option<croner::Cron>), ScheduleError> {
        let Ok(zone) = TimeZone::get(&self.zone) else {
            return wrong("zone", "is not a time zone of the IANA database, e.g. `Europe/Berlin`");
        };
        let cron = match &self.rhythm {
            Rhythm::EveryS(_) => None,
            Rhythm::Cron(pattern) => match parser().parse(pattern) {
                Ok(cron) => Some(cron),
                Err(_) => {
                    return wrong("cron", "is not a pattern of minute, hour, day, month and day of week");
                }
            },
        };
        Ok((zone, cron))
    }

    /// Whether rotations begin only at some times of day or on some days.
    #[must_use]
    pub const fn is_bounded(&self) -> bool {
        self.window.is_some() || !self.blackout.is_empty()
    }

    /// The first moment after the stretch of blackout days that `at` is in.
    fn after_blackout(&self, at: &Zoned) -> Option<Zoned> {
        let day = at.date();
        let days = self.blackout.iter().find(|days| (days.first..=days.last).contains(&day))?;
        days.last.tomorrow().ok()?.to_zoned(at.time_zone().clone()).ok()
    }

    /// For how many seconds from `open` on rotations may begin; no more than it can say.
    fn open_for_s(&self, open: Timestamp, zone: &TimeZone) -> u32 {
        let Some(window) = self.window else { return u32::MAX };
        let closing = zoned(open, zone).and_then(|at| window.closing(&at));
        let left = closing.map_or(0, |closing| closing.seconds_since(open).saturating_sub(1));
        u32::try_from(left).unwrap_or(0)
    }
}

impl Rhythm {
    const fn field(&self) -> &'static str {
        match self {
            Self::EveryS(_) => "every",
            Self::Cron(_) => "cron",
        }
    }
}

impl Window {
    fn read(text: &str) -> Result<Self, ScheduleError> {
        let time = |text: &str| Time::strptime("%H:%M", text).ok();
        let ends = text.split_once('-').and_then(|(from, to)| Some((time(from)?, time(to)?)));
        match ends {
            Some((from, to)) if from != to => Ok(Self { from, to }),
            Some(_) => wrong("window", "never opens: its ends are the same"),
            None => wrong("window", "is not `HH:MM-HH:MM`"),
        }
    }

    fn holds(self, time: Time) -> bool {
        if self.from < self.to {
            self.from <= time && time < self.to
        } else {
            self.from <= time || time < self.to
        }
    }

    fn next_opening(self, at: &Zoned) -> Option<Zoned> {
        let day = if at.time() < self.from { at.date() } else { at.date().tomorrow().ok()? };
        day.to_datetime(self.from).to_zoned(at.time_zone().clone()).ok()
    }

    fn closing(self, at: &Zoned) -> Option<Timestamp> {
        let day = if at.time() < self.to { at.date() } else { at.date().tomorrow().ok()? };
        let closing = day.to_datetime(self.to).to_zoned(at.time_zone().clone()).ok()?;
        Some(Timestamp::from_ms(closing.timestamp().as_millisecond()))
    }
}

impl Days {
    fn read(text: &str) -> Result<Self, ScheduleError> {
        let day = |text: &str| Date::strptime("%Y-%m-%d", text).ok();
        let (first, last) = text.split_once('/').unwrap_or((text, text));
        let (Some(first), Some(last)) = (day(first), day(last)) else {
            return wrong("blackout", "is not `YYYY-MM-DD` or `YYYY-MM-DD/YYYY-MM-DD`");
        };
        match first.until(last).map(|span| span.get_days()) {
            Ok(0..BLACKOUT_DAYS_MAX) => Ok(Self { first, last }),
            _ => wrong("blackout", "has a period that ends before it begins, or is longer than a year"),
        }
    }

    fn text(&self) -> String {
        if self.first == self.last { self.first.to_string() } else { format!("{}/{}", self.first, self.last) }
    }
}

/// The length of time in a field, in seconds.
///
/// # Errors
/// [`ScheduleError`] if [`crate::base::length_s`] reads none.
pub(super) fn field_s(field: &'static str, text: &str) -> Result<u32, ScheduleError> {
    length_s(text)
        .map_or_else(|| wrong(field, "is not a length of time, e.g. `90s`, `12h`, `30d` or `2w`"), Ok)
}

fn every_s(text: &str) -> Result<u32, ScheduleError> {
    let every = field_s("every", text)?;
    if (ROTATION_EVERY_MIN_S..=ROTATION_EVERY_MAX_S).contains(&every) {
        Ok(every)
    } else {
        wrong("every", "must be from 1 minute to 10 years")
    }
}

fn parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build()
}

fn zoned(at: Timestamp, zone: &TimeZone) -> Option<Zoned> {
    jiff::Timestamp::from_millisecond(at.ms()).ok().map(|at| at.to_zoned(zone.clone()))
}

/// A length of time for people.
#[must_use]
pub fn spoken(seconds: u32) -> String {
    let span = i64::from(seconds).seconds();
    let rounding = jiff::SpanRound::new().largest(Unit::Day).days_are_24_hours();
    span.round(rounding).map_or_else(|_| format!("{seconds}s"), |span| format!("{span:#}"))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
