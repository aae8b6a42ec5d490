use jiff::{Span, SpanRelativeTo, Unit};

/// The length of time that `text` says, in whole seconds: `90s`, `15m`, `12h`, `30d`, `2w`. `None` for another text, a
/// negative length, and one beyond `u32`.
#[must_use]
pub fn length_s(text: &str) -> Option<u32> {
    let span = text.parse::<Span>().ok().filter(|span| !span.is_negative())?;
    let seconds = span.total((Unit::Second, SpanRelativeTo::days_are_24_hours())).ok()?;
    let is_in_range = (0.0..f64::from(u32::MAX)).contains(&seconds);
    // A part of a second does not matter.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked")]
    let whole = seconds as u32;
    is_in_range.then_some(whole)
}

/// The text of a length of time of `seconds` seconds, which [`length_s`] reads back: `90s`, `15m`, `12h`, `30d`.
#[must_use]
pub fn length_text(seconds: u32) -> String {
    let fits = |(unit, _): &&(u32, &str)| seconds != 0 && seconds.is_multiple_of(*unit);
    match [(86_400, "d"), (3600, "h"), (60, "m")].iter().find(fits) {
        Some((unit, word)) => format!("{}{word}", seconds.checked_div(*unit).unwrap_or(seconds)),
        None => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_read_in_seconds_or_refused() {
        for (text, seconds) in [
            ("90s", 90),
            ("15m", 900),
            ("12h", 43_200),
            ("30d", 2_592_000),
            ("2w", 1_209_600),
            ("1h 30m", 5400),
        ] {
            assert_eq!(length_s(text), Some(seconds), "{text}");
        }
        for text in ["", "90", "h", "-1h", "1 year", "200y", "99999w", "a while"] {
            assert_eq!(length_s(text), None, "{text}");
        }
    }

    #[test]
    fn text_of_a_length_is_read_back() {
        for (seconds, text) in
            [(0, "0s"), (90, "90s"), (900, "15m"), (5400, "90m"), (43_200, "12h"), (2_592_000, "30d")]
        {
            assert_eq!(length_text(seconds), text);
            assert_eq!(length_s(text), Some(seconds));
        }
    }
}
