use super::*;
use crate::base::Sensitive;
use crate::secrets::SecretValue;

fn judged(json: &str, purpose: Purpose) -> Result<HttpRequest, TargetError> {
    serde_json::from_str::<DeclaredRequest>(json).unwrap().judged(purpose)
}

fn good(more: &str) -> String {
    format!(r#"{{"url":"https://api.example.com/v1"{more}}}"#)
}

fn refused(json: &str, purpose: Purpose, field: &str, says: &str) {
    let error = judged(json, purpose).unwrap_err();
    assert_eq!(error.field(), field, "{json}: {error}");
    assert!(error.to_string().contains(says), "{json}: {error}");
    assert!(!error.to_string().contains("CNRY"), "{error}");
}

#[test]
fn what_is_no_request_is_refused_with_its_field() {
    let apply = |more: &str, field: &str, says: &str| {
        refused(&good(more), Purpose::Apply, &format!("apply.{field}"), says);
    };
    refused(r#"{"url":"ftp://CNRY"}"#, Purpose::Apply, "apply.url", "https://");
    refused(r#"{"url":"https://a/{{value}}"}"#, Purpose::Verify, "verify.url", "no value goes into a URL");
    refused(r#"{"url":"https://a/{{slot}}"}"#, Purpose::Create, "create.url", "not known here");
    apply(r#","headers":{"X-Upper":"a"}"#, "headers", "lower case");
    apply(r#","headers":{"a b":"CNRY"}"#, "headers", "not a header name");
    apply(r#","headers":{"host":"CNRY"}"#, "headers", "cannot be a header");
    apply(r#","headers":{"x":"CNRY\r\ny: z"}"#, "headers", "cannot have");
    apply(r#","headers":{"x-auth-token":"CNRY"}"#, "headers", "never a value in clear");
    apply(r#","headers":{"x":"{{CNRY}}"}"#, "headers", "not known here");
    apply(r#","bearer":"admin","basic":{"username":"a","password":"admin"}"#, "basic", "contradicts");
    apply(r#","basic":{"username":"a:CNRY","password":"admin"}"#, "basic", "colon");
    refused(&good(r#","bearer":"admin""#), Purpose::Verify, "verify.bearer", "`admin` is not known here");
    apply(r#","method":"GET","body":"CNRY""#, "body", "GET and HEAD have no body");
    apply(r#","content_type":"text/plain""#, "content_type", "`body` is missing");
    apply(r#","content_type":"text/CNRY","body":"x""#, "content_type", "allowed are");
    apply(r#","body":"CNRY{{value}}""#, "body", "inside of strings");
    apply(
        r#","content_type":"application/x-www-form-urlencoded","body":"a=CNRY b""#,
        "body",
        "visible ASCII",
    );
    apply(r#","expect":[]"#, "expect", "1 to 16");
    apply(r#","expect":[301]"#, "expect", "redirects");
    apply(r#","expect":[199]"#, "expect", "200 to 299");
    apply(r#","expect":[600]"#, "expect", "200 to 299");
    apply(r#","refused":[401]"#, "refused", "only for `verify`");
    refused(&good(r#","expect":[200,401]"#), Purpose::Verify, "verify.expect", "also in `refused`");
}

#[test]
fn a_request_has_so_many_headers_and_statuses_and_not_one_more() {
    let headers = |count: usize| {
        let fields: Vec<String> = (0..count).map(|index| format!(r#""x-{index}":"y""#)).collect();
        judged(&good(&format!(r#","headers":{{{}}}"#, fields.join(","))), Purpose::Apply).is_ok()
    };
    assert!(headers(UPSTREAM_HEADERS_MAX) && !headers(UPSTREAM_HEADERS_MAX + 1));
    let statuses = |count: usize| {
        let codes: Vec<String> = (0..count).map(|index| (200 + index).to_string()).collect();
        judged(&good(&format!(r#","expect":[{}]"#, codes.join(","))), Purpose::Apply).is_ok()
    };
    assert!(statuses(UPSTREAM_STATUSES_MAX) && !statuses(UPSTREAM_STATUSES_MAX + 1));
}

/// EGR-06: a value with a line break adds no header.
#[test]
fn a_value_that_cannot_stand_where_it_is_meant_to_is_not_sent() {
    let sent = |json: &str, value: &[u8]| {
        let value = SecretValue::new(Sensitive::new(value.to_vec())).unwrap();
        let filling = Filling { value: Some(&value), ..Filling::default() };
        judged(json, Purpose::Verify).unwrap().filled(&filling)
    };
    let bearer = good(r#","bearer":"value""#);
    let shown = sent(&bearer, b"abc").unwrap();
    let header = &shown.headers()[header::AUTHORIZATION];
    assert_eq!((header.as_bytes(), header.is_sensitive()), (b"Bearer abc".as_slice(), true));
    assert!(sent(&bearer, b"abc\r\nx: y").is_none(), "a line break");
    let basic = sent(&good(r#","basic":{"username":"svc","password":"value"}"#), b"abc").unwrap();
    assert_eq!(basic.headers()[header::AUTHORIZATION].as_bytes(), b"Basic c3ZjOmFiYw==");
    let json = good(r#","method":"POST","body":"{\"token\":\"{{value}}\"}""#);
    assert!(sent(&json, b"abc").is_some());
    assert!(sent(&json, b"\xff").is_none(), "no text");
}
