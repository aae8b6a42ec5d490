//! The ledger as an operator sees it who is bound to an owner: its own objects and itself, and no names of others.

use serde_json::{Value, json};

use super::owners::teams;
use super::{join, post, refused, standing};
use crate::support::broker::{Caller, DECLARATIONS};

/// All entries that `by` sees, in pages of `limit`.
pub(crate) async fn entries(by: &Caller, limit: usize) -> Vec<Value> {
    let (mut items, mut after) = (Vec::new(), Some(0));
    while let Some(seq) = after {
        let page = by.get(&format!("/v1/ledger/entries?limit={limit}&after={seq}")).await;
        assert_eq!(page.status, 200, "{}", page.text());
        let page = page.json();
        let found = page["items"].as_array().unwrap();
        assert!(found.len() <= limit);
        assert_eq!(
            page["head"],
            found.last().map_or(json!(seq), |item| item["seq"].clone()),
            "nothing beyond the page"
        );
        // Not that the operator reads, which this test does.
        items.extend(found.iter().filter(|item| item["kind"] != "ledger.read").cloned());
        after = page["next_after"].as_u64();
    }
    items
}

pub(crate) fn kinds(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["kind"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_team_reads_the_entries_of_its_objects_and_of_itself_only() {
    let (broker, red, blue) = teams().await;
    let bot = broker.agent("red-bot", &[]).await;
    bot.secret("red/app", &bot.token("red.read").await).await;
    let other = broker.agent("blue-bot", &[]).await;
    other.secret("blue/app", &other.token("blue.read").await).await;
    assert_eq!(post(&red, "/v1/agents/red-bot/suspend").await.status, 200);
    assert_eq!(post(&blue, "/v1/agents/blue-bot/suspend").await.status, 200);
    refused(&red.get("/v1/operators").await, 403, "operator_scope_insufficient");
    // When each team reads the ledger
    let seen = entries(&red, 500).await;
    // Then it finds what happened to its objects, and to its operator
    for kind in [
        "operator.invited",
        "operator.enrolled",
        "secret.stored",
        "declarations.applied",
        "agent.invited",
        "instance.enrolled",
        "token.minted",
        "secret.revealed",
        "subject.suspended",
        "operator.denied",
    ] {
        assert_eq!(kinds(&seen).iter().filter(|one| **one == kind).count(), 1, "{kind}: {:?}", kinds(&seen));
    }
    // And nothing of others
    let text = serde_json::to_string(&seen).unwrap();
    for name in ["blue", "bob", "repo-reader", "github"] {
        assert!(!text.contains(name), "{name}: {text}");
    }
    assert!(seen.iter().all(|entry| entry["redacted"] == Value::Null), "{text}");
    // And it is the same in pages of any size, in the order of the ledger
    for limit in [1, 3] {
        assert_eq!(entries(&red, limit).await, seen, "{limit}");
    }
    let numbers: Vec<u64> = seen.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    let mut all = entries_of_all(&broker.operator()).await;
    // Only operators of all see the facts of a request: the roles can be those of other owners.
    for entry in &mut all {
        entry["event"].as_object_mut().unwrap().shift_remove("facts");
    }
    assert!(seen.iter().all(|entry| all.contains(entry)), "the same entries as an auditor of all");
}

pub(crate) async fn entries_of_all(by: &Caller) -> Vec<Value> {
    by.get("/v1/ledger/entries?limit=500").await.json()["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_entry_about_several_owners_shows_a_team_its_own_part() {
    let (broker, red, _) = teams().await;
    // Given an application of an operator with the scope `all` to objects of two teams and of nobody
    let text = format!(
        "{}\n[[role]]\nname = \"red-reader\"\nowner = \"red\"\ncapabilities = []\n\
         [[role]]\nname = \"blue-reader\"\nowner = \"blue\"\ncapabilities = []\n",
        DECLARATIONS.replace("max_life_s = 600", "max_life_s = 60")
    );
    assert_eq!(broker.apply(&text).await.status, 200);
    // When the team reads it
    let seen = entries(&red, 500).await;
    let entry = seen.last().unwrap();
    // Then it sees its own role, and that there was more
    let changes = entry["event"]["changes"].as_array().unwrap();
    assert_eq!((changes.len(), &changes[0]["name"]), (1, &json!("red-reader")), "{entry}");
    assert_eq!((&entry["redacted"], &entry["actor_hidden"]), (&json!(true), &Value::Null));
    assert!(!entry.to_string().contains("blue") && !entry.to_string().contains("reports"), "{entry}");
}

#[tokio::test]
async fn a_team_sees_what_others_were_denied_and_given_of_its_objects() {
    // Given an agent of another team
    let (broker, red, _) = teams().await;
    let bot = broker.agent("blue-bot", &[]).await;
    // When it asks for a capability of the team, and for a name of nothing
    let asked = bot.ask("grant_type=client_credentials&scope=red.call+not.declared").await;
    assert_eq!(asked.status, 400, "{}", asked.text());
    let token = bot.token("blue.read").await;
    assert_eq!(bot.secret("red/app", &token).await.status, 403);
    assert_eq!(bot.secret("not/stored", &token).await.status, 403);
    // Then the entries name what exists, and filters find them
    let denied = broker.entries("request.denied").await;
    let named: Vec<_> =
        denied.iter().map(|one| (&one["event"]["capabilities"], &one["event"]["secret"])).collect();
    let (none, red_call, red_app) = (Value::Null, json!(["red.call"]), json!("red/app"));
    assert_eq!(named, [(&red_call, &none), (&none, &red_app), (&none, &none)]);
    let text = serde_json::to_string(&denied).unwrap();
    assert!(!text.contains("not.declared") && !text.contains("not/stored"), "{text}");
    for filter in ["secret=red/app", "capability=red.call"] {
        let found = broker
            .operator()
            .get(&format!("/v1/ledger/entries?limit=9&outcome=denied&{filter}"))
            .await
            .json();
        assert_eq!(found["items"].as_array().unwrap().len(), 1, "{filter}: {found}");
    }
    // And the team sees them, without the name of the agent
    let seen = entries(&red, 500).await;
    let seen: Vec<&Value> = seen.iter().filter(|entry| entry["kind"] == "request.denied").collect();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(
        seen.iter().all(|entry| {
            let is_hidden = entry["actor_hidden"] == true && entry["event"]["agent"].is_null();
            entry["redacted"] == true && is_hidden
        }),
        "{seen:?}"
    );
    // When the agent gets a role of the team, then the team sees which agent has it
    let given =
        "[[agent]]\nname = \"blue-bot\"\nowner = \"blue\"\nroles = [\"blue-reader\", \"red-reader\"]\n";
    assert_eq!(broker.apply(given).await.status, 200);
    let entry = entries(&red, 500).await.pop().unwrap();
    let change = &entry["event"]["changes"][0];
    assert_eq!(
        (&change["name"], &change["values"][0]["added"]),
        (&json!("blue-bot"), &json!(["red-reader"])),
        "{entry}"
    );
    assert!(!entry.to_string().contains("blue-reader"), "{entry}");
    bot.secret("red/app", &bot.token("red.read").await).await;
    let entry = entries(&red, 500).await.pop().unwrap();
    assert_eq!(
        (&entry["kind"], &entry["event"]["agent"]),
        (&json!("secret.revealed"), &json!("blue-bot")),
        "{entry}"
    );
}

#[tokio::test]
async fn changed_values_show_a_team_no_names_of_others() {
    // Given an application that gives a role of a team a capability of another owner, and takes the team's own
    let (broker, red, _) = teams().await;
    let role = |capabilities: &str| {
        format!("[[role]]\nname = \"red-reader\"\nowner = \"red\"\ncapabilities = [{capabilities}]\n")
    };
    assert_eq!(broker.apply(&role("\"red.call\", \"github.repo.read\"")).await.status, 200);
    // When the team reads it, then it sees its own values alone
    let entry = entries(&red, 500).await.pop().unwrap();
    let change = &entry["event"]["changes"][0];
    assert_eq!(change["values"][0]["added"], json!(["red.call"]), "{entry}");
    assert_eq!(change["values"][0]["removed"], json!(["red.read"]), "{entry}");
    assert!(!entry.to_string().contains("github") && entry["redacted"] == true, "{entry}");
    assert!(entry["event"]["snapshot"].is_string(), "digests name nothing: {entry}");
    // And not the owner from which an object came
    let moved = "[[role]]\nname = \"blue-reader\"\nowner = \"red\"\ncapabilities = []\n";
    assert_eq!(broker.apply(moved).await.status, 200);
    let entry = entries(&red, 500).await.pop().unwrap();
    let values = entry["event"]["changes"][0]["values"].as_array().unwrap();
    let owner = values.iter().find(|value| value["field"] == "owner").unwrap();
    assert_eq!((&owner["from"], &owner["to"]), (&Value::Null, &json!("red")), "{entry}");
    assert!(!entry["event"]["changes"][0]["values"].to_string().contains("blue"), "{entry}");
}

#[tokio::test]
async fn the_entries_of_a_deleted_agent_stay_with_its_team() {
    let (_broker, red, blue) = teams().await;
    assert_eq!(post(&red, "/v1/agents/red-bot/delete").await.status, 200);
    assert_eq!(kinds(&entries(&red, 500).await).last(), Some(&"agent.deleted"));
    assert!(!kinds(&entries(&blue, 500).await).contains(&"agent.deleted"));
}

#[tokio::test]
async fn a_new_team_sees_only_how_its_operator_came() {
    let (broker, ..) = teams().await;
    let green = join(&broker, "gina", &standing("auditor", Some("green"))).await.caller;
    let seen = entries(&green, 500).await;
    assert!(kinds(&seen).iter().all(|kind| kind.starts_with("operator.")), "{seen:?}");
    assert!(seen.iter().all(|entry| entry["event"]["operator"] == "gina"), "{seen:?}");
    // The twin: with the scope `all` every entry is there, in full
    let all = entries_of_all(&broker.operator()).await;
    assert_eq!(all.len() as u64, all.last().unwrap()["seq"].as_u64().unwrap());
}

#[tokio::test]
async fn a_team_filters_only_what_it_may_see() {
    let (broker, red, _) = teams().await;
    broker.agent("red-bot", &[]).await;
    broker.agent("blue-bot", &[]).await;
    let page = async |query: &str| red.get(&format!("/v1/ledger/entries?order=newest&{query}")).await.json();
    // When it asks for its own agent and for another team's
    let (own, other) = (page("agent=red-bot&limit=1").await, page("agent=blue-bot").await);
    // Then it gets its own entries, and no number of others
    assert_eq!(
        (own["items"].as_array().unwrap().len(), &own["more"], &own["indexed_through"]),
        (1, &Value::Null, &Value::Null)
    );
    assert_eq!((&other["items"], &other["next_before"]), (&json!([]), &Value::Null), "{other}");
    assert!(!page("owner=red").await["items"].as_array().unwrap().is_empty());
    assert_eq!(page("owner=blue").await["items"], json!([]));
    // And a name of another team is one that no object has, and is similar to none
    for (query, near) in
        [("agent=blue-bot", json!([])), ("agent=rde-bot", json!(["red-bot"])), ("agent=blue-bto", json!([]))]
    {
        assert_eq!(page(query).await["unknown"][0]["near"], near, "{query}");
    }
    for query in ["agent=red-bot", "owner=red", "operator=nobody"] {
        assert_eq!(page(query).await["unknown"], Value::Null, "{query}");
    }
    // And it shows no entry that it does not list
    let all = broker.operator().get("/v1/ledger/entries?agent=blue-bot&kind=instance.enrolled").await.json();
    let path = |page: &Value| format!("/v1/ledger/entries/{}", page["items"][0]["seq"]);
    refused(&red.get(&path(&all)).await, 404, "entry_unknown");
    assert_eq!(red.get(&path(&own)).await.status, 200);
}

#[tokio::test]
async fn a_team_finds_no_entry_by_a_name_that_it_is_not_shown() {
    // Given a token that an agent of another team got for a capability of the team
    let (broker, red, _) = teams().await;
    let role = "[[role]]\nname = \"blue-reader\"\nowner = \"blue\"\ncapabilities = [\"red.read\"]\n";
    assert_eq!(broker.apply(role).await.status, 200);
    let bot = broker.agent("blue-bot", &[]).await;
    bot.token("red.read").await;
    let minted = async |by: &Caller, filter: &str| {
        let page = by.get(&format!("/v1/ledger/entries?kind=token.minted&{filter}")).await;
        assert_eq!(page.status, 200, "{filter}: {}", page.text());
        page.json()["items"].as_array().unwrap().clone()
    };
    // When the team lists it
    let seen = minted(&red, "capability=red.read").await;
    assert_eq!((seen.len(), &seen[0]["redacted"]), (1, &json!(true)));
    let text = seen[0].to_string();
    assert!(text.matches("blue").count() == 1 && text.contains("\"agent\":\"blue-bot\""), "{seen:?}");
    // Then nothing that was removed from it finds it
    let whole = minted(&broker.operator(), "agent=blue-bot").await;
    assert_eq!(whole.len(), 1);
    let text = |field: &str| whole[0]["event"][field].as_str().unwrap().to_owned();
    for (field, hidden) in [
        ("owner", "blue".to_owned()),
        ("token", text("token")),
        ("decision", text("decision")),
        ("source", text("source")),
    ] {
        assert_eq!(minted(&red, &format!("{field}={hidden}")).await, Vec::<Value>::new(), "{field}");
        assert_eq!(minted(&broker.operator(), &format!("{field}={hidden}")).await, whole, "{field}");
    }
    // And what it is shown does
    let instance = text("instance");
    assert_eq!(minted(&red, &format!("instance={instance}&owner=red")).await, seen);
}

#[tokio::test]
async fn a_team_sees_that_it_was_contained() {
    let (broker, red, blue) = teams().await;
    let body = json!({ "subject": { "kind": "owner", "name": "blue" }, "reason": "a test" });
    let reply = broker.operator().post_json("/v1/incidents", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let incident = reply.json()["incident"].as_str().unwrap().to_owned();
    let lift = format!("/v1/incidents/{incident}/lift");
    assert_eq!(broker.operator().post_json(&lift, &json!({ "reason": "a test" })).await.status, 200);
    assert!(kinds(&entries(&blue, 500).await).contains(&"incident.contained"));
    assert!(!kinds(&entries(&red, 500).await).contains(&"incident.contained"));
    let page = broker.operator().get("/v1/ledger/entries?owner=blue&kind=incident.contained").await.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 1, "{page}");
}
