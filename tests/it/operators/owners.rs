//! Administration that ends at an owner: a team sees and changes its own things and no others.

use serde_json::{Value, json};

use super::{join, post, refused, standing};
use crate::support::broker::{Caller, DECLARATIONS, Reply, TestBroker};

/// What team `red` has declared of its own.
pub(super) const RED: &str = r#"
[[capability]]
name = "red.read"
access = "read"
delivery = "reveal"
secret = "red/app"
max_life_s = 300

[[capability]]
name = "red.call"
access = "write"
delivery = "mint"
audience = "https://red.example.com"
max_life_s = 120

[[role]]
name = "red-reader"
capabilities = ["red.read"]

[[agent]]
name = "red-bot"
roles = ["red-reader"]

[[resource_server]]
name = "red-service"
audience = "https://red.example.com"
"#;

pub(super) async fn apply(by: &Caller, text: &str) -> Reply {
    by.post_json("/v1/apply", &json!({ "widen": true, "files": [{ "name": "a.toml", "text": text }] })).await
}

pub(super) async fn prune(by: &Caller, text: &str) -> Reply {
    let body = json!({ "files": [{ "name": "a.toml", "text": text }], "prune": true, "widen": true });
    by.post_json("/v1/apply", &body).await
}

async fn put(by: &Caller, secret: &str, owner: Option<&str>) -> Reply {
    let mut headers = vec![("content-type", "application/octet-stream")];
    headers.extend(owner.map(|owner| ("keyward-owner", owner)));
    by.send("PUT", &format!("/v1/secrets/{secret}"), &headers, b"value").await
}

fn names(listing: &Reply) -> Vec<String> {
    assert_eq!(listing.status, 200, "{}", listing.text());
    let items = listing.json()["items"].as_array().unwrap().clone();
    items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

/// Unowned things, and those of the teams `red` and `blue`, each with an admin of its own.
pub(crate) async fn teams() -> (TestBroker, Caller, Caller) {
    let broker = TestBroker::declared().await;
    let red = join(&broker, "rhea", &standing("admin", Some("red"))).await.caller;
    let blue = join(&broker, "bob", &standing("admin", Some("blue"))).await.caller;
    for (team, by) in [("red", &red), ("blue", &blue)] {
        assert_eq!(put(by, &format!("{team}/app"), None).await.status, 201);
        let applied = apply(by, &RED.replace("red", team)).await;
        assert_eq!(applied.status, 200, "{}", applied.text());
    }
    (broker, red, blue)
}

#[tokio::test]
async fn a_team_sees_its_own_things_and_who_is_bound_to_nobody_sees_all() {
    let (broker, red, _) = teams().await;
    for (path, own) in [
        ("/v1/agents", vec!["red-bot", "red-service"]),
        ("/v1/capabilities", vec!["red.call", "red.read"]),
        ("/v1/roles", vec!["red-reader"]),
        ("/v1/secrets", vec!["red/app"]),
    ] {
        let listed = red.get(path).await;
        assert_eq!(names(&listed), own, "{path}");
        assert!(listed.json()["items"].as_array().unwrap().iter().all(|item| item["owner"] == "red"));
        let all = names(&broker.operator().get(path).await);
        assert!(all.len() > own.len() && all.iter().any(|name| name.starts_with("blue")), "{path}: {all:?}");
    }
    assert_eq!(red.get("/v1/agents/red-bot").await.json()["owner"], "red");
    refused(&red.get("/v1/agents/blue-bot").await, 404, "agent_unknown");
    refused(&red.get("/v1/operators").await, 403, "operator_scope_insufficient");
    assert_eq!(red.get("/v1/whoami").await.json()["owner"], "red");
}

#[tokio::test]
async fn a_refusal_names_the_scope_and_not_whether_the_object_exists() {
    let (broker, red, _) = teams().await;
    let absent_lease = json!({ "capability": "absent.read" });
    for (path, absent) in [
        ("/v1/agents/blue-bot", "/v1/agents/absent"),
        ("/v1/secrets/blue/app", "/v1/secrets/blue/absent"),
        ("/v1/rotations/blue/app", "/v1/rotations/blue/absent"),
    ] {
        // Given an object of another owner, and a name of nothing
        let (hidden, absent) = (red.get(path).await.json(), red.get(absent).await.json());
        // Then the operator with an owner is told the same about both, and why it may not see the object
        assert_eq!((&hidden["detail"], &hidden["fix"]), (&absent["detail"], &absent["fix"]), "{path}");
        let said = hidden["detail"].as_str().unwrap();
        assert!(said.starts_with("among the objects that you may see (owner `red`), "), "{said}");
        assert!(hidden["fix"].as_str().unwrap().contains("scope `all`"), "{hidden}");
    }
    for path in ["/v1/agents/blue-bot/revoke", "/v1/agents/absent/revoke"] {
        let detail = post(&red, path).await.json()["detail"].clone();
        assert!(detail.as_str().unwrap().contains("owner `red`"), "{path}: {detail}");
    }
    let refused = red.post_json("/v1/lease-endings", &absent_lease).await.json();
    assert!(refused["detail"].as_str().unwrap().contains("owner `red`"), "{refused}");
    // And an operator without an owner is told the plain reason
    let plain = broker.operator().get("/v1/agents/absent").await.json();
    assert_eq!(plain["detail"], "there is no agent of this name");
}

#[tokio::test]
async fn a_team_changes_nothing_of_another_teams_or_of_nobodys() {
    let (broker, red, blue) = teams().await;
    let bot = broker.agent("blue-bot", &[]).await;
    let serial = broker.operator().get("/v1/agents/blue-bot").await.json();
    let instance = &serial["instances"][0];
    let (id, serial) = (instance["id"].as_str().unwrap(), instance["serial"].as_str().unwrap());
    for path in [
        "/v1/agents/blue-bot/revoke".to_owned(),
        "/v1/agents/blue-bot/suspend".to_owned(),
        "/v1/agents/blue-bot/resume".to_owned(),
        format!("/v1/instances/{id}/revoke"),
        format!("/v1/certificates/{serial}/revoke"),
    ] {
        refused(&post(&red, &path).await, 404, "subject_unknown");
    }
    refused(
        &post(&red, &format!("/v1/tokens/tok_{}/revoke", "0".repeat(26))).await,
        403,
        "operator_scope_insufficient",
    );
    let invite = async |by: &Caller, agent: &str, roles: Value| {
        by.post_json(&format!("/v1/agents/{agent}/invitations"), &json!({ "roles": roles })).await
    };
    refused(&invite(&red, "blue-bot", json!([])).await, 404, "agent_unknown");
    refused(&invite(&red, "new-bot", json!(["blue-reader"])).await, 404, "role_unknown");
    refused(&invite(&red, "new-bot", json!(["publisher"])).await, 404, "role_unknown");
    refused(&put(&red, "blue/app", None).await, 409, "name_reserved_by_owner");
    refused(&put(&red, "github/app", None).await, 409, "name_reserved_by_owner");
    refused(&put(&red, "red/other", Some("blue")).await, 403, "operator_scope_insufficient");
    assert_eq!(bot.caller.get("/v1/whoami").await.status, 200, "nothing happened to it");
    // The twins: each of these with its own things.
    assert_eq!(invite(&blue, "blue-bot", json!([])).await.status, 201);
    assert_eq!(invite(&red, "new-bot", json!(["red-reader"])).await.status, 201);
    assert_eq!(red.get("/v1/agents/new-bot").await.json()["owner"], "red");
    assert_eq!(put(&red, "red/app", None).await.json()["version"], 2);
    assert_eq!(post(&blue, &format!("/v1/instances/{id}/revoke")).await.status, 200);
    assert!(bot.caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err());
}

#[tokio::test]
async fn a_team_declares_nothing_that_reaches_beyond_its_own() {
    let (broker, red, _) = teams().await;
    let mint = |name: &str, audience: &str| {
        format!(
            "[[capability]]\nname = \"{name}\"\naccess = \"read\"\ndelivery = \"mint\"\naudience = \"{audience}\"\nmax_life_s = 60\n"
        )
    };
    for (says, text) in [
        ("another owner has this name", mint("blue.read", "https://new.example.com")),
        ("another owner has this name", mint("reports.read", "https://new.example.com")),
        ("another owner has this name", "[[role]]\nname = \"blue-reader\"\ncapabilities = []\n".to_owned()),
        ("another owner has this name", "[[agent]]\nname = \"blue-bot\"\nroles = []\n".to_owned()),
        (
            "another owner has this name",
            "[[resource_server]]\nname = \"blue-service\"\naudience = \"https://new\"\n".to_owned(),
        ),
        ("not declared", "[[role]]\nname = \"r\"\ncapabilities = [\"blue.read\"]\n".to_owned()),
        ("not declared", "[[role]]\nname = \"r\"\ncapabilities = [\"github.repo.read\"]\n".to_owned()),
        ("not declared", "[[agent]]\nname = \"red-bot\"\nroles = [\"blue-reader\"]\n".to_owned()),
        ("there is no secret", RED.replace("red/app", "blue/app")),
        ("there is no secret", RED.replace("red/app", "github/app")),
        ("of another owner", mint("red.more", "https://blue.example.com")),
        ("of another owner", mint("red.more", "https://reports.example.com")),
        (
            "of another owner",
            "[[resource_server]]\nname = \"red-spy\"\naudience = \"https://blue.example.com\"\n".to_owned(),
        ),
        ("bound to", "[[agent]]\nname = \"x\"\nroles = []\nowner = \"blue\"\n".to_owned()),
    ] {
        for path in ["/v1/plan", "/v1/apply"] {
            let body = json!({ "files": [{ "name": "a.toml", "text": text }] });
            let reply = red.post_json(path, &body).await;
            refused(&reply, 422, "declarations_invalid");
            let message = reply.json()["errors"][0]["message"].as_str().unwrap().to_owned();
            assert!(message.contains(says), "{text}: {message}");
        }
    }
    assert_eq!(apply(&red, RED).await.json()["applied"], false, "its own are as they were");
    assert_eq!(names(&broker.operator().get("/v1/agents").await).len(), 4);
}

#[tokio::test]
async fn plan_of_a_bound_auditor_does_not_say_which_names_others_have() {
    // Given an auditor of team red
    let (broker, red, _) = teams().await;
    let auditor = join(&broker, "rita", &standing("auditor", Some("red"))).await.caller;
    let plan = async |by: &Caller, text: &str| {
        by.post_json("/v1/plan", &json!({ "files": [{ "name": "a.toml", "text": text }] })).await
    };
    let capability = |name: &str, delivery: &str| {
        format!("[[capability]]\nname = \"{name}\"\naccess = \"write\"\nmax_life_s = 120\n{delivery}\n")
    };
    let mint = |audience: &str| format!("delivery = \"mint\"\naudience = \"https://{audience}.example.com\"");
    let rotation = |secret: &str| {
        format!(
            "[[rotation]]\nsecret = \"{secret}\"\ngrace = \"1h\"\nupstream = {{ driver = \"generate\" }}\n"
        )
    };
    let lease = |name: &str| {
        format!(
            "[[lease]]\ncapability = \"{name}\"\n[lease.upstream]\ndriver = \"postgresql\"\naddress = \"db:5432\"\n\
             database = \"db\"\nadmin_secret = \"red/app\"\nadmin_user = \"admin\"\nroles = [\"reader\"]\n"
        )
    };
    // When it plans objects with names that another owner has, and with free names
    let leased = |name: &str| format!("{}{}", capability(name, "delivery = \"lease\""), lease(name));
    let texts = [
        capability("TEAM.read", &mint("red")),
        capability("red.call", &mint("TEAM")),
        capability("TEAM.read", "delivery = \"lease\""),
        leased("TEAM.read"),
        lease("TEAM.read"),
        "[[role]]\nname = \"TEAM-reader\"\ncapabilities = []\n".to_owned(),
        "[[role]]\nname = \"TEAM-reader\"\ncapabilities = [\"red.call\"]\n".to_owned(),
        "[[agent]]\nname = \"TEAM-bot\"\nroles = []\n".to_owned(),
        "[[resource_server]]\nname = \"TEAM-service\"\naudience = \"https://TEAM.example.com\"\n".to_owned(),
        rotation("TEAM/app"),
    ];
    for text in texts {
        // Then the answers are the same, apart from the name
        let (taken, free) = (text.replace("TEAM", "blue"), text.replace("TEAM", "free"));
        let (taken, free) = (plan(&auditor, &taken).await, plan(&auditor, &free).await);
        let said = |reply: &Reply| {
            let answer = reply.json();
            (
                reply.status,
                answer["changes"].to_string(),
                answer["losses"].to_string() + &answer["widening"].to_string(),
                answer["errors"].to_string(),
            )
        };
        let (status, changes, losses, errors) = said(&taken);
        let of_free = said(&free);
        let like_free = |text: String| text.replace("blue", "free");
        assert_eq!((status, like_free(changes), like_free(losses), like_free(errors)), of_free, "{text}");
    }
    // And the twins: it plans its own objects, and an operator that may apply is told which names are taken
    let own = plan(&auditor, &RED.replace("max_life_s = 120", "max_life_s = 60")).await;
    assert_eq!((own.status, &own.json()["changes"][0]["name"]), (200, &"red.call".into()), "{}", own.text());
    let bot = "[[agent]]\nname = \"blue-bot\"\nroles = []\n";
    assert_eq!(plan(&red, bot).await.status, 422);
    // And both get the same id of a plan that can be applied
    let free = bot.replace("blue", "free");
    let ids = [plan(&auditor, &free).await.json(), plan(&red, &free).await.json()];
    assert_eq!(ids[0]["plan"], ids[1]["plan"], "{ids:?}");
}

#[tokio::test]
async fn pruning_for_a_team_takes_away_its_own_things_alone() {
    let (broker, red, _) = teams().await;
    let pruned = prune(&red, "[[role]]\nname = \"red-empty\"\ncapabilities = []\n").await;
    assert_eq!(pruned.status, 200, "{}", pruned.text());
    assert!(names(&red.get("/v1/agents").await).is_empty());
    assert_eq!(names(&red.get("/v1/roles").await), ["red-empty"]);
    let all = names(&broker.operator().get("/v1/capabilities").await);
    assert_eq!(all, ["blue.call", "blue.read", "github.repo.read", "reports.publish", "reports.read"]);
    // A name that was given back is anybody's.
    let taken_up = apply(&broker.operator(), "[[agent]]\nname = \"red-bot\"\nroles = []\n").await;
    assert_eq!(taken_up.status, 200, "{}", taken_up.text());
    assert!(names(&red.get("/v1/agents").await).is_empty());
}

#[tokio::test]
async fn only_an_unrestricted_operator_changes_owners_durably() {
    let (mut broker, red, _) = teams().await;
    let admin = broker.operator();
    let given = apply(
        &admin,
        &DECLARATIONS.replace(
            "capabilities = [\"github.repo.read\"]",
            "capabilities = [\"github.repo.read\"]\nowner = \"red\"",
        ),
    )
    .await;
    let change = &given.json()["changes"][0];
    assert_eq!((&change["name"], &change["fields"]), (&"repo-reader".into(), &json!(["owner"])));
    assert_eq!(put(&admin, "github/app", Some("red")).await.status, 201);
    assert_eq!(names(&red.get("/v1/roles").await), ["red-reader", "repo-reader"]);
    assert_eq!(names(&red.get("/v1/secrets").await), ["github/app", "red/app"]);
    // Without a word of an owner a file says that it is nobody's.
    let red_bot = "[[agent]]\nname = \"red-bot\"\nroles = [\"red-reader\"]\n";
    assert_eq!(apply(&admin, red_bot).await.json()["changes"][0]["fields"], json!(["owner"]));
    broker.restart().await;
    let red = Caller { address: broker.admins(), ..red };
    assert_eq!(names(&red.get("/v1/agents").await), ["red-service"]);
    assert_eq!(names(&red.get("/v1/roles").await), ["red-reader", "repo-reader"]);
    assert_eq!(names(&red.get("/v1/secrets").await), ["github/app", "red/app"]);
}

#[tokio::test]
async fn a_team_does_not_declare_the_brokers_own_audience() {
    let (broker, red, _) = teams().await;
    let own = broker.nobody(broker.agents()).get("/.well-known/oauth-authorization-server").await.json();
    let own = own["issuer"].as_str().unwrap();
    let capability = format!(
        "[[capability]]\nname = \"red.own\"\naccess = \"write\"\ndelivery = \"mint\"\naudience = \"{own}\"\nmax_life_s = 60\n"
    );
    let server = format!("[[resource_server]]\nname = \"red-broker\"\naudience = \"{own}\"\n");
    for text in [&capability, &server] {
        let refused = apply(&red, text).await;
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert!(refused.text().contains("is the broker itself"), "{}", refused.text());
        assert_eq!(
            apply(&red, &text.replace(own, "https://red.example.com/own")).await.status,
            200,
            "the twin"
        );
    }
}

#[tokio::test]
async fn a_capability_that_another_owners_role_names_is_not_removed() {
    let (broker, red, blue) = teams().await;
    let mixed = "[[role]]\nname = \"mixed\"\nowner = \"blue\"\ncapabilities = [\"red.call\"]\n\
                 [[agent]]\nname = \"mixed-bot\"\nowner = \"blue\"\nroles = [\"mixed\", \"red-reader\"]\n";
    assert_eq!(broker.apply(mixed).await.status, 200);
    let refuse = prune(&red, "").await;
    assert_eq!(refuse.status, 422, "{}", refuse.text());
    let faults = refuse.json()["errors"].to_string();
    for said in
        ["capability `red.call` cannot be removed: a role of another owner", "role `red-reader` cannot"]
    {
        assert!(faults.contains(said), "{faults}");
    }
    // An operator with both in scope removes both, and only their owner can declare the names again.
    let rest = RED.replace("red", "blue");
    let both = prune(&broker.operator(), &format!("{DECLARATIONS}{rest}")).await;
    assert_eq!(both.status, 200, "{}", both.text());
    let names = [
        (
            "capability",
            "[[capability]]\nname = \"red.call\"\naccess = \"write\"\ndelivery = \"mint\"\naudience = \"https://evil.example.com\"\nmax_life_s = 120\n",
        ),
        (
            "audience",
            "[[capability]]\nname = \"blue.evil\"\naccess = \"write\"\ndelivery = \"mint\"\naudience = \"https://red.example.com\"\nmax_life_s = 120\n",
        ),
        ("role", "[[role]]\nname = \"red-reader\"\ncapabilities = []\n"),
        ("agent", "[[agent]]\nname = \"red-bot\"\nroles = []\n"),
        (
            "resource server",
            "[[resource_server]]\nname = \"red-service\"\naudience = \"https://blue.example.com\"\n",
        ),
    ];
    for (what, text) in names {
        let taken = apply(&blue, text).await;
        assert_eq!(taken.status, 422, "{what}: {}", taken.text());
        assert!(taken.text().contains("belonged to"), "{what}: {}", taken.text());
    }
    let invited =
        blue.post_json("/v1/agents/red-bot/invitations", &json!({ "roles": ["blue-reader"] })).await;
    refused(&invited, 409, "name_reserved_by_owner");
    let again = apply(&red, RED).await;
    assert_eq!(again.status, 200, "the twin: to their owner they come back: {}", again.text());
}
