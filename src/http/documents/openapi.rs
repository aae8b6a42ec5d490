use serde_json::{Map, Value, json};

use super::operation::{OperationDocument, Schemas};
use super::problem::ProblemForm;
use crate::http::route::{Caller, Repetition, Route};
use crate::wire::{IDEMPOTENCY_KEY_HEADER, OAuthBody, ProblemBody};

/// The `OpenAPI` document of the listener with these routes.
#[must_use]
pub fn openapi(title: &str, routes: &[Route]) -> Value {
    let mut schemas = Schemas::new();
    let problem = json!({ "application/problem+json": { "schema": schemas.answer::<ProblemBody>() } });
    let oauth = json!({ "application/json": { "schema": schemas.answer::<OAuthBody>() } });
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let refusal = match route.form() {
            ProblemForm::OAuth => &oauth,
            ProblemForm::Problem => &problem,
        };
        let operation = operation(route, &mut schemas, refusal);
        let path = paths.entry(route.path.replace("{*", "{")).or_insert_with(|| json!({}));
        if let Value::Object(path) = path {
            path.insert(route.method.as_str().to_lowercase(), operation);
        }
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": { "title": title, "version": env!("CARGO_PKG_VERSION"), "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" } },
        "paths": paths,
        "components": {
            "schemas": schemas.definitions(),
            "securitySchemes": {
                "certificate": { "type": "mutualTLS", "description": "a client certificate issued by this broker" },
                "token": { "type": "http", "scheme": "bearer", "description": "an access token bound to the certificate" },
            },
        },
    });
    document.sort_all_objects();
    document
}

fn operation(route: &Route, schemas: &mut Schemas, refusal: &Value) -> Value {
    let accepted = route.document.accepted.map(|accepted| accepted(schemas));
    let mut document = OperationDocument::new(schemas, route.parameter());
    (route.document.describe)(&mut document);
    if route.repetition == Repetition::Once {
        let schema = json!({ "type": "string", "pattern": "^[!-~]{1,128}$" });
        document.parameter(IDEMPOTENCY_KEY_HEADER, "header", &schema);
    }
    if accepted.is_some() {
        document.prefers();
    }
    let OperationDocument { parameters, body, answer, takes_token, .. } = document;
    let mut answered = json!({ "description": "done" });
    if let (Value::Object(answered), Some(answer)) = (&mut answered, answer) {
        answered.insert("content".to_owned(), answer);
    }
    let security = match route.caller {
        // At the host socket the kernel identifies the caller.
        Caller::Public | Caller::Host => json!([]),
        Caller::Agent | Caller::ResourceServer | Caller::Enrolled | Caller::Operator(_) if takes_token => {
            json!([{ "certificate": [], "token": [] }])
        }
        Caller::Agent | Caller::ResourceServer | Caller::Enrolled | Caller::Operator(_) => {
            json!([{ "certificate": [] }])
        }
    };
    let mut responses = json!({
        route.status.to_string(): answered,
        "default": { "description": "refused", "content": refusal },
    });
    if let (Value::Object(responses), Some(accepted)) = (&mut responses, accepted) {
        let content = json!({ "application/json": { "schema": accepted } });
        responses.insert("202".to_owned(), json!({ "description": "pending", "content": content }));
    }
    let mut operation = json!({
        "operationId": route.document.operation.to_lowercase(),
        "summary": route.document.summary,
        "security": security,
        "responses": responses,
    });
    if let Value::Object(operation) = &mut operation {
        if !parameters.is_empty() {
            operation.insert("parameters".to_owned(), Value::Array(parameters));
        }
        if let Some(content) = body {
            operation.insert(
                "requestBody".to_owned(),
                json!({ "required": !document.is_body_optional, "content": content }),
            );
        }
        if let Caller::Operator(need) = route.caller {
            operation.insert("x-keyward-right".to_owned(), Value::from(need.right));
        }
    }
    operation
}
