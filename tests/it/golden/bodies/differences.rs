//! What two bodies differ in, and the places that a body has.

use serde_json::Value;

/// The first place at which `written` is not what `golden` is.
pub(super) fn difference(golden: &Value, written: &Value) -> Option<String> {
    differ("", golden, Some(written))
}

fn differ(at: &str, golden: &Value, written: Option<&Value>) -> Option<String> {
    let Some(written) = written else { return Some(format!("{at} is {golden}, and is not written")) };
    match (golden, written) {
        (Value::Object(one), Value::Object(other)) => {
            let kept =
                one.iter().find_map(|(name, value)| differ(&format!("{at}/{name}"), value, other.get(name)));
            let more = || other.iter().find(|(name, _)| !one.contains_key(*name));
            kept.or_else(|| {
                more().map(|(name, value)| format!("{at}/{name} is not there, and is written as {value}"))
            })
        }
        (Value::Array(one), Value::Array(other)) => {
            let kept = one.iter().enumerate();
            let kept =
                kept.map(|(n, value)| differ(&format!("{at}/{n}"), value, other.get(n))).find_map(|one| one);
            let is_longer = other.len() > one.len();
            kept.or_else(|| {
                is_longer
                    .then(|| format!("{at} has {} items, and is written with {}", one.len(), other.len()))
            })
        }
        // 1 and 1.0 differ.
        _ if golden == written => None,
        _ => Some(format!("{at} is {golden}, and is written as {written}")),
    }
}

/// The places of a body and the type of what is there. Items of arrays are one place, and null is of every type.
pub(super) fn places(body: &Value, open: &[&str]) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    collect("", body, open, &mut found);
    found
}

fn collect(at: &str, body: &Value, open: &[&str], found: &mut Vec<(String, &'static str)>) {
    let kind = match body {
        Value::Null => return,
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !at.is_empty() {
        found.push((at.to_owned(), kind));
    }
    if open.contains(&at) {
        return;
    }
    match body {
        Value::Array(items) => items.iter().for_each(|item| collect(&format!("{at}/*"), item, open, found)),
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| collect(&format!("{at}/{name}"), value, open, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
