//! Errors in declaration files: all of them, in the order of the lines, each with its object.

use serde_json::{Value, json};

use crate::support::broker::TestBroker;

/// The lines and the messages of the errors in `text`.
async fn errors(broker: &TestBroker, text: &str) -> Vec<(u64, String)> {
    let refused = broker.apply(text).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (422, "declarations_invalid"),
        "{}",
        refused.text()
    );
    let errors = refused.json()["errors"].as_array().unwrap().clone();
    let error = |one: &Value| (one["line"].as_u64().unwrap(), one["message"].as_str().unwrap().to_owned());
    errors.iter().map(error).collect()
}

#[track_caller]
fn are(found: &[(u64, String)], expected: &[(u64, &str)]) {
    let lines: Vec<u64> = found.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, expected.iter().map(|(line, _)| *line).collect::<Vec<_>>(), "{found:?}");
    for ((_, message), (_, part)) in found.iter().zip(expected) {
        assert!(message.starts_with(part), "{part}: {message}");
    }
}

#[tokio::test]
async fn errors_of_all_sections_come_in_order_with_their_objects() {
    let broker = TestBroker::start().await;
    let text = r#"[agent]
name = "a"
[[rotation]]
secret = "b/c"
evry = "30d"
upstream = { driver = "generate" }
[[capability]]
name = "d.e"
access = "read"
delivery = "mint"
audience = "https://x.example.com"
max_life_s = "5m"
[[role]]
name = "CNRY-wrong"
capabilities = []
[[rolle]]
name = "x"
"#;
    let found = errors(&broker, text).await;
    are(
        &found,
        &[
            (1, "expected an array of tables: write `[[agent]]`"),
            (5, "rotation `b/c`: unknown field `evry`: did you mean `every`?"),
            (12, "capability `d.e`: invalid type, expected a whole number without quotes"),
            (14, "role: "),
            (16, "unknown table"),
        ],
    );
    assert!(!format!("{found:?}").contains("CNRY"), "{found:?}");
}

#[tokio::test]
async fn errors_against_the_records_are_listed_together() {
    let broker = TestBroker::start().await;
    let text = r#"[[rotation]]
secret = "b/c"
every = "30m"
upstream = { driver = "generate" }
[[capability]]
name = "d.e"
access = "read"
delivery = "reveal"
secret = "d/e"
max_life_s = 60
[[role]]
name = "f"
capabilities = ["g.h"]
"#;
    let found = errors(&broker, text).await;
    are(
        &found,
        &[
            (1, "rotation `b/c`: `every` must be longer"),
            (5, "capability `d.e`: secret `d/e` does not exist"),
            (11, "role `f`: this role names capability `g.h`"),
        ],
    );
}

#[tokio::test]
async fn plan_that_is_not_the_one_of_the_id_says_what_differs() {
    let broker = TestBroker::start().await;
    let operator = broker.operator();
    let body =
        json!({ "files": [{ "name": "a.toml", "text": "[[role]]\nname = \"a\"\ncapabilities = []\n" }] });
    let id = operator.post_json("/v1/plan", &body).await.json()["plan"].clone();
    let apply = async |plan: Value, prune: bool| {
        let mut body = body.clone();
        (body["plan"], body["prune"]) = (plan, prune.into());
        operator.post_json("/v1/apply", &body).await
    };
    for (plan, prune, says) in [
        (json!("5f0c"), false, "32 characters"),
        (id.clone(), true, "made without `--prune`, leave `--prune` out"),
        (json!("0".repeat(32)), false, "made with `--prune`, add `--prune`"),
    ] {
        let refused = apply(plan, prune).await;
        assert_eq!((refused.status, refused.code().as_str()), (409, "plan_outdated"), "{says}");
        assert!(refused.text().contains(says), "{says}: {}", refused.text());
    }
    assert_eq!(apply(id, false).await.status, 200, "the twin");
}
