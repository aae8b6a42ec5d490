//! What the `OpenAPI` documents say of bodies: the faults of a body, and what no example of an operation has.

use std::collections::BTreeMap;

use jsonschema::Validator;
use keyward::http::{admin_routes, agent_routes, host_routes, openapi};
use serde_json::{Map, Value, json};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Bodies that are not those of one operation, and their schemas.
pub(super) fn of_refusals() -> impl Iterator<Item = (&'static str, &'static str)> {
    [("refused", "ProblemBody"), ("refused_oauth", "OAuthBody")].into_iter()
}

/// A schema, with those that it names.
struct BodySchema {
    schema: Value,
    components: Value,
    validator: Validator,
}

/// The schemas of requests and answers, by operation.
pub(super) struct Schemas {
    requests: BTreeMap<String, BodySchema>,
    answers: BTreeMap<String, BodySchema>,
}

fn validator(schema: &Value, components: &Value) -> Validator {
    jsonschema::validator_for(&json!({ "allOf": [schema], "components": components })).unwrap()
}

/// A form as an object of texts.
fn body_of(example: &Value) -> Value {
    let Some(form) = example.as_str() else { return example.clone() };
    let fields = form.split('&').filter_map(|field| field.split_once('='));
    Value::Object(fields.map(|(name, value)| (name.to_owned(), json!(value))).collect::<Map<_, _>>())
}

impl Schemas {
    pub(super) fn new() -> Self {
        let (mut requests, mut answers) = (BTreeMap::new(), BTreeMap::new());
        for routes in [agent_routes(), admin_routes(), host_routes()] {
            let document = openapi("", &routes);
            let of = |schema: &Value| BodySchema {
                validator: validator(schema, &document["components"]),
                schema: schema.clone(),
                components: document["components"].clone(),
            };
            for route in &routes {
                let name = route.document.operation.to_lowercase();
                let operation =
                    &document["paths"][route.path.replace("{*", "{")][route.method.as_str().to_lowercase()];
                let content = &operation["requestBody"]["content"];
                if let Some(body) = content.get(JSON).or_else(|| content.get(FORM)) {
                    requests.insert(name.clone(), of(&body["schema"]));
                }
                if let Some(body) = operation["responses"][route.status.to_string()]["content"].get(JSON) {
                    answers.insert(name, of(&body["schema"]));
                }
            }
            for (name, schema) in of_refusals() {
                let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
                answers.insert(name.to_owned(), of(&schema));
            }
        }
        Self { requests, answers }
    }

    fn of(&self, operation: &str, is_request: bool) -> Option<&BodySchema> {
        if is_request { self.requests.get(operation) } else { self.answers.get(operation) }
    }

    pub(super) fn has_request(&self, operation: &str) -> bool {
        self.requests.contains_key(operation)
    }

    pub(super) fn has_answer(&self, operation: &str) -> bool {
        self.answers.contains_key(operation)
    }

    /// What is wrong with a body, by its schema.
    pub(super) fn faults(
        &self,
        operation: &str,
        body: &Value,
        is_request: bool,
    ) -> impl Iterator<Item = String> {
        let body = body_of(body);
        let found: Vec<_> = self.of(operation, is_request).map_or_else(
            || vec!["no document tells of it".to_owned()],
            |of| {
                of.validator
                    .iter_errors(&body)
                    .map(|error| format!("at {:?}: {error}", error.instance_path().as_str()))
                    .collect()
            },
        );
        found.into_iter()
    }

    /// The fields and the variants of an operation's bodies that none of the examples has.
    pub(super) fn left_out(&self, operation: &str, examples: &[Value], is_request: bool) -> Vec<String> {
        let bodies: Vec<_> = examples.iter().map(body_of).collect();
        let mut found = Vec::new();
        if let Some(of) = self.of(operation, is_request).filter(|_| !bodies.is_empty()) {
            of.left_out(&of.schema, &bodies.iter().collect::<Vec<_>>(), "", &mut found);
        }
        let of = if is_request { "request" } else { "answer" };
        found.into_iter().map(|fault| format!("no {of} of {operation} has {fault}")).collect()
    }
}

impl BodySchema {
    /// What none of `bodies` has, which are all the examples of what is at `at`.
    fn left_out(&self, schema: &Value, bodies: &[&Value], at: &str, found: &mut Vec<String>) {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.rsplit('/').next().unwrap();
            return self.left_out(&self.components["schemas"][name], bodies, at, found);
        }
        for variant in ["anyOf", "oneOf"].iter().filter_map(|one| schema[one].as_array()).flatten() {
            if variant["type"] == "null" {
                continue;
            }
            let validator = validator(variant, &self.components);
            let fitting: Vec<_> = bodies.iter().copied().filter(|body| validator.is_valid(body)).collect();
            if fitting.is_empty() {
                found.push(format!("the variant {variant} at {at:?}"));
            } else {
                self.left_out(variant, &fitting, at, found);
            }
        }
        for word in schema["enum"].as_array().into_iter().flatten().filter(|word| !bodies.contains(word)) {
            found.push(format!("the variant {word} at {at:?}"));
        }
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let at = format!("{at}/{name}");
            let there: Vec<_> =
                bodies.iter().filter_map(|body| body.get(name)).filter(|field| !field.is_null()).collect();
            if there.is_empty() {
                found.push(format!("a value at {at}"));
            } else {
                self.left_out(schema, &there, &at, found);
            }
        }
        if let Some(schema) = schema.get("items") {
            let at = format!("{at}/*");
            let there: Vec<_> = bodies.iter().filter_map(|body| body.as_array()).flatten().collect();
            if there.is_empty() {
                found.push(format!("an item at {at}"));
            } else {
                self.left_out(schema, &there, &at, found);
            }
        }
    }
}
