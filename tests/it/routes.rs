//! Every route against every kind of caller. The table is the routers' own.

use keyward::base::{Clock, Entropy, Sensitive, SystemEntropy, Timestamp};
use keyward::crypto::{EcdsaKey, SignatureForm};
use keyward::http::{Caller as Who, Route, admin_routes, agent_routes, openapi};
use keyward::pki::{
    Authority, CertificatePlan, SpiffeId, certificate_pem, new_key_and_request, read_request,
};

use serde_json::{Value, json};

use crate::support::broker::{Caller, Reply, TestBroker};

/// The routes that are public. This list may only shrink.
const PUBLIC: [(&str, &str); 16] = [
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/openapi.json"),
    ("GET", "/v1/authority"),
    ("GET", "/v1/checkpoint"),
    ("GET", "/v1/checkpoint/key"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/.well-known/oauth-authorization-server"),
    ("GET", "/.well-known/openid-configuration"),
    ("GET", "/.well-known/oauth-protected-resource"),
    ("GET", "/oauth/authorize"),
    ("POST", "/v1/enrol"),
    ("GET", "/device"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("POST", "/v1/enrol"),
];

pub(crate) fn path(route: &Route) -> String {
    let kinds = [
        ("tokens", "tok"),
        ("leases", "lease"),
        ("incidents", "inc"),
        ("enrolment-codes", "code"),
        ("approvals", "appr"),
        ("decisions", "dec"),
    ];
    let kind = kinds.iter().find(|(part, _)| route.path.contains(part));
    let id = kind.map_or("inst", |(_, kind)| *kind);
    let id = format!("{id}_{}", "0".repeat(26));
    route
        .path
        .replace("{*name}", "github/app")
        .replace("{name}", "research-bot")
        .replace("{id}", &id)
        .replace("{serial}", &"0".repeat(32))
        .replace("{generation}", "99")
        .replace("{seq}", "1")
}

/// What a field of this name has in a request; `None` for one that the schema alone says.
fn field(name: &str) -> Option<Value> {
    Some(match name {
        "grant_type" => json!("client_credentials"),
        "scope" => json!("github.repo.read"),
        "capability" => json!("orders.query"),
        "role" => json!("auditor"),
        "owner" => json!(null),
        "life_s" => json!(60),
        "all" => json!(true),
        "csr" | "text" => json!(""),
        "times" => json!({}),
        _ => return None,
    })
}

/// An instance of `schema`: the fields that are required, and those that [`field`] knows.
fn instance(schema: &Value, document: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return instance(&document["components"]["schemas"][name], document);
    }
    let first = |list: &Value| list.as_array().and_then(|list| list.first().cloned());
    if let Some(one) = first(&schema["oneOf"]).or_else(|| first(&schema["anyOf"])) {
        return instance(&one, document);
    }
    let kind = first(&schema["type"]).unwrap_or_else(|| schema["type"].clone());
    match kind.as_str() {
        Some("object") => {
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let fields = schema["properties"].as_object().cloned().unwrap_or_default();
            // A selection has one field.
            let is_selection = fields.contains_key("all");
            let taken = fields.into_iter().filter_map(|(name, schema)| {
                let is_required = required.contains(&json!(name));
                let is_known = if is_selection { name == "all" } else { field(&name).is_some() };
                let value = field(&name).unwrap_or_else(|| instance(&schema, document));
                (is_required || is_known).then_some((name, value))
            });
            Value::Object(taken.collect())
        }
        Some("array") if schema["items"].get("$ref").is_some() => {
            json!([instance(&schema["items"], document)])
        }
        Some("array") => json!([]),
        Some("integer") => json!(99),
        Some("boolean") => json!(false),
        _ => first(&schema["enum"]).unwrap_or_else(|| schema.get("const").cloned().unwrap_or(json!("x"))),
    }
}

/// The content type and the body of a request for `route`, by its own document.
fn body(route: &Route) -> Option<(String, String)> {
    let document = openapi("", &[*route]);
    let operation = &document["paths"][route.path.replace("{*", "{")][route.method.as_str().to_lowercase()];
    let (kind, content) = operation["requestBody"]["content"].as_object()?.iter().next()?;
    let value = instance(&content["schema"], &document);
    let body = match kind.as_str() {
        "application/x-www-form-urlencoded" => {
            let fields = value.as_object().unwrap().iter().filter(|(_, value)| value.is_string());
            fields
                .map(|(name, value)| format!("{name}={}", value.as_str().unwrap()))
                .collect::<Vec<_>>()
                .join("&")
        }
        "application/json" => value.to_string(),
        _ => "value".to_owned(),
    };
    Some((kind.clone(), body))
}

/// A request that the route's right caller gets past authorisation with.
pub(crate) async fn knock(caller: &Caller, route: &Route) -> std::io::Result<Reply> {
    let (kind, body) = body(route).unwrap_or_default();
    let headers = if kind.is_empty() { vec![] } else { vec![("content-type", kind.as_str())] };
    caller.attempt(route.method.as_str(), &path(route), &headers, body.as_bytes()).await
}

/// Refused at the handshake, or answered 401.
pub(crate) fn is_refused(reply: &std::io::Result<Reply>) -> bool {
    reply.as_ref().map_or(true, |reply| reply.status == 401)
}

#[test]
fn the_public_routes_are_the_reviewed_ones() {
    let all = agent_routes().into_iter().chain(admin_routes());
    let public: Vec<(&str, &str)> = all
        .filter(|route| route.caller == Who::Public)
        .map(|route| (route.method.as_str(), route.path))
        .collect();
    assert_eq!(public, PUBLIC);
}

/// Hazard TLS-01.
#[tokio::test]
async fn without_a_certificate_only_public_routes_answer() {
    let broker = TestBroker::declared().await;
    for (address, routes) in [(broker.agents(), agent_routes()), (broker.admins(), admin_routes())] {
        let nobody = broker.nobody(address);
        for route in routes {
            let reply = knock(&nobody, &route).await.unwrap();
            let public = route.caller == Who::Public;
            assert_eq!(reply.status == 401, !public, "{route:?}: {}", reply.text());
            if !public {
                assert_eq!(reply.code(), "certificate_required", "{route:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_right_caller_passes_every_door_and_the_wrong_one_none() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("research-bot", &["repo-reader"]).await;
    let server = "[[resource_server]]\nname = \"reports\"\naudience = \"https://reports.example.com\"\n";
    assert_eq!(broker.apply(server).await.status, 200);
    let server = broker.agent("reports", &[]).await;
    let operator = broker.operator();
    for route in agent_routes() {
        let (right, wrong) = match route.caller {
            Who::ResourceServer => (vec![&server], Some((&agent, 403, "introspection_not_allowed"))),
            Who::Agent => (vec![&agent], Some((&server, 401, "certificate_wrong_kind"))),
            Who::Public | Who::Enrolled | Who::Operator(_) | Who::Host => (vec![&agent, &server], None),
        };
        for caller in right {
            let reply = knock(&caller.caller, &route).await.unwrap();
            // The agent has no token for a secret, and no capability for a lease.
            let is_behind = || ["token_missing", "lease_not_granted"].contains(&reply.code().as_str());
            assert!(![401, 403].contains(&reply.status) || is_behind(), "{route:?}: {}", reply.text());
        }
        if let Some((wrong, status, code)) = wrong {
            let reply = knock(&wrong.caller, &route).await.unwrap();
            assert_eq!((reply.status, reply.code().as_str()), (status, code), "{route:?}");
        }
    }
    for route in admin_routes() {
        let reply = knock(&operator, &route).await.unwrap();
        // What is not there, or no request at all, is found out behind the door.
        let behind = [
            "csr_malformed",
            "enrolment_malformed",
            "generation_unknown",
            "rotation_unknown",
            "capability_unknown",
            "version_unknown",
            "json_invalid",
            "operator_unknown",
            "subject_unknown",
            "lease_unknown",
            "lease_invalid_state",
            "operator_profile_invalid",
            "secret_in_use",
            "subject_form_unknown",
            "incident_unknown",
            "incident_incomplete",
            "reason_invalid",
            "incident_times_invalid",
            "broker_not_frozen",
            "entry_unknown",
            "last_admin",
            "enrolment_code_unknown",
            "query_invalid",
            "fingerprint_malformed",
            "approval_unknown",
            "approval_key_unknown",
            "operator_without_person",
            "policy_unknown",
            "policy_version_unknown",
            "decision_unknown",
        ];
        assert!(reply.status < 400 || behind.contains(&reply.code().as_str()), "{route:?}: {}", reply.text());
    }
    // An operator's certificate is nobody's at the agents' door, and the other way round.
    let operator_at_agents = Caller { address: broker.agents(), ..operator };
    let agent_at_admins = Caller { address: broker.admins(), ..agent.caller };
    let server_at_admins = Caller { address: broker.admins(), ..server.caller };
    for route in agent_routes() {
        assert!(is_refused(&knock(&operator_at_agents, &route).await), "{route:?}");
    }
    for route in admin_routes() {
        assert!(is_refused(&knock(&agent_at_admins, &route).await), "{route:?}");
        assert!(is_refused(&knock(&server_at_admins, &route).await), "{route:?}");
    }
}

/// A certificate that says what it likes, signed by `authority` with the broker's own profile.
pub(crate) fn forged(
    broker: &TestBroker,
    authority: &Authority,
    spiffe: &str,
    life_s: i64,
) -> (String, String) {
    let (key, request) = new_key_and_request().unwrap();
    let public = read_request(&request).unwrap();
    let spiffe: SpiffeId = spiffe.parse().unwrap();
    let now = broker.clock.now();
    let plan =
        CertificatePlan::draw(spiffe, &public, now, life_s, authority.public().not_after(), &SystemEntropy);
    (certificate_pem(&authority.sign(&plan, &public).unwrap()), key.expose().clone())
}

pub(crate) fn authority_with(key: &Sensitive<Vec<u8>>, now: Timestamp) -> Authority {
    let entropy: &dyn Entropy = &SystemEntropy;
    let make = || EcdsaKey::from_pkcs8(key, SignatureForm::Asn1).unwrap();
    let der = Authority::found(&"keyward.test".parse().unwrap(), &make(), now, entropy).unwrap();
    Authority::new(der, make()).unwrap()
}

/// Hazard TLS-02.
#[tokio::test]
async fn a_foreign_authority_with_our_name_is_refused() {
    let broker = TestBroker::declared().await;
    broker.agent("research-bot", &["repo-reader"]).await;
    let foreign = authority_with(&EcdsaKey::generate().unwrap(), broker.clock.now());
    let agent = forged(&broker, &foreign, "spiffe://keyward.test/agent/research-bot", 3600);
    let operator = forged(&broker, &foreign, "spiffe://keyward.test/operator/admin", 3600);
    let at_agents = broker.caller(broker.agents(), Some(&agent.0), Some(&agent.1));
    let at_admins = broker.caller(broker.admins(), Some(&operator.0), Some(&operator.1));
    assert!(at_agents.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    assert!(at_admins.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
    // The same caller, twice over, with nothing wrong: the broker's own agent gets in.
    let good = broker.agent("good-bot", &["repo-reader"]).await;
    assert_eq!(good.caller.get("/v1/whoami").await.status, 200);
}

/// Hazard TLS-03.
#[tokio::test]
async fn an_expired_certificate_is_refused_on_new_and_open_connections() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let mut open = agent.caller.connect().await.unwrap();
    assert_eq!(open.send("GET", "/v1/whoami", &[], b"").await.unwrap().status, 200);
    broker.clock.advance_s(86_400);
    let late = open.send("GET", "/v1/whoami", &[], b"").await.unwrap();
    assert_eq!((late.status, late.code().as_str()), (401, "certificate_expired"));
    let anew = agent.caller.get("/v1/whoami").await;
    assert_eq!((anew.status, anew.code().as_str()), (401, "certificate_expired"), "within the grace");
    broker.clock.advance_s(86_400);
    assert!(agent.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err(), "beyond it");
}

/// Hazard TLS-12.
#[tokio::test]
async fn identity_headers_are_never_looked_at() {
    let broker = TestBroker::declared().await;
    let nobody = broker.nobody(broker.admins());
    for header in
        ["x-forwarded-client-cert", "x-ssl-client-s-dn", "client-cert", "x-forwarded-for", "forwarded"]
    {
        let value = "URI=spiffe://keyward.test/operator/admin";
        let reply = nobody.send("GET", "/v1/whoami", &[(header, value)], b"").await;
        assert_eq!(reply.status, 401, "{header}");
    }
}

/// Hazards HTTP-18, HTTP-19.
#[tokio::test]
async fn what_is_no_route_is_refused_in_the_same_form() {
    let broker = TestBroker::start().await;
    let nobody = broker.nobody(broker.agents());
    for (method, path, status, code) in [
        ("GET", "/nothing", 404, "route_unknown"),
        ("DELETE", "/livez", 405, "method_not_allowed"),
        ("GET", "/v1/secrets/a/../b", 400, "path_not_canonical"),
        ("GET", "/v1/secrets/a%2fb", 400, "path_not_canonical"),
        ("GET", "//livez", 400, "path_not_canonical"),
        ("GET", "/LIVEZ", 400, "path_not_canonical"),
        ("GET", "/livez?x=1", 400, "query_not_allowed"),
        ("POST", "/v1/enrol?code=x", 400, "query_not_allowed"),
    ] {
        let reply = nobody.send(method, path, &[], b"").await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{method} {path}");
        assert_eq!(reply.header("content-type"), "application/problem+json");
        assert!(reply.json()["request_id"].as_str().unwrap().starts_with("req_"));
        assert!(reply.headers.get("access-control-allow-origin").is_none());
        assert_eq!(reply.header("allow"), if status == 405 { "GET,HEAD" } else { "" });
    }
}

#[tokio::test]
async fn readiness_and_the_public_documents_say_what_clients_insist_on() {
    let broker = TestBroker::start().await;
    let nobody = broker.nobody(broker.agents());
    assert_eq!(nobody.get("/readyz").await.json()["status"], "ok");
    let metadata = nobody.get("/.well-known/oauth-authorization-server").await.json();
    for field in ["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"] {
        assert!(metadata[field].as_str().unwrap().starts_with("https://127.0.0.1:8443"), "{field}");
    }
    assert!(!metadata["response_types_supported"].as_array().unwrap().is_empty());
    assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], true);
    let key = &nobody.get("/.well-known/jwks.json").await.json()["keys"][0];
    assert_eq!((&key["kty"], &key["use"], &key["alg"]), (&"EC".into(), &"sig".into(), &"ES256".into()));
    assert!(key.get("d").is_none());
    assert_eq!(nobody.get("/v1/authority").await.text(), broker.authority_pem());
    for path in ["/oauth/authorize", "/oauth/authorize?response_type=code&client_id=x"] {
        let authorize = nobody.get(path).await;
        assert_eq!(
            (authorize.status, &authorize.json()["error"]),
            (400, &"unsupported_response_type".into()),
            "{path}"
        );
    }
}
