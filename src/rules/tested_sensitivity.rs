use cedar_policy::Policy;
use serde_json::Value;

/// Whether the statement can restrict requests for a secret of the sensitivity `high` less than the same requests for an ordinary
/// secret. Tests that are not understood count as such.
pub(super) fn spares_high(policy: &Policy) -> bool {
    // A statement without a JSON form is not checked, and was refused when it was declared.
    let Ok(form) = policy.to_json() else { return true };
    let Some(conditions) = form.get("conditions").and_then(Value::as_array) else { return true };
    conditions.iter().any(|condition| {
        let matches = condition.get("kind").and_then(Value::as_str) == Some("when");
        condition.get("body").is_none_or(|body| can_fail_for_high(body, matches))
    })
}

/// Whether `form` can be other than `wanted` for `high` although it is `wanted` for `ordinary`.
fn can_fail_for_high(form: &Value, wanted: bool) -> bool {
    // The parsed form spells each name without escapes.
    if !form.to_string().contains("\"sensitivity\"") {
        return false;
    }
    let Some((operator, operands)) = form.as_object().and_then(|fields| fields.iter().next()) else {
        return true;
    };
    let operand = |name: &str| operands.get(name);
    match operator.as_str() {
        "&&" | "||" => ["left", "right"]
            .into_iter()
            .any(|side| operand(side).is_none_or(|form| can_fail_for_high(form, wanted))),
        "!" => operand("arg").is_none_or(|form| can_fail_for_high(form, !wanted)),
        "==" | "!=" => {
            let (Some(left), Some(right)) = (operand("left"), operand("right")) else { return true };
            let (fact, other) = if is_sensitivity(left) { (left, right) } else { (right, left) };
            if !is_sensitivity(fact) {
                return true;
            }
            match (other.get("Value").and_then(Value::as_str), operator.as_str()) {
                (Some("high"), "==") | (Some("ordinary"), "!=") => !wanted,
                (Some("high"), "!=") | (Some("ordinary"), "==") => wanted,
                _ => true,
            }
        }
        _ => true,
    }
}

/// Whether `form` is `resource.sensitivity`.
fn is_sensitivity(form: &Value) -> bool {
    form.get(".").is_some_and(|operands| {
        operands.pointer("/left/Var").and_then(Value::as_str) == Some("resource")
            && operands.get("attr").and_then(Value::as_str) == Some("sensitivity")
    })
}

#[cfg(test)]
mod tests {
    use crate::rules::Rule;

    #[test]
    fn only_rules_that_can_restrict_high_less_spare_it() {
        for (conditions, spares) in [
            ("", false),
            ("when { resource.access == \"write\" }", false),
            ("when { resource.sensitivity == \"high\" }", false),
            ("when { \"ordinary\" != resource.sensitivity && context.time.weekday > 5 }", false),
            ("unless { resource.sensitivity == \"ordinary\" || resource.access == \"read\" }", false),
            ("unless { !(resource.sensitivity == \"high\") }", false),
            ("when { resource.sensitivity == \"ordinary\" }", true),
            ("when { resource[\"sensitivit\\u{79}\"] != \"high\" }", true),
            ("unless { resource.sensitivity == \"high\" }", true),
            ("when { !(resource.access == \"read\" && resource.sensitivity == \"high\") }", true),
            ("when { [\"ordinary\"].contains(resource.sensitivity) }", true),
            ("when { if resource.sensitivity == \"high\" then false else true }", true),
            ("when { resource.access == \"read\" } unless { resource.sensitivity != \"ordinary\" }", true),
        ] {
            let rule =
                Rule::declared(&format!("forbid (principal, action, resource) {conditions};")).unwrap();
            assert_eq!(rule.spares_high(), spares, "{conditions}");
        }
    }
}
