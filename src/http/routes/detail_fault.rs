use serde_json::{Map, Value, from_value};

use crate::wire::RequestedDetail;

/// Characters of a text of the caller that a message repeats.
const TEXT_CHARS: usize = 80;

/// What is wrong with `authorization_details`: the element, the field, and what is allowed there. `error` is the one of the
/// whole text. A value of a wrong type is not repeated.
pub(super) fn detail_fault(text: &str, error: &serde_json::Error) -> String {
    let at = format!("line {}, column {} of `authorization_details`", error.line(), error.column());
    let elements = match serde_json::from_str(text) {
        Ok(Value::Array(elements)) => elements,
        Ok(_) => return "`authorization_details` is not a JSON array: write an object for each capability in `[…]`".to_owned(),
        Err(_) => return format!("{at} is not JSON"),
    };
    let fault = elements.into_iter().enumerate().find_map(|(at, element)| element_fault(at, element));
    // A field that occurs twice, for example.
    fault.unwrap_or_else(|| format!("{at} does not fit an object of the type `keyward_capability`"))
}

fn element_fault(at: usize, element: Value) -> Option<String> {
    let place = format!("`authorization_details[{at}]`");
    let Value::Object(fields) = element else { return Some(format!("{place} is not an object")) };
    for (name, value) in &fields {
        let alone = Map::from_iter([(name.clone(), value.clone())]);
        let Err(error) = from_value::<RequestedDetail>(Value::Object(alone)) else { continue };
        let message = error.to_string();
        if let Some((_, fields)) =
            message.strip_prefix("unknown field ").and_then(|rest| rest.split_once(", "))
        {
            return Some(format!("{place} has the unknown field `{}`: {fields}", repeated(name)));
        }
        if !message.starts_with("missing field ") {
            return Some(format!(
                "the field `{}` of {place} is wrong: {}",
                repeated(name),
                without_value(&message)
            ));
        }
    }
    let error = from_value::<RequestedDetail>(Value::Object(fields)).err()?;
    Some(format!("{place}: {error}"))
}

/// The message about a field. That about a wrong type has the value.
fn without_value(message: &str) -> String {
    if message.starts_with("invalid ") || message.starts_with("unknown variant ") {
        let expected = message.rsplit_once("expected ").map_or("another type", |(_, expected)| expected);
        return format!("expected {expected}");
    }
    // Of the broker's own types, whose messages repeat no value.
    message.to_owned()
}

/// A name that the caller wrote, by the characters of an `error_description` (RFC 6749 §5.2); others by their code points.
fn repeated(text: &str) -> String {
    let spelled = |c: char| match c {
        '"' | '\\' | '`' => format!("<U+{:04X}>", u32::from(c)),
        ' '..='~' => c.to_string(),
        _ => format!("<U+{:04X}>", u32::from(c)),
    };
    text.chars().take(TEXT_CHARS).map(spelled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        detail_fault(text, &serde_json::from_str::<Vec<RequestedDetail>>(text).unwrap_err())
    }

    #[test]
    fn fault_names_the_element_the_field_and_what_is_allowed() {
        for (text, parts) in [
            ("[", &["line 1, column 1", "is not JSON"][..]),
            ("{}", &["is not a JSON array"]),
            ("[1]", &["`authorization_details[0]` is not an object"]),
            (r#"[{"type":"keyward_capability","capability":"a.b"},{}]"#, &["[1]`: missing field `type`"]),
            (r#"[{"type":"payment"}]"#, &["the field `type` of", "expected `keyward_capability`"]),
            (
                r#"[{"type":"keyward_capability","capability":"a.b","action":["read"]}]"#,
                &["unknown field `action`", "`actions`"],
            ),
            (
                r#"[{"type":"keyward_capability","capability":"a.b","actions":"CNRY"}]"#,
                &["the field `actions` of `authorization_details[0]` is wrong: expected a sequence"],
            ),
            (
                r#"[{"type":"keyward_capability","capability":"A.B"}]"#,
                &["the field `capability` of", "canonical"],
            ),
            (r#"[{"type":"keyward_capability","capability":"a","capability":"b"}]"#, &["does not fit"]),
        ] {
            let said = fault(text);
            assert!(parts.iter().all(|part| said.contains(part)) && !said.contains("CNRY"), "{text}: {said}");
        }
        let odd = format!(r#"[{{"{}":1}}]"#, "é\\n\\\\\u{202e}".repeat(TEXT_CHARS));
        let said = fault(&odd);
        assert!(said.contains("<U+00E9><U+000A><U+005C><U+202E>"), "{said}");
        assert!(said.len() < 10 * TEXT_CHARS && said.chars().all(|c| (' '..='~').contains(&c)), "{said}");
    }
}
