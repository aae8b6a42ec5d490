use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::base::limits::APPROVAL_WAIT_S_MAX;

/// Input and responses of an operation, from the types of its handler.
pub(crate) struct OperationDocument<'a> {
    schemas: &'a mut Schemas,
    path_parameter: Option<&'static str>,
    pub(crate) parameters: Vec<Value>,
    pub(crate) body: Option<Value>,
    pub(crate) is_body_optional: bool,
    pub(crate) answer: Option<Value>,
    pub(crate) takes_token: bool,
}

/// Schemas of requests and of responses: a field can be optional in the one and required in the other.
pub(crate) struct Schemas {
    bodies: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Schemas {
    pub(crate) fn new() -> Self {
        let settings = SchemaSettings::draft2020_12();
        let settings = settings.with(|all| all.definitions_path = "/components/schemas".into());
        let bodies = settings.clone().for_deserialize().into_generator();
        Self { bodies, answers: settings.for_serialize().into_generator() }
    }

    pub(crate) fn answer<T: JsonSchema>(&mut self) -> Value {
        self.answers.subschema_for::<T>().to_value()
    }

    pub(crate) fn definitions(mut self) -> Map<String, Value> {
        let mut all = self.bodies.take_definitions(true);
        for (name, mut schema) in self.answers.take_definitions(true) {
            close(&mut schema);
            all.insert(name, schema);
        }
        all
    }
}

/// A response has all fields of its schema, and no others.
fn close(schema: &mut Value) {
    if let Value::Object(schema) = schema
        && schema.contains_key("properties")
    {
        schema.entry("additionalProperties").or_insert(Value::Bool(false));
    }
}

impl<'a> OperationDocument<'a> {
    pub(crate) const fn new(schemas: &'a mut Schemas, path_parameter: Option<&'static str>) -> Self {
        Self {
            schemas,
            path_parameter,
            parameters: Vec::new(),
            body: None,
            is_body_optional: false,
            answer: None,
            takes_token: false,
        }
    }

    pub(crate) fn path_parameter<T: JsonSchema>(&mut self) {
        let schema = self.schemas.bodies.subschema_for::<T>();
        let name = self.path_parameter.unwrap_or_default();
        self.parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
    }

    /// The header `Prefer`, by which a client accepts a response to a pending request.
    pub(crate) fn prefers(&mut self) {
        let text =
            format!("`respond-async`, or `wait=N` with at most {APPROVAL_WAIT_S_MAX} seconds (RFC 7240)");
        self.parameter("Prefer", "header", &json!({ "type": "string", "description": text }));
    }

    /// An optional parameter.
    pub(crate) fn parameter(&mut self, name: &str, place: &str, schema: &Value) {
        self.parameters.push(json!({ "name": name, "in": place, "schema": schema }));
    }

    pub(crate) fn body<T: JsonSchema>(&mut self, kind: &str) {
        let schema = self.schemas.bodies.subschema_for::<T>();
        self.body = Some(json!({ kind: { "schema": schema } }));
    }

    /// An optional body.
    pub(crate) fn optional_body<T: JsonSchema>(&mut self, kind: &str) {
        self.body::<T>(kind);
        self.is_body_optional = true;
    }

    pub(crate) fn answer<T: JsonSchema>(&mut self, kind: &str) {
        let schema = self.schemas.answer::<T>();
        self.answer = Some(json!({ kind: { "schema": schema } }));
    }
}
