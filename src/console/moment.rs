use crate::base::{MOMENT_FORMS, Moment};

/// Reads the value of an option that takes a moment.
///
/// # Errors
/// The problem, for a usage error.
pub(crate) fn moment(text: &str) -> Result<Moment, String> {
    Moment::parse(text).ok_or_else(|| format!("it is not a moment: name {MOMENT_FORMS}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_moment_is_answered_with_the_forms() {
        assert_eq!(moment("6h"), Ok(Moment::Ago(21_600)));
        let problem = moment("2026-11-30T02:00:00").unwrap_err();
        assert!(problem.contains("with its zone") && problem.contains("a date"), "{problem}");
    }
}
