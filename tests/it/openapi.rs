//! The `OpenAPI` documents: committed as they are served, and every answer of every test is held
//! against them and against the golden bodies.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::Validator;
use keyward::http::{Route, admin_routes, agent_routes, host_routes, openapi};
use serde_json::{Value, json};

use crate::golden::beyond;
use crate::reference::compare;
use crate::support::broker::{Reply, TestBroker};

struct Listener {
    routes: Vec<Route>,
    document: Value,
}

static LISTENERS: LazyLock<[Listener; 3]> = LazyLock::new(|| {
    let agents = openapi("Keyward, for agents", &agent_routes());
    let admins = openapi("Keyward, for operators", &admin_routes());
    let host = openapi("Keyward, on its host", &host_routes());
    [
        Listener { routes: agent_routes(), document: agents },
        Listener { routes: admin_routes(), document: admins },
        Listener { routes: host_routes(), document: host },
    ]
});

static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// Whether the path of a request is one of a route.
fn is_of(path: &str, route: &str) -> bool {
    let (mut path, mut route) = (path.split('/'), route.split('/'));
    loop {
        match (path.next(), route.next()) {
            (None, None) => return true,
            (Some(_), Some(wanted)) if wanted.starts_with("{*") => return true,
            (Some(_), Some(wanted)) if wanted.starts_with('{') => {}
            (Some(given), Some(wanted)) if given == wanted => {}
            _ => return false,
        }
    }
}

impl Listener {
    /// What is wrong with `reply` to this request, by this listener's document; `None` when the
    /// request is for no route of it.
    fn faults(&self, method: &str, path: &str, reply: &Reply) -> Option<Vec<String>> {
        let path = path.split('?').next().unwrap();
        let known = |route: &&Route| route.method.as_str() == method && is_of(path, route.path);
        // What is spelled out comes before what is named.
        let mut routes: Vec<&Route> = self.routes.iter().filter(known).collect();
        routes.sort_by_key(|route| route.path.contains('{'));
        let path = routes.first()?.path.replace("{*", "{");
        let operation = &self.document["paths"][&path][method.to_lowercase()];
        let responses = &operation["responses"];
        let named = &responses[reply.status.to_string()];
        let response = if named.is_null() { &responses["default"] } else { named };
        let content = &response["content"];
        let kind = reply.header("content-type");
        if content.is_null() {
            let is_empty = reply.body.is_empty();
            return Some(if is_empty {
                vec![]
            } else {
                vec![format!("a body of `{kind}` where none is told of")]
            });
        }
        let schema = &content[kind]["schema"];
        if schema.is_null() {
            return Some(vec![format!("the content type `{kind}` is not told of")]);
        }
        if !kind.ends_with("json") {
            return Some(vec![]);
        }
        let title = self.document["info"]["title"].as_str().unwrap();
        let key = format!("{title} {method} {path} {}", if named.is_null() { 0 } else { reply.status });
        let validator = {
            let mut validators = VALIDATORS.lock().unwrap();
            let made = validators.entry(key).or_insert_with(|| {
                let whole = json!({ "allOf": [schema], "components": self.document["components"] });
                Arc::new(jsonschema::validator_for(&whole).unwrap())
            });
            Arc::clone(made)
        };
        let body = reply.json();
        let mut faults: Vec<_> =
            validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
        let operation = operation["operationId"].as_str().unwrap();
        let told = if operation == "mint_token" && reply.status == 202 {
            "get_own_approval"
        } else if !named.is_null() {
            operation
        } else if kind.starts_with("application/problem") {
            "refused"
        } else {
            "refused_oauth"
        };
        faults.extend(beyond(told, &body));
        Some(faults)
    }
}

/// Panics when `reply` is not one that a document tells of. A test does not say which listener it
/// asked: one of them has to have told of it.
pub(crate) fn check(method: &str, path: &str, reply: &Reply) {
    let told: Vec<Vec<String>> =
        LISTENERS.iter().filter_map(|listener| listener.faults(method, path, reply)).collect();
    let is_good = told.is_empty() || told.iter().any(Vec::is_empty);
    assert!(is_good, "{method} {path} {}: {told:?}\n{}", reply.status, reply.text());
}

#[tokio::test]
async fn the_documents_are_committed_as_they_are_served() {
    let broker = TestBroker::start().await;
    let agents = broker.nobody(broker.agents()).get("/openapi.json").await.json();
    let admins = broker.operator().get("/openapi.json").await.json();
    for (page, served, listener) in [
        ("openapi-agents.json", agents, &LISTENERS[0]),
        ("openapi-admins.json", admins, &LISTENERS[1]),
        // Of the socket on the host the committed document is all there is.
        ("openapi-host.json", LISTENERS[2].document.clone(), &LISTENERS[2]),
    ] {
        assert_eq!(served, listener.document);
        assert_eq!(served["openapi"], "3.1.0");
        compare(page, &format!("{}\n", serde_json::to_string_pretty(&served).unwrap()));
        let operations = served["paths"].as_object().unwrap().values();
        let count: usize = operations.map(|path| path.as_object().unwrap().len()).sum();
        assert_eq!(count, listener.routes.len(), "every route, and nothing else");
    }
}

#[test]
fn an_answer_that_is_not_told_of_is_noticed() {
    let reply = |status: u16, kind: &str, body: &Value| {
        let mut headers = hyper::HeaderMap::new();
        headers.insert("content-type", kind.parse().unwrap());
        Reply { status, headers, body: body.to_string().into_bytes() }
    };
    let faults = |reply: Reply| LISTENERS[0].faults("GET", "/livez", &reply).unwrap();
    let json = "application/json";
    assert!(faults(reply(200, json, &json!({ "status": "ok" }))).is_empty());
    assert!(!faults(reply(200, json, &json!({ "status": "ok", "more": 1 }))).is_empty(), "one field more");
    assert!(!faults(reply(200, json, &json!({}))).is_empty(), "one field less");
    assert!(!faults(reply(200, json, &json!({ "status": 1 }))).is_empty(), "another type");
    assert!(!faults(reply(200, "text/html", &json!({ "status": "ok" }))).is_empty(), "another content type");
    assert!(!faults(reply(503, json, &json!({ "status": "ok" }))).is_empty(), "a refusal in no form");
}
