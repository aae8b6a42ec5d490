//! JSON bodies as clients send and read them: what is in `tests/golden/bodies` was written apart from the types of
//! `wire`, so that a field that is renamed or a number that becomes a text is noticed.
//!
//! A file per noun has, for each operation, examples of requests and answers; a form is written as its text.

mod differences;
mod requests;
mod schemas;
mod wire_types;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::LazyLock;

use keyward::http::{Route, admin_routes, agent_routes, host_routes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::differences::{difference, places};
use self::schemas::{Schemas, of_refusals};
use self::wire_types::typed;
use super::{golden, is_written_anew};
use crate::support::process::files;

/// What clients send to an operation and read from it.
#[derive(Default, Deserialize, Serialize)]
struct Examples {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    requests: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    answers: Vec<Value>,
}

/// The examples, by the id of their operation.
static GOLDEN: LazyLock<BTreeMap<String, Examples>> = LazyLock::new(|| {
    let mut all = BTreeMap::new();
    for file in files(&golden("bodies")) {
        let text = fs::read_to_string(&file).unwrap();
        let examples: BTreeMap<String, Examples> = serde_json::from_str(&text).unwrap();
        for (operation, examples) in examples {
            let before = all.insert(operation.clone(), examples);
            assert!(before.is_none(), "{operation} is there twice");
        }
    }
    all
});

/// The fields whose content the broker does not fix: an event of any kind, the connection of any driver, the parameters of a
/// capability.
const OPEN: [&str; 7] = [
    "/items/*/event",
    "/event",
    "/connection",
    "/parameters",
    "/authorization_details/*/parameters",
    "/request/capabilities/*/parameters",
    "/items/*/request/capabilities/*/parameters",
];
/// The answers that are committed elsewhere: `docs/reference/openapi-*.json`.
const ELSEWHERE: [&str; 1] = ["openapi_document"];

fn operation(route: &Route) -> String {
    route.document.operation.to_lowercase()
}

/// All routes, each operation once.
fn routes() -> BTreeMap<String, Route> {
    let all = agent_routes().into_iter().chain(admin_routes()).chain(host_routes());
    all.map(|route| (operation(&route), route)).collect()
}

/// The places in a real answer of this operation that no golden answer has, or has with another type.
pub(crate) fn beyond(operation: &str, answer: &Value) -> Vec<String> {
    let operation = operation.to_lowercase();
    let Some(examples) = GOLDEN.get(&operation) else { return Vec::new() };
    let known: BTreeSet<_> = examples.answers.iter().flat_map(|golden| places(golden, &OPEN)).collect();
    let met = places(answer, &OPEN);
    let beyond = met.into_iter().filter(|place| !known.contains(place));
    beyond.map(|(at, kind)| format!("no golden answer of {operation} has a {kind} at {at}")).collect()
}

/// Each golden body: its operation, where it is, and itself.
fn bodies() -> impl Iterator<Item = (&'static str, String, &'static Value, bool)> {
    GOLDEN.iter().flat_map(|(operation, examples)| {
        let requests = examples.requests.iter().enumerate();
        let requests = requests.map(|(at, body)| (format!("request {}", at + 1), body, true));
        let answers = examples.answers.iter().enumerate();
        let answers = answers.map(|(at, body)| (format!("answer {}", at + 1), body, false));
        requests.chain(answers).map(|(at, body, is_request)| (operation.as_str(), at, body, is_request))
    })
}

#[track_caller]
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "the bodies of the interface have changed:\n{}", faults.join("\n"));
}

#[test]
fn every_endpoint_has_golden_bodies() {
    let (schemas, typed) = (Schemas::new(), typed());
    let types: BTreeSet<_> = typed.iter().map(|typed| typed.operation.to_lowercase()).collect();
    assert_eq!(types.len(), typed.len());
    let mut known: BTreeSet<_> = routes().into_keys().collect();
    assert_eq!(types, known, "`wire_types` has each operation of the route table");
    known.extend(of_refusals().map(|(operation, _)| operation.to_owned()));
    let mut faults = Vec::new();
    for operation in known.iter().filter(|operation| !ELSEWHERE.contains(&operation.as_str())) {
        let examples = GOLDEN.get(operation);
        let has =
            |of: fn(&Examples) -> &Vec<Value>| examples.is_some_and(|examples| !of(examples).is_empty());
        if schemas.has_request(operation) != has(|examples| &examples.requests) {
            faults.push(format!("{operation}: requests"));
        }
        if schemas.has_answer(operation) != has(|examples| &examples.answers) {
            faults.push(format!("{operation}: answers"));
        }
    }
    faults
        .extend(GOLDEN.keys().filter(|one| !known.contains(*one)).map(|one| format!("{one}: no operation")));
    assert_none(&faults);
}

#[test]
fn golden_bodies_are_what_the_types_read_and_write() {
    let (schemas, typed) = (Schemas::new(), typed());
    let mut faults = Vec::new();
    for (operation, at, body, is_request) in bodies() {
        faults.extend(
            schemas.faults(operation, body, is_request).map(|fault| format!("{operation}, {at}: {fault}")),
        );
        let again = typed.iter().find(|typed| typed.operation.eq_ignore_ascii_case(operation));
        let again = again.and_then(|typed| if is_request { typed.request } else { typed.answer });
        match again.map(|again| again(body)) {
            None => {}
            Some(Err(error)) => faults.push(format!("{operation}, {at}: it does not read: {error}")),
            Some(Ok(written)) => {
                faults.extend(difference(body, &written).map(|fault| format!("{operation}, {at}: {fault}")));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn golden_bodies_have_every_field_and_variant() {
    let schemas = Schemas::new();
    let faults: Vec<_> = GOLDEN
        .iter()
        .flat_map(|(operation, examples)| {
            let requests = schemas.left_out(operation, &examples.requests, true);
            requests.into_iter().chain(schemas.left_out(operation, &examples.answers, false))
        })
        .collect();
    assert_none(&faults);
}

#[test]
fn golden_files_are_written_in_one_form() {
    for file in files(&golden("bodies")) {
        let text = fs::read_to_string(&file).unwrap();
        let mut value: Value = serde_json::from_str(&text).unwrap();
        value.sort_all_objects();
        let canonical = serde_json::to_string_pretty(&value).unwrap() + "\n";
        if is_written_anew() {
            fs::write(&file, &canonical).unwrap();
        }
        assert!(canonical == fs::read_to_string(&file).unwrap(), "{}", file.display());
    }
}

#[test]
fn what_goes_beyond_the_golden_bodies_is_named() {
    assert!(beyond("LIVENESS", &json!({ "status": "ok" })).is_empty());
    assert!(beyond("LIVENESS", &json!({ "status": null })).is_empty(), "what may be null, the documents say");
    let named = beyond("LIVENESS", &json!({ "status": "ok", "since": { "seq": 1 } }));
    assert_eq!(
        named,
        [
            "no golden answer of liveness has a object at /since",
            "no golden answer of liveness has a number at /since/seq"
        ]
    );
    assert_eq!(
        beyond("LIVENESS", &json!({ "status": 1 })),
        ["no golden answer of liveness has a number at /status"]
    );
    let (golden, written) =
        (json!({ "a": [{ "b": 1 }], "c": null }), json!({ "a": [{ "b": 1.0 }], "c": null }));
    assert_eq!(difference(&golden, &written).as_deref(), Some("/a/0/b is 1, and is written as 1.0"));
    assert_eq!(
        difference(&golden, &json!({ "a": [] })).as_deref(),
        Some("/a/0 is {\"b\":1}, and is not written")
    );
    assert_eq!(difference(&golden, &golden), None);
}
