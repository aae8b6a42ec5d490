use proptest::prelude::*;

use super::*;
use crate::base::SecretName;
use crate::rotation::{Declared, Effect, Rotations, Slots};
use crate::store::At;

fn at(text: &str) -> Timestamp {
    Timestamp::from_ms(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

fn cron<'a>(pattern: &'a str, zone: &'a str) -> ScheduleText<'a> {
    ScheduleText { cron: Some(pattern), zone: Some(zone), ..ScheduleText::default() }
}

fn every(length: &str) -> ScheduleText<'_> {
    ScheduleText { every: Some(length), ..ScheduleText::default() }
}

fn due(written: &ScheduleText<'_>, last: &str) -> String {
    Schedule::read(written).unwrap().next_after(at(last), 0).unwrap().to_string()
}

fn refused(written: &ScheduleText<'_>) -> (&'static str, &'static str) {
    let error = Schedule::read(written).unwrap_err();
    (error.field, error.wrong)
}

#[test]
fn an_interval_counts_from_the_rotation_before() {
    assert_eq!(due(&every("30d"), "2026-01-01T12:00:00Z"), "2026-01-31T12:00:00.000Z");
    assert_eq!(due(&every("90m"), "2026-01-01T12:00:00Z"), "2026-01-01T13:30:00.000Z");
}

#[test]
fn a_pattern_is_that_of_its_zone_in_summer_and_in_winter() {
    let nightly = cron("30 3 * * *", "Europe/Berlin");
    assert_eq!(due(&nightly, "2026-01-10T12:00:00Z"), "2026-01-11T02:30:00.000Z");
    assert_eq!(due(&nightly, "2026-07-10T12:00:00Z"), "2026-07-11T01:30:00.000Z");
}

#[test]
fn a_skipped_or_repeated_time_of_day_is_due_once() {
    let schedule = Schedule::read(&cron("30 2 * * *", "Europe/Berlin")).unwrap();
    for (from, until) in
        [("2026-03-28T12:00:00Z", "2026-03-31T12:00:00Z"), ("2026-10-24T12:00:00Z", "2026-10-27T12:00:00Z")]
    {
        let (mut last, mut count) = (at(from), 0);
        while let Some(next) = schedule.next_after(last, 0).filter(|next| *next < at(until)) {
            assert!(next > last);
            (last, count) = (next, count + 1);
        }
        assert_eq!(count, 3, "from {from}");
    }
}

#[test]
fn what_falls_outside_of_the_window_waits_for_it() {
    let mut written = every("1d");
    written.window = Some("01:00-05:00");
    assert_eq!(due(&written, "2026-01-01T12:00:00Z"), "2026-01-03T01:00:00.000Z");
    assert_eq!(due(&written, "2026-01-01T04:59:59Z"), "2026-01-02T04:59:59.000Z");
    assert_eq!(due(&written, "2026-01-01T05:00:00Z"), "2026-01-03T01:00:00.000Z");
    written.window = Some("22:00-02:00");
    assert_eq!(due(&written, "2026-01-01T23:00:00Z"), "2026-01-02T23:00:00.000Z");
    assert_eq!(due(&written, "2026-01-01T01:59:00Z"), "2026-01-02T01:59:00.000Z");
    assert_eq!(due(&written, "2026-01-01T02:00:00Z"), "2026-01-02T22:00:00.000Z");
}

#[test]
fn blackout_days_are_left_out_also_when_one_stretch_follows_the_other() {
    let mut written = every("1d");
    written.blackout = vec!["2026-12-24/2026-12-26", "2026-12-27"];
    written.window = Some("08:00-09:00");
    assert_eq!(due(&written, "2026-12-23T08:30:00Z"), "2026-12-28T08:00:00.000Z");
    assert_eq!(due(&written, "2026-12-22T08:30:00Z"), "2026-12-23T08:30:00.000Z");
}

#[test]
fn jitter_stays_within_itself_and_within_the_window() {
    let mut written = every("1d");
    (written.window, written.jitter) = (Some("01:00-01:30"), Some("2h"));
    let schedule = Schedule::read(&written).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for salt in 0..10_000 {
        let next = schedule.next_after(at("2026-01-01T12:00:00Z"), salt).unwrap();
        assert!((at("2026-01-03T01:00:00Z")..at("2026-01-03T01:30:00Z")).contains(&next), "{next}");
        seen.insert(next);
    }
    assert!(seen.len() > 1000, "{} places", seen.len());
}

#[test]
fn what_would_never_come_due_is_refused() {
    assert_eq!(refused(&cron("0 0 30 2 *", "UTC")), ("cron", "never comes due"));
    assert_eq!(refused(&ScheduleText { window: Some("03:00-03:00"), ..every("1d") }).0, "window");
}

#[test]
fn what_is_no_schedule_is_refused_by_its_field() {
    assert_eq!(refused(&ScheduleText::default()).0, "every");
    assert_eq!(refused(&ScheduleText { every: Some("1d"), ..cron("0 0 * * *", "UTC") }).0, "cron");
    assert_eq!(refused(&cron("0 0 * * *", "Europe/Atlantis")).0, "zone");
    for pattern in ["", "CNRY", "61 0 * * *", "0 0 * *", "0 0 0 * * *", "* * * * * * *"] {
        assert_eq!(refused(&cron(pattern, "UTC")).0, "cron", "{pattern:?}");
    }
    for length in ["", "CNRY", "-1d", "30", "1fortnight", "99999999999w"] {
        assert_eq!(refused(&every(length)).0, "every", "{length:?}");
    }
    for window in ["", "CNRY", "25:00-26:00", "01:00", "01:00-02:00-03:00", "1-2"] {
        assert_eq!(refused(&ScheduleText { window: Some(window), ..every("1d") }).0, "window", "{window:?}");
    }
    for days in ["", "CNRY", "2026-02-30", "2026-01-02/2026-01-01", "2026-01-01/2027-06-01"] {
        assert_eq!(refused(&ScheduleText { blackout: vec![days], ..every("1d") }).0, "blackout", "{days:?}");
    }
    assert_eq!(refused(&ScheduleText { jitter: Some("1d"), ..every("1d") }).0, "jitter");
}

#[test]
fn limits_hold_at_the_edge() {
    let good = |seconds: u32| Schedule::read(&every(&format!("{seconds}s"))).is_ok();
    assert!(good(ROTATION_EVERY_MIN_S) && !good(ROTATION_EVERY_MIN_S - 1));
    assert!(good(ROTATION_EVERY_MAX_S) && !good(ROTATION_EVERY_MAX_S + 1));
    let days = |count: usize| ScheduleText { blackout: vec!["2026-01-01"; count], ..every("1d") };
    assert!(Schedule::read(&days(BLACKOUTS_MAX)).is_ok());
    assert!(Schedule::read(&days(BLACKOUTS_MAX + 1)).is_err());
}

proptest! {
    #[test]
    fn the_next_one_is_later_and_permitted(last in 0_i64..4_000_000_000, salt: u64, hours in 1_u32..2000, from in 0_u32..24, to in 0_u32..24) {
        prop_assume!(from != to);
        let (length, window) = (format!("{hours}h"), format!("{from:02}:00-{to:02}:00"));
        let written = ScheduleText { window: Some(&window), zone: Some("America/New_York"), jitter: Some("30m"), ..every(&length) };
        let schedule = Schedule::read(&written).unwrap();
        let last = Timestamp::from_s(last);
        let next = schedule.next_after(last, salt).unwrap();
        prop_assert!(next.seconds_since(last) >= i64::from(hours).saturating_mul(3600));
        prop_assert_eq!(schedule.permitted_from(next), Some(next));
    }
}

#[test]
fn a_schedule_of_the_future_comes_back_with_the_time() {
    const WEEK_S: i64 = 7 * 86_400;
    let secret: SecretName = "orders-db/app".parse().unwrap();
    let (right, wrong) = (Timestamp::from_s(1_800_000_000), Timestamp::from_s(1_800_000_000).plus_s(WEEK_S));
    let declared = Declared {
        secret: secret.clone(),
        upstream: String::new(),
        slots: Slots::One,
        schedule: Some(Schedule::read(&every("1m")).unwrap()),
        grace_s: 0,
    };
    // Also what the wrong clock has passed meanwhile.
    for (next, until_s) in [(wrong.plus_s(60), 0), (wrong.plus_s(60), 150), (right.plus_s(60), 150)] {
        let mut rotations = Rotations::default();
        let declare = Effect::Declare { declared: Box::new(declared.clone()), next: Some(next) };
        rotations.apply(At { seq: 1, time: wrong }, &declare);
        rotations.time_went_back(right.plus_s(until_s), wrong.plus_s(until_s));
        let next = rotations.of(&secret).unwrap().next.unwrap();
        assert!(next >= right.plus_s(until_s.min(60)) && next <= right.plus_s(until_s.max(60)), "{next}");
    }
}
