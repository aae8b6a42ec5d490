//! Golden requests at the real routers.

use keyward::http::{Route, admin_routes, agent_routes, host_routes};
use serde_json::{Value, json};

use super::{GOLDEN, operation};
use crate::routes::path;
use crate::support::broker::{Caller, TestBroker};
use crate::support::host;

/// The objects in a request, each with one more field.
fn with_a_field_more(body: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    if let Value::Object(fields) = body {
        let mut more = fields.clone();
        more.insert("more".to_owned(), json!(1));
        all.push(Value::Object(more));
    }
    let inner: Vec<(String, &Value)> = match body {
        Value::Object(fields) => fields.iter().map(|(name, value)| (format!("/{name}"), value)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(at, value)| (format!("/{at}"), value)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    // The names of parameters are those that capabilities declare.
    for (at, value) in inner.into_iter().filter(|(at, _)| at != "/parameters") {
        for changed in with_a_field_more(value) {
            let mut whole = body.clone();
            *whole.pointer_mut(&at).unwrap() = changed;
            all.push(whole);
        }
    }
    all
}

/// The code that the real router refuses a request with, by a caller that the route is for.
async fn refusal(scene: &(TestBroker, Caller), listener: Listener, route: &Route, request: &Value) -> String {
    let (kind, body) = match request.as_str() {
        Some(form) => ("application/x-www-form-urlencoded", form.to_owned()),
        None => ("application/json", request.to_string()),
    };
    let ((broker, agent), headers) = (scene, [("content-type", kind)]);
    let (method, path) = (route.method.as_str(), path(route));
    let reply = match listener {
        Listener::Agents => agent.send(method, &path, &headers, body.as_bytes()).await,
        Listener::Operators => broker.operator().send(method, &path, &headers, body.as_bytes()).await,
        Listener::Host => {
            let socket = broker.socket();
            host::send(&socket, (method, &path), &headers, body.as_bytes()).unwrap()
        }
    };
    if reply.body.is_empty() { String::new() } else { reply.code() }
}

#[derive(Clone, Copy, Debug)]
enum Listener {
    Agents,
    Host,
    Operators,
}

/// A thread waits for the answer of the host's socket, so that the broker needs another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_routers_read_golden_requests_and_no_field_more() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("payments-bot", &["repo-reader"]).await;
    let scene = (broker, agent.caller);
    // Agents first: a request of an operator prunes declarations.
    let listeners = [
        (Listener::Agents, agent_routes()),
        (Listener::Host, host_routes()),
        (Listener::Operators, admin_routes()),
    ];
    for (listener, routes) in listeners {
        for route in routes {
            let name = operation(&route);
            for request in GOLDEN.get(&name).map(|examples| &examples.requests).into_iter().flatten() {
                let code = refusal(&scene, listener, &route, request).await;
                assert!(!["json_invalid", "form_invalid"].contains(&code.as_str()), "{name}: {request}");
                for more in with_a_field_more(request) {
                    let code = refusal(&scene, listener, &route, &more).await;
                    assert_eq!(code, "json_invalid", "{name}: {more}");
                }
            }
        }
    }
}
