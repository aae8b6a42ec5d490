use serde_json::{Map, Value};

use crate::wire::ChangedValue;

/// Fields whose values a plan shows: names and numbers that are no secrets, in every driver. Other fields are certificates,
/// or texts in which an operator may have written a password.
const SHOWN: [&str; 21] = [
    "account_host",
    "admin_role",
    "admin_secret",
    "admin_user",
    "answer_bytes",
    "connections",
    "database",
    "driver",
    "heir",
    "host",
    "key",
    "length",
    "member_of",
    "port",
    "role",
    "roles",
    "slots",
    "timeout_s",
    "tls",
    "user",
    "users",
];

/// The fields of the declared upstream `before` that are others in `after`; all fields of a new upstream. Both are as they
/// are stored.
#[must_use]
pub fn changed_fields(before: Option<&str>, after: &str) -> Vec<ChangedValue> {
    let read = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
    let (before, after) = (before.map(read).unwrap_or_default(), read(after));
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let changed = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    changed.filter_map(|name| changed_field(name, before.get(name), after.get(name))).collect()
}

fn changed_field(name: &str, before: Option<&Value>, after: Option<&Value>) -> Option<ChangedValue> {
    let field = format!("upstream.{name}");
    if !SHOWN.contains(&name) {
        return Some(ChangedValue::hidden(field));
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    ChangedValue::single(field, before.map(text), after.map(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_shown_and_texts_are_not() {
        let before = r#"{"driver":"http","timeout_s":5,"ca":"CNRY-1","headers":{"x":"CNRY-2"},"slots":1}"#;
        let after = r#"{"driver":"http","timeout_s":9,"ca":"CNRY-3","roles":["a","b"],"slots":1}"#;
        let changed = changed_fields(Some(before), after);
        let fields: Vec<&str> = changed.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(fields, ["upstream.ca", "upstream.headers", "upstream.roles", "upstream.timeout_s"]);
        assert_eq!((changed[2].from.as_deref(), changed[2].to.as_deref()), (None, Some(r#"["a","b"]"#)));
        assert_eq!((changed[3].from.as_deref(), changed[3].to.as_deref()), (Some("5"), Some("9")));
        assert!(!format!("{changed:?}").contains("CNRY"), "{changed:?}");
    }
}
