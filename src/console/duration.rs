use crate::base::length_s;

/// Reads the value of an option that takes a duration, in seconds: `90s`, `15m`, `12h`, `30d`. A number alone counts
/// seconds.
///
/// # Errors
/// The problem, for a usage error.
pub(crate) fn duration_s(text: &str) -> Result<u32, String> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = if is_number { text.parse().ok() } else { length_s(text) };
    seconds.ok_or_else(|| "it is not a duration, e.g. `90s`, `15m`, `12h` or `30d`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_has_a_unit_or_counts_seconds() {
        assert_eq!(duration_s("15m"), Ok(900));
        assert_eq!(duration_s("900"), Ok(900));
        for text in ["", "-1", "4294967296", "m", "1 month"] {
            assert!(duration_s(text).is_err(), "{text}");
        }
    }
}
