use std::collections::BTreeSet;

use crate::base::code;
use crate::console::CommandFailure;
use crate::wire::LeftOutAnswer;

/// Refuses a token without some of the capabilities: the command relies on all of them.
pub(super) fn all_granted(
    capabilities: &[String],
    scope: &str,
    left_out: &[LeftOutAnswer],
) -> Result<(), CommandFailure> {
    let requested = capabilities.iter().flat_map(|names| names.split_whitespace());
    let Some(missing) = missing(requested, scope, left_out) else { return Ok(()) };
    let why = format!("the token would be without {missing}; the command was not started");
    Err(CommandFailure::new(code::CAPABILITY_NOT_GRANTED).because(why))
}

/// The requested capabilities that are not in `scope`, each with the reason; `None` if there are none.
pub(super) fn missing<'a>(
    requested: impl Iterator<Item = &'a str>,
    scope: &str,
    left_out: &[LeftOutAnswer],
) -> Option<String> {
    let granted: BTreeSet<&str> = scope.split_whitespace().collect();
    let missing: BTreeSet<&str> = requested.filter(|name| !granted.contains(name)).collect();
    let described = |name: &&str| match left_out.iter().find(|one| one.capability.as_str() == *name) {
        Some(LeftOutAnswer { code, reason, .. }) => format!("`{name}` ({code}: {reason})"),
        None => format!("`{name}` (no role of this agent holds it, or it is suspended or denied)"),
    };
    let described: Vec<String> = missing.iter().map(described).collect();
    (!described.is_empty()).then(|| described.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_that_a_token_does_not_have_is_named_with_its_reason() {
        let left_out: LeftOutAnswer = serde_json::from_value(serde_json::json!({
            "capability": "b.read", "code": "capability_suspended", "reason": "an incident contains it",
        }))
        .unwrap();
        let requested = ["a.read b.read".to_owned(), "c.read".to_owned()];
        let refused = all_granted(&requested, "a.read", &[left_out]).unwrap_err();
        assert_eq!(refused.code(), "capability_not_granted");
        for part in [
            "without `b.read` (capability_suspended: an incident contains it), `c.read` (no role of this agent",
            "the command was not started",
        ] {
            assert!(refused.why().contains(part), "{}", refused.why());
        }
        assert!(all_granted(&requested, "a.read b.read c.read", &[]).is_ok());
    }
}
