use serde_json::json;

use super::super::declaration::fields;
use super::*;

const VERIFY: &str = r#""verify":{"url":"http://127.0.0.1/me","bearer":"value"}"#;
const APPLY: &str = r#""apply":{"url":"http://127.0.0.1/key","body":"\"{{value}}\""}"#;
const MORE: &str =
    r#""answer":{"value":"/key","slot":"/id"},"retire":{"url":"http://127.0.0.1/keys/{{slot}}"},"slots":2"#;

fn made_of(body: &str, value: &str, slot: Option<&str>) -> Option<(Vec<u8>, Option<String>)> {
    let at = Pointers { value: value.to_owned(), slot: slot.map(ToOwned::to_owned) };
    let prepared = made(body.as_bytes(), &at)?;
    Some((prepared.value.expose().to_vec(), prepared.slot.map(|slot| slot.to_string())))
}

#[test]
fn a_made_value_is_where_the_declaration_says_and_nowhere_else() {
    let body = json!({ "data": [{ "a/b": "the-value", "id": 17 }] }).to_string();
    let good = Some((b"the-value".to_vec(), Some("17".to_owned())));
    assert_eq!(made_of(&body, "/data/0/a~1b", Some("/data/0/id")), good);
    assert_eq!(made_of(&body, "/data/0/a~1b", None), Some((b"the-value".to_vec(), None)));
    for (body, value, slot) in [
        ("", "/v", None),
        ("{", "/v", None),
        ("\"v\"", "/v", None),
        (r#"{"v":7}"#, "/v", None),
        (r#"{"v":""}"#, "/v", None),
        (r#"{"v":{"x":"y"}}"#, "/v", None),
        (r#"{"v":"the-value"}"#, "/v", Some("/id")),
        (r#"{"v":"the-value","id":null}"#, "/v", Some("/id")),
        (r#"{"v":"the-value","id":"../x"}"#, "/v", Some("/id")),
        (r#"{"v":"the-value","id":".."}"#, "/v", Some("/id")),
        (r#"{"v":"the-value","id":"x:the-value"}"#, "/v", Some("/id")),
    ] {
        assert_eq!(made_of(body, value, slot), None, "{body}");
    }
}

#[test]
fn only_a_clients_error_says_that_nothing_was_done() {
    let outcome = |status: u16| unexpected(StatusCode::from_u16(status).unwrap()).outcome;
    for status in [400, 401, 403, 404, 410, 422, 429] {
        assert_eq!(outcome(status), UpstreamOutcome::Refused, "{status}");
    }
    for status in [206, 301, 302, 307, 308, 408, 409, 500, 502, 503, 504, 599] {
        assert_eq!(outcome(status), UpstreamOutcome::Unknown, "{status}");
    }
}

fn declared(parts: &[&str]) -> Box<dyn Driver> {
    read(fields(&format!(r#"{{"driver":"http",{}}}"#, parts.join(",")))).unwrap()
}

#[test]
fn a_service_has_one_slot_for_a_sent_value_and_two_for_its_own() {
    let carries = declared(&[VERIFY, APPLY]);
    let can = carries.capabilities();
    assert_eq!((can.shape, can.creates), (SlotCount::OneSlot, false));
    assert_eq!(carries.describe(), "http at 127.0.0.1");
    assert!(!can.needs_current && !can.retires_by_slot);
    let can = declared(&[VERIFY, r#""create":{"url":"http://127.0.0.1/keys"}"#, MORE]).capabilities();
    assert_eq!((can.shape, can.creates), (SlotCount::TwoSlots, true));
    assert!(can.retires_by_slot);
    let by_itself = r#""create":{"url":"http://127.0.0.1/keys","bearer":"current"}"#;
    let can = declared(&[VERIFY, by_itself, MORE]).capabilities();
    assert!(can.needs_current);
}
