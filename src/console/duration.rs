use crate::base::length_s;

/// Reads the value of an option that takes a duration, in seconds: `90s`, `15m`, `12h`, `30d`. A number alone is refused:
/// people mean seconds, minutes or hours by it. `0` needs no unit.
///
/// # Errors
/// The problem, for a usage error.
pub(crate) fn duration_s(text: &str) -> Result<u32, String> {
    if text == "0" {
        return Ok(0);
    }
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let problem = if is_number { "the duration has no unit" } else { "it is not a duration" };
    let seconds = length_s(text).filter(|_| !is_number);
    seconds.ok_or_else(|| format!("{problem}: use e.g. `90s`, `15m`, `12h` or `30d`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_has_a_unit() {
        assert_eq!((duration_s("15m"), duration_s("0"), duration_s("0s")), (Ok(900), Ok(0), Ok(0)));
        assert!(duration_s("900").is_err_and(|problem| problem.contains("no unit")));
        for text in ["", "-1", "4294967296", "m", "1 month"] {
            assert!(duration_s(text).is_err(), "{text}");
        }
    }
}
