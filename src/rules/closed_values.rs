use cedar_policy::Policy;
use serde_json::Value;

use super::fault::RuleFault;

/// The values that a fact can have.
enum Values {
    Texts(&'static [&'static str]),
    /// From the first to the last.
    Numbers(i64, i64),
}

/// The facts with few values, by their path.
const CLOSED: [(&str, Values); 6] = [
    ("resource.access", Values::Texts(&["read", "write"])),
    ("resource.delivery", Values::Texts(&["mint", "reveal", "lease"])),
    ("resource.sensitivity", Values::Texts(&["ordinary", "high"])),
    ("context.time.hour", Values::Numbers(0, 23)),
    ("context.time.minute", Values::Numbers(0, 59)),
    ("context.time.weekday", Values::Numbers(1, 7)),
];

/// The comparisons of `policy` with a value that the fact never has: Cedar knows their types alone.
pub(super) fn closed_value_faults(policy: &Policy) -> Vec<RuleFault> {
    let mut faults = Vec::new();
    if let Ok(form) = policy.to_json() {
        compare(&form, &mut faults);
    }
    faults
}

/// Looks at every comparison within `form`, the statement in Cedar's JSON form.
fn compare(form: &Value, faults: &mut Vec<RuleFault>) {
    match form {
        Value::Object(fields) => {
            for (operator, operands) in fields {
                if let (Some(left), Some(right)) = (operands.get("left"), operands.get("right")) {
                    compared(operator, left, right, faults);
                    compared(operator, right, left, faults);
                }
                compare(operands, faults);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| compare(item, faults)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn compared(operator: &str, fact: &Value, other: &Value, faults: &mut Vec<RuleFault>) {
    let Some(path) = path_of(fact) else { return };
    let Some((_, values)) = CLOSED.iter().find(|(known, _)| *known == path) else { return };
    // A comparison of order may name the number after the last one.
    let beyond = i64::from(matches!(operator, "<" | "<=" | ">" | ">="));
    let literals = match other.get("Set").and_then(Value::as_array) {
        Some(items) => items.iter().filter_map(|item| item.get("Value")).collect(),
        None => other.get("Value").into_iter().collect::<Vec<_>>(),
    };
    for literal in literals {
        let fault = match values {
            Values::Texts(texts) => literal
                .as_str()
                .filter(|text| !texts.contains(text))
                .map(|text| format!("`{}`: its values are `{}`", text.escape_debug(), texts.join("`, `"))),
            Values::Numbers(first, last) => literal
                .as_i64()
                .filter(|number| !(*first..=last.saturating_add(beyond)).contains(number))
                .map(|number| format!("{number}: its values are {first} to {last}")),
        };
        faults.extend(fault.map(|text| RuleFault::whole(format!("the rule compares `{path}` with {text}"))));
    }
}

/// The path of a fact, e.g. `context.time.hour`.
fn path_of(form: &Value) -> Option<String> {
    if let Some(name) = form.get("Var").and_then(Value::as_str) {
        return Some(name.to_owned());
    }
    let field = form.get(".")?;
    Some(format!("{}.{}", path_of(field.get("left")?)?, field.get("attr")?.as_str()?))
}
