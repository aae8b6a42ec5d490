use std::collections::BTreeSet;

use cedar_policy::Policy;
use serde_json::Value;

use super::fault::RuleFault;

/// The parameters that `form`, a statement in Cedar's JSON form, tests; `None` if it does not look at parameters.
pub(super) fn tested_parameters(policy: &Policy) -> Option<BTreeSet<String>> {
    // A statement without a JSON form is not checked, and was refused when it was declared.
    let form = policy.to_json().ok()?;
    let mut tested = Tested::default();
    tested.look_at(&form);
    tested.is_any.then_some(tested.names)
}

#[derive(Default)]
struct Tested {
    is_any: bool,
    names: BTreeSet<String>,
}

impl Tested {
    fn look_at(&mut self, form: &Value) {
        match form {
            Value::Object(fields) => {
                self.is_any |= is_parameters(form);
                for operator in [".", "has"] {
                    let Some(operands) = fields.get(operator) else { continue };
                    let of_parameters = operands.get("left").is_some_and(is_parameters);
                    let name = operands.get("attr").and_then(Value::as_str).filter(|_| of_parameters);
                    self.names.extend(name.map(str::to_owned));
                }
                fields.values().for_each(|field| self.look_at(field));
            }
            Value::Array(items) => items.iter().for_each(|item| self.look_at(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// Whether `form` is `context.parameters`, or tests whether it exists.
fn is_parameters(form: &Value) -> bool {
    let is_of_context = |operands: &Value| {
        operands.pointer("/left/Var").and_then(Value::as_str) == Some("context")
            && operands.get("attr").and_then(Value::as_str) == Some("parameters")
    };
    [".", "has"].iter().any(|operator| form.get(operator).is_some_and(is_of_context))
}

/// The fault if the rule uses `context` or `context.parameters` otherwise than for a field of it: then it is not known which
/// parameters the rule tests.
pub(super) fn alias_fault(policy: &Policy) -> Option<RuleFault> {
    let form = policy.to_json().ok()?;
    has_alias(&form, false).then(|| {
        RuleFault::whole(
            "the rule uses `context` or `context.parameters` as a whole: name a field of it, e.g. `context.parameters has amount`",
        )
    })
}

/// Whether `form` has one of them; `is_of_field` if a field of `form` itself is named.
fn has_alias(form: &Value, is_of_field: bool) -> bool {
    let is_whole = form.get("Var").and_then(Value::as_str) == Some("context") || is_parameters_value(form);
    if is_whole && !is_of_field {
        return true;
    }
    match form {
        Value::Object(fields) => fields.iter().any(|(operator, operands)| {
            let left = operands.get("left").filter(|_| operands.get("attr").is_some_and(Value::is_string));
            match left.filter(|_| matches!(operator.as_str(), "." | "has")) {
                Some(left) => has_alias(left, true),
                None => has_alias(operands, false),
            }
        }),
        Value::Array(items) => items.iter().any(|item| has_alias(item, false)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Whether `form` is `context.parameters`.
fn is_parameters_value(form: &Value) -> bool {
    form.get(".").is_some_and(|operands| {
        operands.pointer("/left/Var").and_then(Value::as_str) == Some("context")
            && operands.get("attr").and_then(Value::as_str) == Some("parameters")
    })
}
