use crate::base::code;
use crate::console::{CommandFailure, Console};
use crate::wire::FindingAnswer;

/// A checked upstream, of a secret or of a capability.
pub(super) struct UpstreamCheck<'a> {
    pub(super) of: &'a str,
    pub(super) findings: &'a [FindingAnswer],
}

/// Prints the results of upstream checks; fails if a check failed.
pub(super) fn conclude<'a>(
    checked: impl Iterator<Item = UpstreamCheck<'a>>,
    console: &Console,
) -> Result<(), CommandFailure> {
    let findings = checked.flat_map(|check| check.findings.iter().map(move |found| (check.of, found)));
    let (mut all, mut missing) = (0_u32, 0_u32);
    for (of, finding) in findings {
        all = all.saturating_add(1);
        missing = missing.saturating_add(u32::from(!finding.ok));
        if console.is_json() {
            continue;
        }
        let verdict = match (finding.ok, &finding.fix) {
            (true, None) => "ok  ",
            (true, Some(_)) => "warn",
            (false, _) => "FAIL",
        };
        console.line(&format!("{verdict} {of} {}: {}", finding.what, finding.says));
        if let Some(fix) = &finding.fix {
            console.line(&format!("     fix: {fix}"));
        }
    }
    if missing == 0 {
        return Ok(());
    }
    Err(CommandFailure::new(code::UPSTREAM_CHECK_FAILED).because(format!("{missing} of {all} checks failed")))
}
