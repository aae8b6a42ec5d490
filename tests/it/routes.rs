//! Every route against every kind of caller. The table is the routers' own.

use keyward::base::{Clock, Entropy, Sensitive, SystemEntropy, Timestamp};
use keyward::crypto::{EcdsaKey, SignatureForm};
use keyward::http::{Caller as Who, Route, admin_routes, agent_routes};
use keyward::pki::{
    Authority, CertificatePlan, SpiffeId, certificate_pem, new_key_and_request, read_request,
};

use crate::support::broker::{Caller, Reply, TestBroker};

/// The routes that anybody may call. This list may only shrink.
const PUBLIC: [(&str, &str); 15] = [
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/openapi.json"),
    ("GET", "/v1/authority"),
    ("GET", "/v1/checkpoint"),
    ("GET", "/v1/checkpoint/key"),
    ("GET", "/oauth/authorize"),
    ("POST", "/v1/enrol"),
    ("GET", "/.well-known/oauth-authorization-server"),
    ("GET", "/.well-known/openid-configuration"),
    ("GET", "/.well-known/oauth-protected-resource"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("POST", "/v1/enrol"),
];

pub(crate) fn path(route: &Route) -> String {
    let kinds = [("tokens", "tok"), ("leases", "lease")];
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
}

/// A request that the route's right caller gets past the door with.
pub(crate) async fn knock(caller: &Caller, route: &Route) -> std::io::Result<Reply> {
    let (kind, body) = match (route.method, route.path) {
        ("POST", "/oauth/token") => {
            ("application/x-www-form-urlencoded", "grant_type=client_credentials&scope=github.repo.read")
        }
        ("POST", "/oauth/introspect") => ("application/x-www-form-urlencoded", "token=x"),
        ("POST", "/v1/plan" | "/v1/apply") => {
            ("application/json", "{\"files\":[{\"name\":\"a\",\"text\":\"\"}]}")
        }
        (
            "POST",
            "/v1/authorities/{generation}/activate"
            | "/v1/authorities/{generation}/taint"
            | "/v1/authorities/{generation}/revoke",
        ) => ("application/json", "{}"),
        ("POST", "/v1/rotations/{*name}") => ("application/json", "{\"action\":\"rotate\"}"),
        ("POST", "/v1/secret-versions/{*name}") => {
            ("application/json", "{\"action\":\"destroy\",\"version\":99}")
        }
        ("POST", "/v1/secret-sensitivity/{*name}") => ("application/json", "{\"sensitivity\":\"ordinary\"}"),
        ("POST", "/v1/leases") => ("application/json", "{\"capability\":\"orders.query\",\"life_s\":1}"),
        ("POST", "/v1/leases/{id}/renew" | "/v1/leases/{id}/give-up") => ("application/json", "{}"),
        ("POST", "/v1/lease-endings") => ("application/json", "{\"all\":true}"),
        ("POST", "/v1/renew") => ("application/json", "{\"csr\":\"\"}"),
        ("POST", "/v1/operators/{name}/invitations") => ("application/json", "{\"role\":\"auditor\"}"),
        ("PUT", "/v1/operators/{name}/role") => ("application/json", "{\"role\":\"auditor\",\"owner\":null}"),
        ("POST", _) => ("application/json", "{\"roles\":[]}"),
        ("PUT", _) => ("application/octet-stream", "value"),
        _ => ("", ""),
    };
    let headers = if kind.is_empty() { vec![] } else { vec![("content-type", kind)] };
    caller.attempt(route.method, &path(route), &headers, body.as_bytes()).await
}

/// Refused at the handshake, or answered 401.
pub(crate) fn is_refused(reply: &std::io::Result<Reply>) -> bool {
    reply.as_ref().map_or(true, |reply| reply.status == 401)
}

#[test]
fn the_public_routes_are_the_reviewed_ones() {
    let all = agent_routes().into_iter().chain(admin_routes());
    let public: Vec<(&str, &str)> =
        all.filter(|route| route.caller == Who::Public).map(|route| (route.method, route.path)).collect();
    assert_eq!(public, PUBLIC);
}

#[tokio::test]
async fn tls_01_without_a_certificate_only_public_routes_answer() {
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
            let bearer_missing = route.path.starts_with("/v1/secrets") && reply.code() == "token_missing";
            assert!(![401, 403].contains(&reply.status) || bearer_missing, "{route:?}: {}", reply.text());
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
            "generation_unknown",
            "rotation_unknown",
            "version_unknown",
            "json_invalid",
            "operator_unknown",
            "subject_unknown",
            "lease_unknown",
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

#[tokio::test]
async fn tls_02_a_foreign_authority_with_our_name_is_refused() {
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

#[tokio::test]
async fn tls_03_an_expired_certificate_is_refused_on_new_and_on_open_connections() {
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

#[tokio::test]
async fn tls_12_identity_headers_are_never_looked_at() {
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

#[tokio::test]
async fn http_18_19_what_is_no_route_is_refused_in_the_same_form() {
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
