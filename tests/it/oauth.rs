//! What RFC 6749, 8707, 6750 and 9728 ask of the endpoints, beside what a token says.

use keyward::base::encoding::base64;

use crate::interop::python;
use crate::support::broker::{Agent, TestBroker};
use crate::support::process::Process;

const ASK: &str = "grant_type=client_credentials&scope=github.repo.read";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn refused(agent: &Agent, path: &str, basic: Option<&str>, form: &str) -> [String; 3] {
    let basic = basic.map(|named| format!("Basic {}", base64(named.as_bytes())));
    let mut headers = vec![FORM];
    headers.extend(basic.as_deref().map(|basic| ("authorization", basic)));
    let reply = agent.caller.send("POST", path, &headers, form.as_bytes()).await;
    let body = reply.json();
    assert!(reply.status == 401 || body["access_token"].is_string(), "{}", reply.text());
    let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    [text("error"), text("code"), reply.header("www-authenticate").to_owned()]
}

#[tokio::test]
async fn client_id_of_another_is_invalid_client_in_form_and_basic() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let challenge = "Basic realm=\"keyward\"";
    for path in ["/oauth/token", "/oauth/revoke"] {
        let form = format!("{ASK}&token=x&client_id=spiffe://keyward.test/agent/b");
        let expected = ["invalid_client", "client_id_mismatch", challenge];
        assert_eq!(refused(&agent, path, None, &form).await, expected, "{path}");
        let named = Some("spiffe%3A%2F%2Fkeyward.test%2Fagent%2Fb:");
        assert_eq!(refused(&agent, path, named, &format!("{ASK}&token=x")).await, expected, "{path}");
    }
    let secret = ["invalid_client", "client_secret_not_supported", challenge];
    let own = "spiffe%3A%2F%2Fkeyward.test%2Fagent%2Fa:";
    assert_eq!(refused(&agent, "/oauth/token", Some(&format!("{own}pw")), ASK).await, secret);
    // The twins, which are its own.
    for named in [Some(own), Some("spiffe://keyward.test/agent/a:"), None] {
        let form = format!("{ASK}&client_id=spiffe://keyward.test/agent/a&client_secret=");
        assert_eq!(refused(&agent, "/oauth/token", named, &form).await, ["", "", ""]);
    }
}

#[tokio::test]
async fn form_fields_without_a_value_count_as_absent() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let reply = agent.ask(&format!("{ASK}&resource=&client_id=&expires_in=&scope=")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!((reply.header("cache-control"), reply.header("pragma")), ("no-store", "no-cache"));
}

#[tokio::test]
async fn two_resources_are_an_invalid_target() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let twice = format!("{ASK}&resource=https://a.example.com&resource=https://b.example.com");
    let reply = agent.ask(&twice).await;
    let body = reply.json();
    assert_eq!(
        (reply.status, &body["error"], &body["code"]),
        (400, &"invalid_target".into(), &"resource_repeated".into())
    );
    assert_eq!(reply.header("pragma"), "no-cache");
}

#[tokio::test]
async fn challenge_names_the_callers_own_scope_and_no_other() {
    let broker = TestBroker::declared().await;
    let (reader, other) =
        (broker.agent("a", &["repo-reader"]).await, broker.agent("b", &["publisher"]).await);
    let challenge = |reply: crate::support::broker::Reply| reply.header("www-authenticate").to_owned();
    let own = challenge(reader.caller.get("/v1/secrets/github/app").await);
    assert!(own.contains("scope=\"github.repo.read\"") && own.contains("resource_metadata="), "{own}");
    let others = challenge(other.caller.get("/v1/secrets/github/app").await);
    assert!(!others.contains("scope"), "{others}");

    let path = "/.well-known/oauth-protected-resource";
    let known = reader.caller.get(path).await;
    assert_eq!(known.json()["scopes_supported"], serde_json::json!(["github.repo.read"]));
    assert_eq!(known.header("cache-control"), "private, max-age=60");
    let nobody = broker.nobody(broker.agents()).get(path).await;
    assert!(nobody.json().get("scopes_supported").is_none(), "{}", nobody.text());
    assert_eq!(nobody.header("cache-control"), "public, max-age=60");
}

#[tokio::test]
async fn every_refusal_for_want_of_credentials_has_a_challenge() {
    let broker = TestBroker::declared().await;
    let listeners =
        [(broker.agents(), keyward::http::agent_routes()), (broker.admins(), keyward::http::admin_routes())];
    let mut refused = 0;
    for (address, routes) in listeners {
        let nobody = broker.nobody(address);
        for route in routes {
            let path = route.path.replace(['{', '}', '*'], "");
            let Ok(reply) = nobody.attempt(route.method.as_str(), &path, &[], b"").await else { continue };
            if reply.status == 401 {
                refused += 1;
                assert_ne!(reply.header("www-authenticate"), "", "{} {path}", route.method);
            }
        }
    }
    assert!(refused > 5, "{refused}");
}

#[test]
fn python_mcp_sdk_gets_a_secret_from_the_broker_itself() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"the-value");
    let file = |name: &str| process.path("home-a/agent").join(name).display().to_string();
    let address = std::fs::read_to_string(file("address")).unwrap();
    let said = python(
        "mcp_client.py",
        &[
            &format!("https://{}", address.trim()),
            &file("authority.pem"),
            &file("certificate.pem"),
            &file("key.pem"),
            "spiffe://keyward.test/agent/a",
            "/v1/secrets/github/app",
        ],
    );
    assert!(said.contains("value: the-value scope: github.repo.read"), "{said}");
    assert!(said.contains("ok: a client secret is refused"), "{said}");
}
