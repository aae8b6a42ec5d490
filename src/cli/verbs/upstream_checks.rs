use crate::base::code;
use crate::cli::client::Received;
use crate::console::{CommandFailure, Console};
use crate::wire::UpstreamCheckAnswer;

/// Prints the results of upstream checks; fails if a check failed.
pub(super) fn conclude(
    checked: &[Received<UpstreamCheckAnswer>],
    console: &Console,
) -> Result<(), CommandFailure> {
    let findings = checked.iter().flat_map(|check| check.findings.iter().map(move |found| (check, found)));
    let (mut all, mut missing) = (0_u32, 0_u32);
    for (check, finding) in findings {
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
        console.line(&format!("{verdict} {} {}: {}", check.secret, finding.what, finding.says));
        if let Some(fix) = &finding.fix {
            console.line(&format!("     fix: {fix}"));
        }
    }
    if missing == 0 {
        return Ok(());
    }
    Err(CommandFailure::new(code::UPSTREAM_CHECK_FAILED).because(format!("{missing} of {all} checks failed")))
}
