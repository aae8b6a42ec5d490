//! Versions of secrets: written on a condition, rolled back, and destroyed for good.

use std::fs;

use keyward::base::Clock as _;
use keyward::base::limits::{DESTROYED_LISTED_MAX, REWRAPPED_AT_ONCE_MAX};
use serde_json::json;

use crate::operators::{join, refused, standing};
use crate::support::broker::{Agent, Caller, DECLARATIONS, Reply, TestBroker};
use crate::support::process::{Process, put_back};

const BYTES: &str = "application/octet-stream";
const NAME: &str = "/v1/secrets/github/app";

async fn put(broker: &TestBroker, value: &str, condition: (&str, &str)) -> Reply {
    let headers = [("content-type", BYTES), condition];
    broker.operator().send("PUT", NAME, &headers, value.as_bytes()).await
}

async fn change(broker: &TestBroker, action: &str, version: u32) -> Reply {
    let body = json!({ "action": action, "version": version });
    broker.operator().post_json("/v1/secret-versions/github/app", &body).await
}

async fn turn(broker: &TestBroker) -> Reply {
    broker.operator().send("POST", "/v1/value-key/rotate", &[], b"").await
}

async fn read(agent: &Agent) -> Reply {
    let token = agent.token("github.repo.read").await;
    agent.secret("github/app", &token).await
}

async fn stages(broker: &TestBroker) -> Vec<(u64, String)> {
    let shown = broker.operator().get(NAME).await.json();
    let stage = |item: &serde_json::Value| {
        (item["number"].as_u64().unwrap(), item["stage"].as_str().unwrap().to_owned())
    };
    shown["versions"].as_array().unwrap().iter().map(stage).collect()
}

#[tokio::test]
async fn a_write_on_a_condition_changes_nothing_when_it_does_not_hold() {
    let broker = TestBroker::declared().await;
    let shown = broker.operator().get(NAME).await;
    assert_eq!(shown.header("etag"), "\"1\"");
    assert_eq!(put(&broker, "two", ("if-match", "\"1\"")).await.json()["version"], 2);
    let late = put(&broker, "late", ("if-match", "\"1\"")).await;
    assert_eq!((late.status, late.code().as_str()), (412, "version_mismatch"));
    assert!(late.text().contains("is version 2, not 1"), "{}", late.text());
    let new = put(&broker, "late", ("if-none-match", "*")).await;
    assert_eq!((new.status, new.code().as_str()), (412, "version_mismatch"));
    assert!(new.text().contains("exists already") && new.text().contains("--new"), "{}", new.text());
    for bad in [("if-match", "1"), ("if-match", "*"), ("if-match", "W/\"1\""), ("if-none-match", "\"1\"")] {
        let refused = put(&broker, "late", bad).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "precondition_invalid"), "{bad:?}");
    }
    assert_eq!(broker.operator().get(NAME).await.header("etag"), "\"2\"");
    let headers = [("content-type", BYTES), ("if-none-match", "*")];
    assert_eq!(broker.operator().send("PUT", "/v1/secrets/fresh", &headers, b"x").await.status, 201);
}

#[tokio::test]
async fn a_former_version_is_handed_out_again_and_only_a_former_one() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("research-bot", &["repo-reader"]).await;
    put(&broker, "two", ("x-nothing", "")).await;
    assert_eq!(read(&agent).await.text(), "two");
    assert_eq!(change(&broker, "roll-back", 1).await.status, 200);
    let back = read(&agent).await;
    assert_eq!((back.text().as_str(), back.header("keyward-secret-version")), ("hunter2", "1"));
    assert_eq!(stages(&broker).await, [(2, "former".to_owned()), (1, "current".to_owned())]);
    for action in ["roll-back", "destroy"] {
        let refused = change(&broker, action, 1).await;
        assert_eq!((refused.status, refused.code().as_str()), (409, "version_invalid_state"));
        let refused = change(&broker, action, 9).await;
        assert_eq!((refused.status, refused.code().as_str()), (404, "version_unknown"));
    }
    // The next one counts on, and the readers are told, with each version that they read.
    assert_eq!(put(&broker, "three", ("x-nothing", "")).await.json()["version"], 3);
    let readers = broker.operator().get("/v1/secret-readers/github/app").await.json();
    let items = readers["items"].as_array().unwrap();
    let read: Vec<_> = items.iter().map(|item| (&item["agent"], &item["version"])).collect();
    assert_eq!(read, [(&json!("research-bot"), &json!(1)), (&json!("research-bot"), &json!(2))]);
    assert!(items.iter().all(|item| item["first_at"].as_str() <= item["at"].as_str()), "{items:?}");
}

#[tokio::test]
async fn the_ledger_says_which_agents_could_read_a_secret_at_a_past_time() {
    // Given an agent that could read a secret, and lost its role later
    let broker = TestBroker::declared().await;
    let admin = broker.operator();
    let access = async |by: &Caller, at: &str| {
        by.post_json("/v1/secret-access/github/app", &json!({ "at": at })).await
    };
    let before = broker.clock.now().to_string();
    broker.clock.advance_s(60);
    broker.agent("research-bot", &["repo-reader"]).await;
    broker.agent("other-bot", &["publisher"]).await;
    broker.clock.advance_s(60);
    let then = broker.clock.now().to_string();
    broker.clock.advance_s(60);
    let agent = "[[agent]]\nname = \"research-bot\"\nroles = [\"publisher\"]\n";
    assert_eq!(broker.apply(agent).await.status, 200);
    broker.clock.advance_s(60);
    // When an operator asks for each time, then the answers follow the declarations of then
    let read =
        json!({ "agent": "research-bot", "roles": ["repo-reader"], "capabilities": ["github.repo.read"] });
    for (at, items) in
        [(before.as_str(), json!([])), (&then, json!([read])), ("1s", json!([])), ("90s", json!([read]))]
    {
        let answer = access(&admin, at).await.json();
        assert_eq!((&answer["items"], &answer["complete"]), (&items, &json!(true)), "{at}: {answer}");
    }
    // And a time before the secret or the ledger is said to be one
    let none = access(&admin, &then).await.json();
    assert_eq!((none.get("before"), none.get("begins_at")), (None, None), "{none}");
    let put = admin.put("/v1/secrets/late/app", "application/octet-stream", b"late").await;
    assert_eq!(put.status, 201);
    let late = admin.post_json("/v1/secret-access/late/app", &json!({ "at": then })).await.json();
    assert_eq!((&late["before"], &late["items"]), (&json!("secret"), &json!([])), "{late}");
    assert!(late["begins_at"].as_str() > Some(then.as_str()), "{late}");
    let never = access(&admin, "2001-01-01").await.json();
    assert_eq!((&never["before"], &never["items"]), (&json!("ledger"), &json!([])), "{never}");
    // And a deleted agent is still named, to an operator with the scope `all`
    assert_eq!(admin.post_json("/v1/agents/research-bot/delete", &json!({})).await.status, 200);
    assert_eq!(access(&admin, &then).await.json()["items"], json!([read]));
    let later = broker.clock.now().plus_s(60).to_string();
    refused(&access(&admin, &later).await, 400, "json_invalid");
    let bound = join(&broker, "rhea", &standing("auditor", Some("red"))).await.caller;
    refused(&access(&bound, &then).await, 404, "secret_unknown");
}

#[tokio::test]
async fn former_versions_are_kept_up_to_the_limit_and_the_oldest_go_first() {
    let broker = TestBroker::start_with("[secrets]\nkeep_versions = 2\n").await;
    let put = async |value: &str| assert_eq!(put(&broker, value, ("x-nothing", "")).await.status, 201);
    let stored = async || broker.entries("secret.stored").await.last().unwrap()["event"]["destroyed"].clone();
    let living = async || -> Vec<u64> {
        let stages = stages(&broker).await;
        stages.into_iter().filter(|(_, stage)| stage != "destroyed").map(|(number, _)| number).collect()
    };
    for value in ["one", "two", "three"] {
        put(value).await;
        assert_eq!(stored().await, serde_json::Value::Null, "at the limit");
    }
    assert_eq!(living().await, [3, 2, 1]);
    put("four").await;
    assert_eq!((stored().await, living().await), (json!([1]), vec![4, 3, 2]), "one beyond");
    assert_eq!(change(&broker, "roll-back", 1).await.code(), "version_invalid_state");
    // Handed out again, and replaced again, the lowest number is what was retired last.
    assert_eq!(change(&broker, "roll-back", 2).await.status, 200);
    put("five").await;
    assert_eq!((stored().await, living().await), (json!([3]), vec![5, 4, 2]));
    assert_eq!(change(&broker, "roll-back", 2).await.status, 200);
    assert_eq!(broker.apply(DECLARATIONS).await.status, 200);
    let agent = broker.agent("research-bot", &["repo-reader"]).await;
    assert_eq!(read(&agent).await.text(), "two", "and opens");
}

#[tokio::test]
async fn a_version_in_its_grace_is_kept_and_a_rotation_names_what_it_destroys() {
    let mut broker = TestBroker::start_with("[secrets]\nkeep_versions = 2\n").await;
    let declared =
        "[[rotation]]\nsecret = \"github/app\"\ngrace = \"1h\"\nupstream = { driver = \"generate\" }\n";
    assert_eq!(broker.apply(declared).await.status, 200);
    let act = async |broker: &TestBroker, what: &str| {
        let body = json!({ "action": what });
        let reply = broker.operator().post_json("/v1/rotations/github/app", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    };
    for round in 1..=5_u64 {
        act(&broker, "rotate").await;
        broker.rotate_due().await;
        let former = stages(&broker).await.into_iter().filter(|(_, stage)| stage == "former");
        let former: Vec<u64> = former.map(|(number, _)| number).collect();
        let expected: Vec<u64> = (round.saturating_sub(2).max(1)..round).rev().collect();
        assert_eq!(former, expected, "the one in its grace among them");
        if round == 3 {
            broker.restart().await;
        }
        broker.clock.advance_s(3601);
        broker.rotate_due().await;
    }
    let advanced = broker.entries("rotation.advanced").await;
    let destroyed = advanced.iter().filter_map(|entry| entry["event"]["destroyed"].as_array().cloned());
    assert_eq!(destroyed.flatten().collect::<Vec<_>>(), [json!(1), json!(2)]);
}

#[tokio::test]
async fn what_was_destroyed_long_ago_is_listed_no_more_and_numbers_count_on() {
    let broker = TestBroker::start_with("[secrets]\nkeep_versions = 2\n").await;
    let listed = DESTROYED_LISTED_MAX + 3;
    for _ in 0..listed {
        assert_eq!(put(&broker, "value", ("x-nothing", "")).await.status, 201);
    }
    let all = stages(&broker).await;
    assert_eq!((all.len(), all.last().unwrap().0), (listed, 1), "at the limit");
    assert_eq!(put(&broker, "value", ("x-nothing", "")).await.json()["version"], listed + 1);
    let all = stages(&broker).await;
    assert_eq!((all.len(), all.last().unwrap().0), (listed, 2), "one beyond");
    assert_eq!(change(&broker, "roll-back", 1).await.code(), "version_unknown");
}

/// Hazard SEC-01.
#[tokio::test]
async fn a_destroyed_version_never_opens_after_a_value_key_rotation() {
    let mut broker = TestBroker::declared().await;
    let agent = broker.agent("research-bot", &["repo-reader"]).await;
    put(&broker, "two", ("x-nothing", "")).await;
    broker.stop().await;
    let before = broker.path().join("before");
    put_back(&broker.data(), &before);
    broker.serve().await;

    assert_eq!(change(&broker, "destroy", 1).await.status, 200);
    assert_eq!(change(&broker, "roll-back", 1).await.code(), "version_invalid_state", "not even the broker");
    let turned = turn(&broker).await;
    assert_eq!((turned.status, &turned.json()["generation"]), (200, &2.into()), "{}", turned.text());
    assert_eq!(turned.json()["carried_over"], 1, "what lives");
    let agent = again(&broker, &agent);
    assert_eq!(read(&agent).await.text(), "two");
    broker.restart().await;
    let agent = again(&broker, &agent);
    assert_eq!(read(&agent).await.text(), "two", "after a start, too");
    broker.stop().await;

    // A thief has a copy of everything from before, and gets the present keyring.
    let keyring = fs::read(broker.data().join("keyring")).unwrap();
    put_back(&before, &broker.data());
    fs::write(broker.data().join("keyring"), keyring).unwrap();
    broker.serve().await;
    assert_eq!(change(&broker, "roll-back", 1).await.status, 200, "the older ledger knows it");
    let agent = again(&broker, &agent);
    let refused = read(&agent).await;
    assert_eq!((refused.status, refused.code().as_str()), (500, "issuance_failed"), "and nothing opens it");
    broker.stop().await;

    // The honest limit: with the keyring of then, it opens.
    put_back(&before, &broker.data());
    broker.serve().await;
    assert_eq!(change(&broker, "roll-back", 1).await.status, 200);
    let agent = again(&broker, &agent);
    assert_eq!(read(&agent).await.text(), "hunter2");
}

#[tokio::test]
async fn so_many_versions_are_carried_over_by_one_entry_and_the_next_by_another() {
    let broker = TestBroker::start().await;
    let carried = async || {
        assert_eq!(turn(&broker).await.status, 200);
        let entries = broker.entries("value-key.carried-over").await;
        entries.iter().map(|entry| entry["event"]["versions"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    for index in 0..REWRAPPED_AT_ONCE_MAX {
        let put = broker.operator().put(&format!("/v1/secrets/many/s{index}"), BYTES, b"v").await;
        assert_eq!(put.status, 201, "{}", put.text());
    }
    let most = REWRAPPED_AT_ONCE_MAX as u64;
    assert_eq!(carried().await, [most], "at the limit");
    assert_eq!(broker.operator().put("/v1/secrets/many/more", BYTES, b"v").await.status, 201);
    assert_eq!(carried().await, [most, most, 1], "one beyond it");
}

/// The same agent at the broker's address of now.
fn again(broker: &TestBroker, agent: &Agent) -> Agent {
    let caller = broker.caller(broker.agents(), Some(&agent.certificate), Some(&agent.key));
    Agent { caller, certificate: agent.certificate.clone(), key: agent.key.clone() }
}

#[tokio::test]
async fn the_value_key_rotates_during_reads_and_writes_without_loss() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("research-bot", &["repo-reader"]).await;
    for index in 0..40 {
        let stored = broker.operator().put(&format!("/v1/secrets/many/s{index}"), BYTES, b"v").await;
        assert_eq!(stored.status, 201);
    }
    let writing = async {
        for index in 0..20 {
            assert_eq!(put(&broker, &format!("value {index}"), ("x-nothing", "")).await.status, 201);
        }
    };
    let turning = async {
        for _ in 0..3 {
            assert_eq!(turn(&broker).await.status, 200);
        }
    };
    let reading = async {
        for _ in 0..20 {
            assert_eq!(read(&agent).await.status, 200);
        }
    };
    tokio::join!(writing, turning, reading);
    assert_eq!(read(&agent).await.text(), "value 19");
    assert_eq!(broker.entries("value-key.shed").await.len(), 3);
}

/// Hazard KEY-11.
#[tokio::test]
async fn a_keyring_that_is_older_than_a_turn_is_refused_by_name() {
    let mut broker = TestBroker::declared().await;
    let path = broker.data().join("keyring");
    let older = fs::read(&path).unwrap();
    assert_eq!(turn(&broker).await.status, 200);
    broker.stop().await;
    let newer = fs::read(&path).unwrap();
    fs::write(&path, older).unwrap();
    assert_eq!(broker.try_serve().await.unwrap_err().code(), "keyring_outdated");
    fs::write(&path, newer).unwrap();
    broker.serve().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    assert_eq!(read(&agent).await.status, 200);
}

#[tokio::test]
async fn the_value_key_turns_by_its_schedule() {
    let broker = TestBroker::start_with("[secrets]\nkey_life_s = 86400\n").await;
    broker.declare().await;
    let generations = || {
        let keyring = fs::read_to_string(broker.data().join("keyring")).unwrap();
        let keyring: serde_json::Value = serde_json::from_str(keyring.lines().next().unwrap()).unwrap();
        let keys = keyring["keys"].as_array().unwrap().iter();
        keys.filter(|key| key["family"] == 1)
            .map(|key| key["generation"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    broker.clock.advance_s(86_000);
    broker.look_after().await;
    assert_eq!(generations(), [1], "not yet");
    broker.clock.advance_s(400);
    broker.look_after().await;
    assert_eq!(generations(), [2], "and the one before has gone");
}

/// Every point at which a turn of the value key becomes durable: the broker is killed there, and finishes
/// the turn when it starts again.
/// Hazard ROT-15.
#[test]
fn a_value_key_rotation_killed_at_any_step_is_finished_without_loss() {
    let mut process = Process::init("warn");
    process.load_faults(0);
    process.serve();
    process.set_up(b"one");
    process.good(&["secret", "put", "github/app"], b"two");
    process.arm("count 0");
    process.good(&["value-key", "rotate"], b"");
    let points = process.counted().points;
    process.disarm();
    assert!(points >= 10, "three entries and two keyrings: {points}");
    for at in 1..=points {
        process.arm(&format!("kill {at}"));
        process.run_as("operator", &["value-key", "rotate"], b"");
        process.was_killed(at, points);
        process.disarm();
        process.serve();
        assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"two", "after a kill at {at}");
        // What was begun is finished before another one begins.
        process.good(&["value-key", "rotate"], b"");
        process.good(&["secret", "rollback", "github/app", "1"], b"");
        assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"one", "the former one too");
        process.good(&["secret", "rollback", "github/app", "2"], b"");
    }
}
