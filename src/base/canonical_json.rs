use serde::Serialize;
use serde_json::Value;

/// The value has a number that is not whole, or too large for every reader of JSON.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the value has a number that is not a whole number of at most 2^53 - 1")]
pub struct NotCanonical;

/// The largest whole number that every reader of JSON represents exactly (RFC 8785 §3.2.2.3).
const NUMBER_MAX: u64 = (1 << 53) - 1;

/// `value` in the canonical form of RFC 8785: without spaces, and with the names of each object in the order of their UTF-16
/// code units. Numbers are whole.
///
/// # Errors
/// [`NotCanonical`].
pub fn canonical_json(value: &impl Serialize) -> Result<Vec<u8>, NotCanonical> {
    let value = serde_json::to_value(value).map_err(|_| NotCanonical)?;
    let mut out = Vec::new();
    write(&value, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), NotCanonical> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => {
            let is_whole = number.as_i64().is_some_and(|number| number.unsigned_abs() <= NUMBER_MAX);
            if !is_whole {
                return Err(NotCanonical);
            }
            out.extend_from_slice(number.to_string().as_bytes());
        }
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
            out.push(b'{');
            for (index, (name, field)) in fields.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_text(name, out);
                out.push(b':');
                write(field, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// `serde_json` escapes exactly the characters that RFC 8785 §3.2.2.2 escapes, in the same way.
fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(Value::from(text).to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(value: &Value) -> String {
        String::from_utf8(canonical_json(value).unwrap()).unwrap()
    }

    #[test]
    fn names_are_sorted_by_their_utf_16_code_units() {
        // RFC 8785 §3.2.3; the emoji is a surrogate pair, and comes before U+FB33.
        let value = json!({
            "\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7
        });
        let expected =
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}";
        assert_eq!(text(&value), expected);
    }

    #[test]
    fn text_is_escaped_as_the_rfc_says() {
        // RFC 8785 §3.2.4.
        let value =
            json!({ "string": "\u{20ac}$\u{f}\nA'B\"\\\\\"/\u{8}\u{7f}", "literals": [null, true, false] });
        let expected = "{\"literals\":[null,true,false],\"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\\b\u{7f}\"}";
        assert_eq!(text(&value), expected);
    }

    #[test]
    fn numbers_are_whole_and_exact() {
        assert_eq!(text(&json!([0, -1, 9_007_199_254_740_991_i64])), "[0,-1,9007199254740991]");
        for wrong in [json!(1.5), json!(9_007_199_254_740_992_i64), json!(u64::MAX)] {
            assert_eq!(canonical_json(&wrong), Err(NotCanonical), "{wrong}");
        }
    }
}
