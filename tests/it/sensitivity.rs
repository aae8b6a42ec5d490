//! Secrets of sensitivity `high`: short tokens, capabilities of their own owner, and all of it on the ledger.

use keyward::base::limits::{HIGH_TOKEN_LIFE_MAX_S, LEEWAY_S};
use serde_json::{Value, json};

use crate::refusals::refused;
use crate::support::broker::{Agent, DECLARATIONS, Reply, TestBroker};
use crate::support::process::Process;

const BYTES: &str = "application/octet-stream";

async fn put(broker: &TestBroker, name: &str, headers: &[(&str, &str)]) -> Reply {
    let headers: Vec<_> = [("content-type", BYTES)].iter().chain(headers).copied().collect();
    broker.operator().send("PUT", &format!("/v1/secrets/{name}"), &headers, b"hunter2").await
}

async fn classify(broker: &TestBroker, sensitivity: &str) -> Reply {
    let body = json!({ "sensitivity": sensitivity, "widen": sensitivity == "ordinary" });
    broker.operator().post_json("/v1/secret-sensitivity/github/app", &body).await
}

async fn classified(broker: &TestBroker, sensitivity: &str) -> Value {
    let reply = classify(broker, sensitivity).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// A broker whose one capability of a secret may have tokens of an hour, and an agent that holds it.
async fn broker() -> (TestBroker, Agent) {
    let broker = TestBroker::declared().await;
    assert_eq!(broker.apply(&long()).await.status, 200);
    let agent = broker.agent("research-bot", &["repo-reader"]).await;
    (broker, agent)
}

fn long() -> String {
    DECLARATIONS.replacen("max_life_s = 300", "max_life_s = 3600", 1)
}

fn owned(owner: &str) -> String {
    long().replacen("max_life_s = 3600", &format!("max_life_s = 3600\nowner = \"{owner}\""), 1)
}

async fn ask(agent: &Agent, life_s: u32) -> Value {
    let form = format!("grant_type=client_credentials&scope=github.repo.read&expires_in={life_s}");
    let reply = agent.ask(&form).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[tokio::test]
async fn a_token_for_a_high_secret_lives_300_seconds_and_the_answer_says_why() {
    let (broker, agent) = broker().await;
    let ordinary = ask(&agent, 3600).await;
    assert_eq!((&ordinary["expires_in"], &ordinary["constrained"]), (&3600.into(), &Value::Null));
    classified(&broker, "high").await;
    let at_the_limit = ask(&agent, HIGH_TOKEN_LIFE_MAX_S).await;
    assert_eq!((&at_the_limit["expires_in"], &at_the_limit["constrained"]), (&300.into(), &Value::Null));
    let beyond = ask(&agent, HIGH_TOKEN_LIFE_MAX_S + 1).await;
    assert_eq!(beyond["expires_in"], 300);
    assert!(beyond["constrained"][0].as_str().unwrap().contains("sensitivity `high`"), "{beyond}");
    let minted = broker.entries("token.minted").await;
    let last = &minted.last().unwrap()["event"];
    assert_eq!((&last["outcome"], &last["constrained"]), (&"constrain".into(), &beyond["constrained"]));
    let own = agent.caller.get("/v1/whoami").await.json();
    assert_eq!(own["capabilities"][0]["max_life_s"], 300, "what the agent is told it may have: {own}");
}

#[tokio::test]
async fn an_older_token_opens_a_high_secret_no_longer_than_a_new_one() {
    let (broker, agent) = broker().await;
    let token = ask(&agent, 3600).await["access_token"].as_str().unwrap().to_owned();
    classified(&broker, "high").await;
    broker.clock.advance_s(HIGH_TOKEN_LIFE_MAX_S + u32::try_from(LEEWAY_S).unwrap());
    assert_eq!(agent.secret("github/app", &token).await.status, 200, "at the limit");
    broker.clock.advance_s(1);
    let late = agent.secret("github/app", &token).await;
    refused(&late, 401, "token_too_old");
    assert!(late.header("www-authenticate").contains("invalid_token"), "clients ask for another one");
    assert_eq!(broker.entries("request.denied").await.last().unwrap()["event"]["code"], "token_too_old");
    let fresh = agent.token("github.repo.read").await;
    assert_eq!(agent.secret("github/app", &fresh).await.status, 200);
    classified(&broker, "ordinary").await;
    assert_eq!(
        agent.secret("github/app", &token).await.status,
        200,
        "the twin: nothing else is wrong with it"
    );
}

#[tokio::test]
async fn a_repeated_request_gets_no_longer_token_than_a_new_one() {
    let (broker, agent) = broker().await;
    let form = b"grant_type=client_credentials&scope=github.repo.read&expires_in=3600";
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("idempotency-key", "k")];
    let ask = async || agent.caller.send("POST", "/oauth/token", &headers, form).await;
    assert_eq!(ask().await.json()["expires_in"], 3600);
    assert_eq!(ask().await.status, 200);
    classified(&broker, "high").await;
    refused(&ask().await, 400, "capability_not_granted");
}

#[tokio::test]
async fn a_capability_of_another_owner_cannot_be_declared_on_a_high_secret() {
    let broker = TestBroker::start().await;
    let new = [("keyward-owner", "red"), ("keyward-sensitivity", "high")];
    assert_eq!(put(&broker, "github/app", &new).await.status, 201);
    for text in [long(), owned("blue")] {
        let reply = broker.apply(&text).await;
        refused(&reply, 422, "declarations_invalid");
        let fault = &reply.json()["errors"][0];
        let message = fault["message"].as_str().unwrap();
        assert!(message.contains("sensitivity `high`") && message.contains("`owner`"), "{message}");
        assert_eq!(fault["line"], 2, "where the capability is");
    }
    let applied = broker.apply(&owned("red")).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    let line = &applied.json()["changes"][0];
    assert!(line["remark"].as_str().unwrap().contains("300 s"), "the plan says what it means: {line}");
    let agent = broker.agent("research-bot", &["repo-reader"]).await;
    let token = agent.token("github.repo.read").await;
    assert_eq!(agent.secret("github/app", &token).await.status, 200);
}

#[tokio::test]
async fn a_raised_sensitivity_excludes_capabilities_of_other_owners_at_once() {
    let (mut broker, agent) = broker().await;
    let token = agent.token("github.repo.read").await;
    assert_eq!(put(&broker, "github/app", &[("keyward-owner", "red")]).await.status, 201);
    assert_eq!(
        agent.secret("github/app", &token).await.status,
        200,
        "ordinary ones are anybody's to declare"
    );
    assert_eq!(classified(&broker, "high").await["cut_off"], json!(["github.repo.read"]));
    refused(&agent.secret("github/app", &token).await, 403, "secret_owner_mismatch");
    let form = "grant_type=client_credentials&scope=github.repo.read";
    let denied = agent.ask(form).await;
    refused(&denied, 403, "secret_owner_mismatch");
    let shown = broker.operator().get("/v1/secrets/github/app").await.json();
    assert_eq!((&shown["sensitivity"], &shown["consumers"][0]["cut_off"]), (&"high".into(), &true.into()));
    let codes: Vec<_> =
        broker.entries("request.denied").await.iter().map(|one| one["event"]["code"].clone()).collect();
    assert_eq!(codes, ["secret_owner_mismatch", "secret_owner_mismatch"]);
    broker.restart().await;
    let agent =
        Agent { caller: broker.caller(broker.agents(), Some(&agent.certificate), Some(&agent.key)), ..agent };
    refused(&agent.ask(form).await, 403, "secret_owner_mismatch");
    // The twin: given to the secret's owner, the same capability reaches it.
    assert_eq!(broker.apply(&owned("red")).await.status, 200);
    assert_eq!(agent.secret("github/app", &token).await.status, 200);
}

#[tokio::test]
async fn the_sensitivity_is_shown_and_every_change_of_it_is_on_the_ledger() {
    let (broker, agent) = broker().await;
    let listed = broker.operator().get("/v1/secrets").await.json();
    assert_eq!(listed["items"][0]["sensitivity"], "ordinary");
    assert_eq!(classified(&broker, "ordinary").await["seq"], Value::Null, "it was that before");
    let raised = classified(&broker, "high").await;
    let token = agent.token("github.repo.read").await;
    assert_eq!(agent.secret("github/app", &token).await.status, 200);
    assert_eq!(broker.entries("secret.revealed").await[0]["event"]["sensitivity"], "high");
    let lowered = classified(&broker, "ordinary").await;
    for (kind, answer, from, to) in [
        ("secret.sensitivity-raised", raised, "ordinary", "high"),
        ("secret.sensitivity-lowered", lowered, "high", "ordinary"),
    ] {
        let entries = broker.entries(kind).await;
        let (seq, event) = (&entries[0]["seq"], &entries[0]["event"]);
        assert_eq!((entries.len(), seq), (1, &answer["seq"]), "{kind}");
        assert_eq!((&event["operator"], &event["secret"]), (&"admin".into(), &"github/app".into()));
        assert_eq!((&event["from"], &event["to"]), (&from.into(), &to.into()));
    }
}

#[tokio::test]
async fn a_value_is_stored_with_a_higher_sensitivity_and_never_with_a_lower_one() {
    let broker = TestBroker::start().await;
    let sensitivity = async |name: &str| {
        broker.operator().get(&format!("/v1/secrets/{name}")).await.json()["sensitivity"].clone()
    };
    assert_eq!(put(&broker, "a", &[]).await.status, 201);
    assert_eq!(sensitivity("a").await, "ordinary");
    assert_eq!(put(&broker, "a", &[("keyward-sensitivity", "high")]).await.status, 201);
    assert_eq!(sensitivity("a").await, "high");
    let stored = broker.entries("secret.stored").await;
    assert_eq!(
        (&stored[0]["event"]["sensitivity"], &stored[1]["event"]["sensitivity"]),
        (&Value::Null, &"high".into())
    );
    refused(
        &put(&broker, "a", &[("keyward-sensitivity", "ordinary")]).await,
        409,
        "sensitivity_cannot_be_lowered",
    );
    assert_eq!(put(&broker, "a", &[]).await.json()["version"], 3, "unsaid, it stays");
    assert_eq!(sensitivity("a").await, "high");
    refused(&put(&broker, "a", &[("keyward-sensitivity", "secret")]).await, 400, "sensitivity_unknown");
    let body = json!({ "sensitivity": "secret" });
    refused(&broker.operator().post_json("/v1/secret-sensitivity/a", &body).await, 400, "json_invalid");
    refused(&classify(&broker, "high").await, 404, "secret_unknown");
}

#[tokio::test]
async fn lower_sensitivity_of_a_delivered_secret_is_confirmed() {
    // Given a secret of the sensitivity `high` that a capability delivers
    let (broker, _agent) = broker().await;
    classified(&broker, "high").await;
    // When it gets a lower one without a confirmation, then the refusal names the capability
    let body = json!({ "sensitivity": "ordinary" });
    let reply = broker.operator().post_json("/v1/secret-sensitivity/github/app", &body).await;
    refused(&reply, 409, "widening_not_confirmed");
    assert!(reply.text().contains("capability `github.repo.read`"), "{}", reply.text());
    let listed = broker.operator().get("/v1/secrets/github/app").await.json();
    assert_eq!(listed["sensitivity"], "high");
    // The twins: with it, and a secret that no capability delivers
    classified(&broker, "ordinary").await;
    assert_eq!(put(&broker, "b", &[("keyward-sensitivity", "high")]).await.status, 201);
    let reply = broker.operator().post_json("/v1/secret-sensitivity/b", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn another_owner_of_a_high_secret_is_confirmed_if_it_gives_access() {
    // Given a secret of high sensitivity without an owner, and a capability of red that does not deliver it
    let (broker, agent) = broker().await;
    assert_eq!(broker.apply(&owned("red")).await.status, 200);
    assert_eq!(classified(&broker, "high").await["cut_off"], json!(["github.repo.read"]));
    // When the secret is stored for red, then it has to be confirmed
    let to_red = [("keyward-owner", "red")];
    let unconfirmed = put(&broker, "github/app", &to_red).await;
    refused(&unconfirmed, 409, "widening_not_confirmed");
    assert!(unconfirmed.text().contains("github.repo.read"), "{}", unconfirmed.text());
    refused(
        &put(&broker, "github/app", &[to_red[0], ("keyward-widen", "1")]).await,
        409,
        "widening_not_confirmed",
    );
    // The twin: for blue, which has no capability, it needs no confirmation
    assert_eq!(put(&broker, "github/app", &[("keyward-owner", "blue")]).await.status, 201);
    // And confirmed it is stored, and the capability delivers it; a further version needs no confirmation
    assert_eq!(put(&broker, "github/app", &[to_red[0], ("keyward-widen", "true")]).await.status, 201);
    let token = agent.token("github.repo.read").await;
    assert_eq!(agent.secret("github/app", &token).await.status, 200);
    assert_eq!(put(&broker, "github/app", &to_red).await.status, 201);
}

/// The declarations with a policy whose condition is `test`.
fn testing(test: &str) -> String {
    format!(
        "{}[[policy]]\nname = \"p\"\nrule = '''\nforbid (principal, action, resource) when {{ {test} }};\n'''\n",
        long()
    )
}

#[tokio::test]
async fn higher_sensitivity_that_a_policy_spares_needs_a_confirmation() {
    // Given a policy that denies what delivers ordinary secrets
    let (broker, _agent) = broker().await;
    assert_eq!(broker.apply(&testing("resource.sensitivity == \"ordinary\"")).await.status, 200);
    // When the secret gets the sensitivity `high`, by either command, then the change has to be confirmed
    let refusal = classify(&broker, "high").await;
    refused(&refusal, 409, "widening_not_confirmed");
    assert!(refusal.text().contains("capability `github.repo.read`"), "{}", refusal.text());
    let high = ("keyward-sensitivity", "high");
    refused(&put(&broker, "github/app", &[high]).await, 409, "widening_not_confirmed");
    let body = json!({ "sensitivity": "high", "widen": true });
    let done = broker.operator().post_json("/v1/secret-sensitivity/github/app", &body).await;
    assert_eq!(done.status, 200, "{}", done.text());
    // The twin: a policy that restricts sensitive secrets more
    classified(&broker, "ordinary").await;
    assert_eq!(broker.apply(&testing("resource.sensitivity == \"high\"")).await.status, 200);
    classified(&broker, "high").await;
}

#[test]
fn another_owner_of_a_high_secret_names_the_agents_that_lose_it() {
    // Given a secret of the sensitivity `high`, and an agent that can read it
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.good(&["secret", "classify", "github/app", "high"], b"");
    // When the secret gets another owner than the capability, then the command names the agent
    let stored = process.run_as("operator", &["secret", "put", "github/app", "--owner", "red"], b"value");
    let said = String::from_utf8_lossy(&stored.stderr).into_owned();
    assert!(stored.status.success(), "{said}");
    assert!(
        said.contains("`github.repo.read`") && said.contains("agents that have the capability: a"),
        "{said}"
    );
}
