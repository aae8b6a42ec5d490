//! The `OpenAPI` document of a listener: paths from its route table, schemas from the types that are
//! read and written.

use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::base::limits::{LIST_ITEMS_MAX, PAGE_ENTRIES_MAX};
use crate::http::route::{Caller, Route};
use crate::http::routes::admins;
use crate::http::routes::discovery;
use crate::http::routes::input::{BYTES, FORM, JSON, LISTS};
use crate::http::routes::introspection;
use crate::http::routes::repeat::ONCE_ROUTES;
use crate::token::KeySet;
use crate::wire::{
    self, AgentAnswer, AppliedAnswer, AuthorityAnswer, CapabilityAnswer, EnrolBody, IdentityAnswer, Items,
    OAuthBody, PageAnswer, ProblemBody, RenewBody, RoleAnswer, SecretAnswer, StagedAnswer as Staged,
    TokenKeyAnswer,
};

/// What a route takes and gives.
struct Shape {
    summary: &'static str,
    body: Option<Content>,
    status: u16,
    answer: Option<Content>,
}

struct Content {
    kind: &'static str,
    schema: Value,
}

/// Schemas of bodies and of answers: a field may be left out of the one and be always there in the other.
struct Schemas {
    bodies: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12();
        let settings = settings.with(|all| all.definitions_path = "/components/schemas".into());
        let bodies = settings.clone().for_deserialize().into_generator();
        Self { bodies, answers: settings.for_serialize().into_generator() }
    }

    fn takes<T: JsonSchema>(&mut self) -> Option<Content> {
        Some(Content { kind: JSON, schema: self.bodies.subschema_for::<T>().to_value() })
    }

    fn gives<T: JsonSchema>(&mut self) -> Option<Content> {
        Some(Content { kind: JSON, schema: self.answers.subschema_for::<T>().to_value() })
    }

    fn definitions(mut self) -> Map<String, Value> {
        let mut all = self.bodies.take_definitions(true);
        for (name, mut schema) in self.answers.take_definitions(true) {
            close(&mut schema);
            all.insert(name, schema);
        }
        all
    }
}

/// An answer has the fields that are written down, and no others.
fn close(schema: &mut Value) {
    if let Value::Object(schema) = schema
        && schema.contains_key("properties")
    {
        schema.entry("additionalProperties").or_insert(Value::Bool(false));
    }
}

/// The document of the listener with these routes; `None` for a route that nobody has described.
#[must_use]
pub fn openapi(title: &str, routes: &[Route]) -> Option<Value> {
    let mut schemas = Schemas::new();
    let problem = schemas.gives::<ProblemBody>()?.schema;
    let oauth = schemas.gives::<OAuthBody>()?.schema;
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let shape = shape(route, &mut schemas)?;
        let refusal = if route.path.starts_with("/oauth/") {
            json!({ JSON: { "schema": oauth } })
        } else {
            json!({ "application/problem+json": { "schema": problem } })
        };
        let path = paths.entry(route.path.replace("{*", "{")).or_insert_with(|| json!({}));
        if let Value::Object(path) = path {
            path.insert(route.method.to_lowercase(), operation(route, &shape, &refusal));
        }
    }
    Some(json!({
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
    }))
}

fn operation(route: &Route, shape: &Shape, refusal: &Value) -> Value {
    let content = |content: &Content| json!({ content.kind: { "schema": content.schema } });
    let mut answered = json!({ "description": "done" });
    if let (Value::Object(answered), Some(answer)) = (&mut answered, &shape.answer) {
        answered.insert("content".to_owned(), content(answer));
    }
    let mut operation = json!({
        "summary": shape.summary,
        "security": security(route),
        "responses": {
            shape.status.to_string(): answered,
            "default": { "description": "refused", "content": refusal },
        },
    });
    if let Value::Object(operation) = &mut operation {
        let parameters = parameters(route);
        if !parameters.is_empty() {
            operation.insert("parameters".to_owned(), Value::Array(parameters));
        }
        if let Some(body) = &shape.body {
            operation.insert("requestBody".to_owned(), json!({ "required": true, "content": content(body) }));
        }
        if let Caller::Operator(need) = route.caller {
            operation.insert("x-keyward-right".to_owned(), Value::from(need.right));
        }
    }
    operation
}

fn security(route: &Route) -> Value {
    match route.caller {
        // Of the host's socket the kernel says who calls.
        Caller::Public | Caller::Host => json!([]),
        Caller::Agent if route.path == REVEAL => json!([{ "certificate": [], "token": [] }]),
        Caller::Agent | Caller::ResourceServer | Caller::Enrolled | Caller::Operator(_) => {
            json!([{ "certificate": [] }])
        }
    }
}

const REVEAL: &str = "/v1/secrets/{*name}";

fn parameters(route: &Route) -> Vec<Value> {
    let named = route.path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let mut parameters: Vec<Value> = named
        .map(|name| {
            let schema = json!({ "type": "string", "minLength": 1, "maxLength": 255 });
            json!({ "name": name.trim_start_matches('*'), "in": "path", "required": true, "schema": schema })
        })
        .collect();
    let optional =
        |name: &str, place: &str, schema: Value| json!({ "name": name, "in": place, "schema": schema });
    if ONCE_ROUTES.contains(&(route.method, route.path)) {
        let schema = json!({ "type": "string", "pattern": "^[!-~]{1,128}$" });
        parameters.push(optional("Idempotency-Key", "header", schema));
    }
    if (route.method, route.path) == ("PUT", REVEAL) {
        for name in ["Keyward-Owner", "Keyward-Sensitivity", "If-Match", "If-None-Match"] {
            parameters.push(optional(name, "header", json!({ "type": "string" })));
        }
    }
    let paged = match route.path {
        "/v1/ledger/entries" => Some((json!({ "type": "integer", "minimum": 0 }), PAGE_ENTRIES_MAX)),
        "/v1/leases" if route.caller.is_operator() && route.method == "GET" => {
            Some((json!({ "type": "string" }), PAGE_ENTRIES_MAX))
        }
        path if route.method == "GET" && LISTS.contains(&path) => {
            Some((json!({ "type": "string" }), LIST_ITEMS_MAX))
        }
        _ => None,
    };
    if let Some((after, most)) = paged {
        parameters.push(optional("after", "query", after));
        let limit = json!({ "type": "integer", "minimum": 1, "maximum": most });
        parameters.push(optional("limit", "query", limit));
    }
    parameters
}

fn raw(kind: &'static str, schema: Value) -> Option<Content> {
    Some(Content { kind, schema })
}

fn text(kind: &'static str) -> Option<Content> {
    raw(kind, json!({ "type": "string" }))
}

fn form(fields: &[&str], required: &[&str]) -> Option<Content> {
    let fields: Map<String, Value> =
        fields.iter().map(|name| ((*name).to_owned(), json!({ "type": "string" }))).collect();
    raw(FORM, json!({ "type": "object", "properties": fields, "required": required }))
}

fn shape(route: &Route, schemas: &mut Schemas) -> Option<Shape> {
    let reads = |summary, answer| Some(Shape { summary, body: None, status: 200, answer });
    let makes = |summary, body, answer| Some(Shape { summary, body, status: 201, answer });
    match (route.method, route.path) {
        ("GET", "/livez") => reads("Whether the process lives", schemas.gives::<wire::StatusAnswer>()),
        ("GET", "/readyz") => {
            reads("Whether requests can be served", schemas.gives::<wire::ReadinessAnswer>())
        }
        ("GET", "/openapi.json") => reads("This document", raw(JSON, json!({ "type": "object" }))),
        ("GET", "/metrics") => reads("What is counted", text(admins::OPENMETRICS)),
        ("POST", "/v1/enrol") => {
            let body = schemas.takes::<EnrolBody>();
            makes("Redeem an enrolment code for a certificate", body, schemas.gives::<IdentityAnswer>())
        }
        ("POST", "/v1/renew") => {
            let body = schemas.takes::<RenewBody>();
            makes("Renew one's own certificate", body, schemas.gives::<IdentityAnswer>())
        }
        _ if route.caller == Caller::Host => shape_for_host(route, schemas),
        _ if route.caller.is_operator() => shape_for_operators(route, schemas),
        _ => shape_for_agents(route, schemas),
    }
}

fn shape_for_agents(route: &Route, schemas: &mut Schemas) -> Option<Shape> {
    let reads = |summary, answer| Some(Shape { summary, body: None, status: 200, answer });
    let does = |summary, body, answer| Some(Shape { summary, body, status: 200, answer });
    match (route.method, route.path) {
        ("GET", "/.well-known/oauth-authorization-server") => {
            reads("RFC 8414", schemas.gives::<discovery::AuthorizationServer<'_>>())
        }
        ("GET", "/.well-known/openid-configuration") => {
            reads("OpenID Connect Discovery", schemas.gives::<discovery::OpenidConfiguration<'_>>())
        }
        ("GET", "/.well-known/oauth-protected-resource") => {
            reads("RFC 9728", schemas.gives::<discovery::ProtectedResource<'_>>())
        }
        ("GET", "/.well-known/jwks.json") => {
            reads("The keys that tokens are verified with", schemas.gives::<KeySet>())
        }
        ("GET", "/v1/authority") => reads("The authorities' certificates", text("application/x-pem-file")),
        ("GET", "/v1/checkpoint") => reads("A signed checkpoint of the ledger", text(TEXT)),
        ("GET", "/v1/checkpoint/key") => reads("The key that verifies checkpoints", text(TEXT)),
        ("GET", "/oauth/authorize") => reads("Refuses: there is no such grant", None),
        ("POST", "/oauth/token") => {
            let fields = ["grant_type", "scope", "resource", "client_id", "expires_in"];
            let body = form(&fields, &["grant_type", "scope"]);
            does("Mint an access token", body, schemas.gives::<wire::TokenAnswer>())
        }
        ("POST", "/oauth/revoke") => does("Give a token up (RFC 7009)", form(&["token"], &["token"]), None),
        ("POST", "/oauth/introspect") => {
            let schema = json!({ "anyOf": [
                schemas.gives::<introspection::Active<'_>>()?.schema,
                schemas.gives::<introspection::Inactive>()?.schema,
            ] });
            does("Ask about a token (RFC 7662)", form(&["token"], &["token"]), raw(JSON, schema))
        }
        ("GET", "/v1/whoami") => reads("Who the caller is", schemas.gives::<wire::AgentWhoamiAnswer>()),
        ("GET", REVEAL) => reads("Read a secret", raw(BYTES, json!({}))),
        ("GET", "/v1/leases") => {
            reads("The leases of one's own instance", schemas.gives::<Items<wire::LeaseAnswer>>())
        }
        ("POST", "/v1/leases") => {
            let body = schemas.takes::<wire::LeaseBody>();
            does("Get a login that ends by itself", body, schemas.gives::<wire::LoginAnswer>())
        }
        ("POST", "/v1/leases/{id}/renew") => {
            let body = schemas.takes::<wire::RenewLeaseBody>();
            does("Have a lease end later", body, schemas.gives::<wire::LeaseRenewalAnswer>())
        }
        ("POST", "/v1/leases/{id}/give-up") => {
            let body = schemas.takes::<wire::GiveUpLeaseBody>();
            does("Give a lease up", body, schemas.gives::<wire::GivenUpLeaseAnswer>())
        }
        _ => None,
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

fn shape_for_operators(route: &Route, schemas: &mut Schemas) -> Option<Shape> {
    let reads = |summary, answer| Some(Shape { summary, body: None, status: 200, answer });
    let does = |summary, body, answer| Some(Shape { summary, body, status: 200, answer });
    let makes = |summary, body, answer| Some(Shape { summary, body, status: 201, answer });
    let last = route.path.rsplit('/').next().unwrap_or_default();
    match (route.method, route.path) {
        ("GET", "/v1/whoami") => reads("Who the caller is", schemas.gives::<wire::OperatorWhoamiAnswer>()),
        ("POST", "/v1/plan" | "/v1/apply") => {
            let body = schemas.takes::<wire::DeclareBody>();
            does("Plan declarations, or bring them about", body, schemas.gives::<AppliedAnswer>())
        }
        ("GET", "/v1/agents") => reads("Agents", schemas.gives::<PageAnswer<AgentAnswer>>()),
        ("GET", "/v1/agents/{name}") => reads("An agent", schemas.gives::<AgentAnswer>()),
        ("POST", "/v1/agents/{name}/invitations") => {
            let body = schemas.takes::<wire::InviteAgentBody>();
            makes("Make an agent's enrolment code", body, schemas.gives::<wire::AgentInvitationAnswer>())
        }
        ("GET", "/v1/capabilities") => reads("Capabilities", schemas.gives::<PageAnswer<CapabilityAnswer>>()),
        ("GET", "/v1/roles") => reads("Roles", schemas.gives::<PageAnswer<RoleAnswer>>()),
        ("GET", "/v1/ledger/entries") => {
            reads("Entries of the ledger", schemas.gives::<wire::EntriesAnswer>())
        }
        ("GET", "/v1/operators") => reads("Operators", schemas.gives::<PageAnswer<wire::OperatorAnswer>>()),
        ("GET", "/v1/operators/{name}") => reads("An operator", schemas.gives::<wire::OperatorAnswer>()),
        ("POST", "/v1/operators/{name}/invitations") => {
            let body = schemas.takes::<wire::InviteOperatorBody>();
            makes(
                "Make an operator's enrolment code",
                body,
                schemas.gives::<wire::OperatorInvitationAnswer>(),
            )
        }
        ("PUT", "/v1/operators/{name}/role") => {
            let body = schemas.takes::<wire::PlaceOperatorBody>();
            does("Give an operator a role", body, schemas.gives::<wire::ChangedAnswer>())
        }
        ("POST", path) if path.starts_with("/v1/authorities") => {
            let body = schemas.takes::<wire::StageBody>().filter(|_| last != "authorities");
            let prepared = schemas.gives::<Items<AuthorityAnswer>>();
            let answer = body.as_ref().map_or(prepared, |_| schemas.gives::<Staged<AuthorityAnswer>>());
            does("Bring the certificate authority to its next stage", body, answer)
        }
        ("GET", "/v1/authorities") => reads("The authorities", schemas.gives::<Items<AuthorityAnswer>>()),
        ("POST", path) if path.starts_with("/v1/token-keys/") => {
            let body = schemas.takes::<wire::StageBody>();
            does("Bring the token key to its next stage", body, schemas.gives::<Staged<TokenKeyAnswer>>())
        }
        (_, path) if path.starts_with("/v1/token-keys") => {
            reads("The token keys, and their stages", schemas.gives::<Items<TokenKeyAnswer>>())
        }
        ("POST", "/v1/checkpoint-key/rotate") => {
            reads("Rotate the checkpoint key", schemas.gives::<wire::CheckpointKeyAnswer>())
        }
        ("POST", _) if matches!(last, "revoke" | "suspend" | "resume") => {
            reads("Revoke, suspend or resume", schemas.gives::<wire::EndedAnswer>())
        }
        _ => shape_for_secrets(route, schemas),
    }
}

fn shape_for_host(route: &Route, schemas: &mut Schemas) -> Option<Shape> {
    let does = |summary, body, answer| Some(Shape { summary, body, status: 200, answer });
    match (route.method, route.path) {
        ("GET", "/v1/state") => does("How the broker stands", None, schemas.gives::<wire::StateAnswer>()),
        ("POST", "/v1/seal") => does("Seal the broker", None, schemas.gives::<wire::StateAnswer>()),
        ("POST", "/v1/unseal") => {
            let body = schemas.takes::<wire::UnsealBody>();
            does("Open the keyring, and serve", body, schemas.gives::<wire::StateAnswer>())
        }
        ("POST", "/v1/clock/accept") => {
            does("Take the system clock as right", None, schemas.gives::<wire::ClockAnswer>())
        }
        ("POST", "/v1/break-glass") => {
            let (body, answer) = (schemas.takes::<RenewBody>(), schemas.gives::<IdentityAnswer>());
            Some(Shape {
                summary: "Take an administrator's certificate of an hour",
                body,
                status: 201,
                answer,
            })
        }
        ("POST", _) => does("Revoke or suspend", None, schemas.gives::<wire::OrderedAnswer>()),
        _ => None,
    }
}

fn shape_for_secrets(route: &Route, schemas: &mut Schemas) -> Option<Shape> {
    let reads = |summary, answer| Some(Shape { summary, body: None, status: 200, answer });
    let does = |summary, body, answer| Some(Shape { summary, body, status: 200, answer });
    let makes = |summary, body, answer| Some(Shape { summary, body, status: 201, answer });
    match (route.method, route.path) {
        ("GET", "/v1/secrets") => reads("Secrets, never values", schemas.gives::<PageAnswer<SecretAnswer>>()),
        ("GET", REVEAL) => {
            reads("A secret and its versions, never a value", schemas.gives::<wire::SecretDetailAnswer>())
        }
        ("GET", "/v1/secret-readers/{*name}") => {
            reads("Who read a secret last", schemas.gives::<wire::ReadersAnswer>())
        }
        ("POST", "/v1/secret-versions/{*name}") => {
            let body = schemas.takes::<wire::VersionBody>();
            does("Roll back to a version, or destroy one", body, schemas.gives::<wire::EndedAnswer>())
        }
        ("POST", "/v1/secret-sensitivity/{*name}") => {
            let body = schemas.takes::<wire::SensitivityBody>();
            does("Say how sensitive a secret is", body, schemas.gives::<wire::ClassifiedAnswer>())
        }
        ("POST", "/v1/value-key/rotate") => {
            reads("Rotate the value key", schemas.gives::<wire::ValueKeyAnswer>())
        }
        ("PUT", REVEAL) => {
            let body = raw(BYTES, json!({}));
            makes("Store a secret's next version", body, schemas.gives::<wire::StoredAnswer>())
        }
        _ => shape_for_upstreams(route, schemas),
    }
}

fn shape_for_upstreams(route: &Route, schemas: &mut Schemas) -> Option<Shape> {
    let reads = |summary, answer| Some(Shape { summary, body: None, status: 200, answer });
    let does = |summary, body, answer| Some(Shape { summary, body, status: 200, answer });
    match (route.method, route.path) {
        ("GET", "/v1/leases") => {
            reads("Leases, never passwords", schemas.gives::<PageAnswer<wire::LeaseAnswer>>())
        }
        ("POST", "/v1/leases/{id}/renew") => {
            let body = schemas.takes::<wire::RenewLeaseBody>();
            does("Have anybody's lease end later", body, schemas.gives::<wire::LeaseRenewalAnswer>())
        }
        ("POST", "/v1/lease-endings") => {
            let body = schemas.takes::<wire::LeaseSelectionBody>();
            does("End leases", body, schemas.gives::<wire::EndedLeasesAnswer>())
        }
        ("POST", "/v1/lease-retries") => {
            let body = schemas.takes::<wire::LeaseSelectionBody>();
            does("Retry revocations of logins that failed", body, schemas.gives::<wire::EndedLeasesAnswer>())
        }
        ("POST", "/v1/leases/{id}/forget") => {
            let body = schemas.takes::<wire::ForgetLeaseBody>();
            let answer = schemas.gives::<wire::ForgottenLeaseAnswer>();
            does("Give up on a login that cannot be revoked", body, answer)
        }
        ("POST", "/v1/rotation-adoptions/{*name}") => {
            let body = schemas.takes::<wire::AdoptBody>();
            let answer = schemas.gives::<wire::AdoptedAnswer>();
            does("Hand out a version that works upstream, and end the rotation under way", body, answer)
        }
        ("POST", "/v1/rotation-checks/{*name}") => {
            reads("Try a rotation's upstream, changing nothing", schemas.gives::<wire::UpstreamCheckAnswer>())
        }
        ("POST", "/v1/plan-checks/{*name}") => {
            let body = schemas.takes::<wire::DeclareBody>();
            let answer = schemas.gives::<wire::UpstreamCheckAnswer>();
            does("Try the upstream of a rotation before it is applied, changing nothing", body, answer)
        }
        ("GET", "/v1/rotations") => {
            reads("Rotations of secrets", schemas.gives::<PageAnswer<wire::RotationAnswer>>())
        }
        ("GET", "/v1/rotations/{*name}") => reads("A rotation", schemas.gives::<wire::RotationAnswer>()),
        ("POST", "/v1/rotations/{*name}") => {
            let body = schemas.takes::<wire::SteerRotationBody>();
            does(
                "Rotate now, pause, resume, retry, end the grace",
                body,
                schemas.gives::<wire::SteeredRotationAnswer>(),
            )
        }
        ("GET", "/v1/rotation-plans/{*name}") => {
            reads("What a rotation would do", schemas.gives::<wire::RotationPlanAnswer>())
        }
        ("GET", "/v1/rotation-calendar") => {
            reads("Rotations to come", schemas.gives::<Items<wire::RotationDueAnswer>>())
        }
        _ => None,
    }
}
