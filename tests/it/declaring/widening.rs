//! What a plan makes newly reachable, and that an application has to confirm it.

use keyward::base::limits::WIDENINGS_LISTED_MAX;
use serde_json::{Value, json};

use crate::operators::{refused, teams};
use crate::support::broker::{Caller, DECLARATIONS, Reply, TestBroker};

fn body(text: &str, prune: bool) -> Value {
    json!({ "files": [{ "name": "a.toml", "text": text }], "prune": prune })
}

/// What becomes newly reachable, as agent, capability, environment, cause and what changes.
async fn widening(by: &Caller, text: &str, prune: bool) -> Vec<String> {
    let reply = by.post_json("/v1/plan", &body(text, prune)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let planned = reply.json();
    let items = planned["widening"]["items"].as_array().cloned().unwrap_or_default();
    let line = |one: &Value| {
        let text = |field: &str| one[field].as_str().unwrap_or("-").to_owned();
        ["agent", "capability", "environment", "cause", "what"].map(text).join(" ")
    };
    items.iter().map(line).collect()
}

async fn applied(by: &Caller, text: &str, prune: bool, widen: bool) -> Reply {
    let mut body = body(text, prune);
    body["widen"] = json!(widen);
    by.post_json("/v1/apply", &body).await
}

const AGENT: &str = "[[agent]]\nname = \"a\"\nroles = [\"repo-reader\"]\n";

fn policy(rule: &str) -> String {
    format!("[[policy]]\nname = \"p\"\nrule = '{rule}'\n")
}

#[tokio::test]
async fn new_grants_to_existing_agents_need_a_confirmation() {
    // Given an agent
    let broker = TestBroker::declared().await;
    let by = broker.operator();
    assert_eq!(applied(&by, AGENT, false, false).await.status, 200, "a new agent needs none");
    // When it gets a role, then the plan says which capabilities become reachable
    let wider = AGENT.replace("[\"repo-reader\"]", "[\"publisher\", \"repo-reader\"]");
    let expected = ["a reports.publish - granted -", "a reports.read - granted -"];
    assert_eq!(widening(&by, &wider, false).await, expected);
    // And only a confirmed application makes the change
    let reply = applied(&by, &wider, false, false).await;
    refused(&reply, 409, "widening_not_confirmed");
    assert!(reply.text().contains("agent `a`, capability `reports.publish`: granted"), "{}", reply.text());
    assert_eq!(by.get("/v1/agents/a").await.json()["roles"], json!(["repo-reader"]));
    assert_eq!(applied(&by, &wider, false, true).await.status, 200);
    assert_eq!(by.get("/v1/agents/a").await.json()["roles"], json!(["publisher", "repo-reader"]));
    // When a role gets a capability, or a capability returns to a role, then its agents are listed
    let role =
        DECLARATIONS.replace("[\"reports.publish\", ", "[\"github.repo.write\", \"reports.publish\", ");
    let capability = "[[capability]]\nname = \"github.repo.write\"\naccess = \"write\"\ndelivery = \"mint\"\n\
                      audience = \"https://github.example.com\"\nmax_life_s = 60\n";
    let wider = format!("{role}{capability}");
    assert_eq!(widening(&by, &wider, false).await, ["a github.repo.write - granted -"]);
    // The twin: less access needs no confirmation
    assert!(widening(&by, AGENT, false).await.is_empty());
    assert_eq!(applied(&by, AGENT, false, false).await.status, 200);
}

#[tokio::test]
async fn policies_that_restrict_less_need_a_confirmation() {
    let broker = TestBroker::declared().await;
    let by = broker.operator();
    const WRITES: &str = "forbid (principal in Keyward::Role::\"publisher\", action, resource) when { resource.access == \"write\" };";
    let agents = "[[agent]]\nname = \"a\"\nroles = [\"publisher\"]\n[[agent]]\nname = \"b\"\nroles = [\"repo-reader\"]\n";
    let limit = |life: &str| policy(&format!("@max_ttl(\"{life}\") {WRITES}"));
    assert_eq!(
        applied(&by, &format!("{agents}{}", policy(WRITES)), false, false).await.status,
        200,
        "new ones"
    );
    // Rules of the same conditions are compared
    let changed = ["a reports.publish - policy-changed p", "a reports.read - policy-changed p"];
    assert_eq!(widening(&by, &limit("5m"), false).await, changed);
    assert_eq!(applied(&by, &limit("5m"), false, true).await.status, 200);
    assert!(widening(&by, &limit("4m"), false).await.is_empty(), "stricter");
    assert_eq!(widening(&by, &limit("6m"), false).await, changed);
    assert!(widening(&by, &policy(WRITES), false).await.is_empty(), "a denial is stricter than a limit");
    // Others are not
    let other = policy("forbid (principal, action, resource);");
    assert_eq!(widening(&by, &other, false).await, changed);
    refused(&applied(&by, &other, false, false).await, 409, "widening_not_confirmed");
    // A removal counts
    let without = format!("{DECLARATIONS}{agents}");
    let removed = widening(&by, &without, true).await;
    assert_eq!(removed, ["a reports.publish - policy-removed p", "a reports.read - policy-removed p"]);
    refused(&applied(&by, &without, true, false).await, 409, "widening_not_confirmed");
}

#[tokio::test]
async fn facts_that_policies_test_and_longer_lives_need_a_confirmation() {
    let broker = TestBroker::declared().await;
    let by = broker.operator();
    let agent = "[[agent]]\nname = \"a\"\nroles = [\"publisher\"]\nperson = \"Ann Li\"\n";
    assert_eq!(applied(&by, agent, false, false).await.status, 200);
    let longer = DECLARATIONS.replace("max_life_s = 120", "max_life_s = 121");
    assert_eq!(widening(&by, &longer, false).await, ["- reports.publish - longer-life -"]);
    let placed = format!(
        "[[environment]]\nname = \"staging\"\n{}",
        DECLARATIONS.replace("max_life_s = 120", "max_life_s = 120\nenvironment = \"staging\"")
    );
    assert!(widening(&by, &placed, false).await.is_empty(), "no policy tests it");
    let rule = policy("forbid (principal in Keyward::Role::\"repo-reader\", action, resource);");
    assert_eq!(applied(&by, &rule, false, false).await.status, 200);
    let moved = ["- reports.publish staging facts-changed environment of the capability"];
    assert_eq!(widening(&by, &placed, false).await, moved);
    let other_person = widening(&by, &agent.replace("Ann Li", "Bo Li"), false).await;
    assert_eq!(other_person.len(), 2, "{other_person:?}");
    assert!(
        other_person.iter().all(|one| one.ends_with("facts-changed person of the agent")),
        "{other_person:?}"
    );
    // A role that a policy names and that is lost can end a restriction
    let both = "[[agent]]\nname = \"b\"\nroles = [\"publisher\", \"repo-reader\"]\n";
    assert_eq!(applied(&by, both, false, false).await.status, 200);
    let lost = widening(&by, &both.replace("\"publisher\", \"repo-reader\"", "\"publisher\""), false).await;
    assert!(!lost.is_empty(), "{lost:?}");
    assert!(
        lost.iter().all(|one| one.ends_with("facts-changed role `repo-reader` of the agent")),
        "{lost:?}"
    );
}

#[tokio::test]
async fn a_role_that_a_policy_spares_needs_a_confirmation() {
    let broker = TestBroker::declared().await;
    let by = broker.operator();
    let spares =
        policy("forbid (principal, action, resource) unless { principal in Keyward::Role::\"trusted\" };");
    let trusted = "[[role]]\nname = \"trusted\"\ncapabilities = []\n";
    let agent = "[[agent]]\nname = \"a\"\nroles = [\"publisher\"]\n";
    assert_eq!(applied(&by, &format!("{spares}{trusted}{agent}"), false, false).await.status, 200);
    // When the agent gets the role, which holds no capability
    let gains = agent.replace("\"publisher\"]", "\"publisher\", \"trusted\"]");
    let fact = "facts-changed role `trusted` of the agent";
    let expected = [format!("a reports.publish - {fact}"), format!("a reports.read - {fact}")];
    assert_eq!(widening(&by, &gains, false).await, expected);
    refused(&applied(&by, &gains, false, false).await, 409, "widening_not_confirmed");
}

#[tokio::test]
async fn logins_access_and_owners_need_a_confirmation_without_policies() {
    let broker = TestBroker::declared().await;
    let by = broker.operator();
    // A resource server reads the access of a token, and a secret can be for its owner alone
    let access = DECLARATIONS.replacen("access = \"write\"", "access = \"read\"", 1);
    assert_eq!(
        widening(&by, &access, false).await,
        ["- reports.publish - facts-changed access of the capability"]
    );
    let owner = DECLARATIONS.replacen("access = \"write\"", "access = \"write\"\nowner = \"red\"", 1);
    assert_eq!(
        widening(&by, &owner, false).await,
        ["- reports.publish - facts-changed owner of the capability"]
    );
    // Another upstream gives other rights
    let stored = by.put("/v1/secrets/db/admin", "application/octet-stream", b"value").await;
    assert_eq!(stored.status, 201, "{}", stored.text());
    let lease = "[[capability]]\nname = \"db.read\"\naccess = \"read\"\ndelivery = \"lease\"\nmax_life_s = 3600\n\
                 [[lease]]\ncapability = \"db.read\"\nper_agent = 2\n[lease.upstream]\ndriver = \"postgresql-dynamic\"\n\
                 host = \"127.0.0.1\"\ntls = \"off\"\ndatabase = \"app\"\nmember_of = [\"reader\"]\n\
                 admin_role = \"keyward_admin\"\nadmin_secret = \"db/admin\"\n";
    assert_eq!(applied(&by, lease, false, false).await.status, 200);
    let owners = lease.replace("\"reader\"", "\"owner\"");
    assert_eq!(widening(&by, &owners, false).await, ["- db.read - delivered-otherwise -"]);
    // A resource server with another audience introspects its tokens
    let server = "[[resource_server]]\nname = \"s\"\naudience = \"https://other.example.com\"\n";
    assert_eq!(applied(&by, server, false, false).await.status, 200);
    let moved = server.replace("other", "reports");
    assert_eq!(widening(&by, &moved, false).await.len(), 2);
}

#[tokio::test]
async fn a_group_that_an_escalation_adds_needs_a_confirmation() {
    let broker = TestBroker::declared().await;
    let by = broker.operator();
    let groups = "[[approver_group]]\nname = \"leads\"\noperators = [\"ann\"]\nescalate_after = \"30m\"\nescalate_to = \"directors\"\n\
                  [[approver_group]]\nname = \"directors\"\noperators = [\"bob\"]\n";
    let rule = policy(
        "@decision(\"require_approval\") @approvers(\"leads\") forbid (principal, action == Keyward::Action::\"token\", resource);",
    );
    let agent = "[[agent]]\nname = \"a\"\nroles = [\"publisher\"]\n";
    assert_eq!(applied(&by, &format!("{groups}{rule}{agent}"), false, false).await.status, 200);
    assert!(widening(&by, groups, false).await.is_empty(), "the twin");
    let larger = groups.replace("[\"bob\"]", "[\"bob\", \"eve\"]");
    let expected = ["a reports.publish - policy-changed p", "a reports.read - policy-changed p"];
    assert_eq!(widening(&by, &larger, false).await, expected);
}

#[tokio::test]
async fn a_team_sees_what_its_own_new_capabilities_give() {
    let (_broker, red, _) = teams().await;
    let text = "[[capability]]\nname = \"red.write\"\naccess = \"write\"\ndelivery = \"mint\"\n\
                audience = \"https://red.example.com\"\nmax_life_s = 60\n\
                [[role]]\nname = \"red-reader\"\ncapabilities = [\"red.read\", \"red.write\"]\n";
    assert_eq!(widening(&red, text, false).await, ["red-bot red.write - granted -"]);
}

#[tokio::test]
async fn a_plan_lists_a_bounded_number_and_counts_the_rest() {
    // Given agents and capabilities of which the product is more than a plan lists
    const CAPABILITIES: usize = 26;
    let agents = WIDENINGS_LISTED_MAX / CAPABILITIES + 1;
    let broker = TestBroker::declared().await;
    let by = broker.operator();
    let names = || (0..CAPABILITIES).map(|number| format!("c{number:02}.read"));
    let declared: String = names()
        .map(|name| format!("[[capability]]\nname = \"{name}\"\naccess = \"read\"\ndelivery = \"mint\"\naudience = \"https://c.example.com\"\nmax_life_s = 60\n"))
        .collect();
    let agents_text: String = (0..agents)
        .map(|number| format!("[[agent]]\nname = \"a{number:02}\"\nroles = [\"all\"]\n"))
        .collect();
    let empty = format!("{declared}{agents_text}[[role]]\nname = \"all\"\ncapabilities = []\n");
    assert_eq!(applied(&by, &empty, false, false).await.status, 200);
    // When the role of the agents gets them all, then the first ones are listed, and the others are counted
    let role = format!("[[role]]\nname = \"all\"\ncapabilities = {:?}\n", names().collect::<Vec<_>>());
    let planned = by.post_json("/v1/plan", &body(&role, false)).await.json();
    let widening = &planned["widening"];
    let items = widening["items"].as_array().unwrap();
    assert_eq!(items.len(), WIDENINGS_LISTED_MAX);
    assert_eq!(widening["further"], json!(agents * CAPABILITIES - WIDENINGS_LISTED_MAX), "{widening}");
    assert_eq!((&items[0]["agent"], &items[0]["capability"]), (&json!("a00"), &json!("c00.read")));
}

#[tokio::test]
async fn a_plan_id_alone_confirms_nothing() {
    let broker = TestBroker::declared().await;
    let by = broker.operator();
    assert_eq!(applied(&by, AGENT, false, false).await.status, 200);
    let wider = AGENT.replace("[\"repo-reader\"]", "[\"publisher\", \"repo-reader\"]");
    let planned = by.post_json("/v1/plan", &body(&wider, false)).await.json();
    let named = |widen: bool| {
        let mut body = body(&wider, false);
        (body["plan"], body["widen"]) = (planned["plan"].clone(), json!(widen));
        body
    };
    // The id alone does not confirm it
    refused(&by.post_json("/v1/apply", &named(false)).await, 409, "widening_not_confirmed");
    // The twin: confirmed, it is made
    assert_eq!(by.post_json("/v1/apply", &named(true)).await.status, 200);
}

#[tokio::test]
async fn a_team_sees_the_number_and_not_the_names_of_foreign_agents() {
    let (broker, red, _) = teams().await;
    let role = "[[role]]\nname = \"red-empty\"\ncapabilities = []\n";
    assert_eq!(applied(&red, role, false, false).await.status, 200);
    broker.agent("foreign", &["red-empty"]).await;
    let filled = role.replace("[]", "[\"red.call\"]");
    let reply = red.post_json("/v1/plan", &body(&filled, false)).await;
    let planned = reply.json();
    assert_eq!(
        (&planned["widening"]["items"], &planned["widening"]["others"]),
        (&json!([]), &json!(1)),
        "{planned}"
    );
    assert!(!reply.text().contains("foreign"), "{}", reply.text());
}

#[tokio::test]
async fn policy_that_restricts_less_counts_without_a_present_agent() {
    // Given a policy about a role, which the only agent loses
    let broker = TestBroker::declared().await;
    let by = broker.operator();
    let rule = policy("forbid (principal in Keyward::Role::\"publisher\", action, resource);");
    let agent = "[[agent]]\nname = \"a\"\nroles = [\"publisher\"]\n";
    assert_eq!(applied(&by, &format!("{rule}{agent}"), false, false).await.status, 200);
    let without = agent.replace("\"publisher\"", "");
    assert_eq!(applied(&by, &without, false, false).await.status, 200);
    // When the policy restricts less, then it is confirmed, because the agent can get the role again
    let looser = rule.replace("forbid", "@max_ttl(\"1h\") forbid");
    assert_eq!(widening(&by, &looser, false).await, ["- - - policy-changed p"]);
    let reply = applied(&by, &looser, false, false).await;
    refused(&reply, 409, "widening_not_confirmed");
    assert!(reply.text().contains("all agents, all capabilities: policy-changed p"), "{}", reply.text());
    assert_eq!(widening(&by, DECLARATIONS, true).await, ["- - - policy-removed p"]);
}

#[tokio::test]
async fn another_upstream_of_a_rotation_needs_a_confirmation() {
    // Given the rotation of an existing secret
    let broker = TestBroker::declared().await;
    let by = broker.operator();
    let rotation = "[[rotation]]\nsecret = \"github/app\"\nevery = \"30d\"\ngrace = \"1h\"\n\
                    upstream = { driver = \"generate\", length = 20 }\n";
    assert_eq!(applied(&by, rotation, false, false).await.status, 200, "a new one needs none");
    // When its schedule or its grace changes, then nothing becomes reachable
    let later = rotation.replace("30d", "31d").replace("1h", "2h");
    assert!(widening(&by, &later, false).await.is_empty());
    assert_eq!(applied(&by, &later, false, false).await.status, 200);
    // When its upstream changes, then the application needs a confirmation
    let other = later.replace("length = 20", "length = 21");
    assert_eq!(widening(&by, &other, false).await, ["- - - rotation-redirected github/app"]);
    let reply = applied(&by, &other, false, false).await;
    refused(&reply, 409, "widening_not_confirmed");
    assert!(reply.text().contains("secret `github/app`"), "{}", reply.text());
    assert_eq!(applied(&by, &other, false, true).await.status, 200);
}

#[tokio::test]
async fn removed_agent_that_comes_back_needs_a_confirmation() {
    // Given an agent that was removed
    let broker = TestBroker::declared().await;
    let by = broker.operator();
    assert_eq!(applied(&by, AGENT, false, false).await.status, 200);
    assert_eq!(applied(&by, DECLARATIONS, true, true).await.status, 200);
    assert_eq!(by.get("/v1/agents/a").await.status, 404);
    // When it is declared again with other roles, then its grants are listed, and have to be confirmed
    let other = AGENT.replace("repo-reader", "publisher");
    let expected = ["a reports.publish - granted -", "a reports.read - granted -"];
    assert_eq!(widening(&by, &other, false).await, expected);
    refused(&applied(&by, &other, false, false).await, 409, "widening_not_confirmed");
    assert_eq!(applied(&by, &other, false, true).await.status, 200);
    // The twin: an agent of a name that none had
    let new = AGENT.replace("\"a\"", "\"b\"");
    assert!(widening(&by, &new, false).await.is_empty());
}

#[tokio::test]
async fn new_rotation_with_a_sensitive_admin_secret_needs_a_confirmation() {
    // Given a secret of the sensitivity `high`
    let broker = TestBroker::declared().await;
    let by = broker.operator();
    let headers = [("content-type", "application/octet-stream"), ("keyward-sensitivity", "high")];
    assert_eq!(by.send("PUT", "/v1/secrets/db/admin", &headers, b"value").await.status, 201);
    // When a new rotation is administered with it, then the application needs a confirmation
    let rotation = "[[rotation]]\nsecret = \"github/app\"\nevery = \"30d\"\n[rotation.upstream]\ndriver = \"postgresql\"\n\
                    host = \"127.0.0.1\"\nport = 5432\ndatabase = \"db\"\ntls = \"off\"\nrole = \"app\"\nadmin_role = \"admin\"\n\
                    admin_secret = \"db/admin\"\n";
    assert_eq!(widening(&by, rotation, false).await, ["- - - secret-sent db/admin"]);
    refused(&applied(&by, rotation, false, false).await, 409, "widening_not_confirmed");
    // The twin: an ordinary secret
    let ordinary = json!({ "sensitivity": "ordinary", "widen": true });
    assert_eq!(by.post_json("/v1/secret-sensitivity/db/admin", &ordinary).await.status, 200);
    assert!(widening(&by, rotation, false).await.is_empty());
}
