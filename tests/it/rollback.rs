//! An older copy of the ledger, or of the keyring, put in the place of the newest one.

use std::fs;
use std::path::PathBuf;

use keyward::app::start;
use keyward::store::OnLostEntries;
use serde_json::json;

use crate::support::broker::{Agent, TestBroker};
use crate::support::process::{Process, files, put_back};

/// Makes `to` what `from` is.
fn remove(path: PathBuf) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

impl TestBroker {
    async fn code_of_start(&self) -> String {
        let started = start(&self.config, &self.environment(), OnLostEntries::Refuse).await;
        started.unwrap_err().code().to_string()
    }

    async fn revoke(&self, agent: &str) {
        let reply = self.operator().post_json(&format!("/v1/agents/{agent}/revoke"), &json!({})).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    pub(crate) async fn metric(&self, line: &str) -> bool {
        self.operator().get("/metrics").await.text().contains(line)
    }
}

/// A broker that has stopped, with copies of all of its data from before and after agent `a` was revoked.
struct Scene {
    broker: TestBroker,
    agent: Agent,
    before: PathBuf,
    after: PathBuf,
}

impl Scene {
    async fn new() -> Self {
        let mut broker = TestBroker::declared().await;
        let agent = broker.agent("a", &["repo-reader"]).await;
        broker.stop().await;
        let (before, after) = (broker.path().join("before"), broker.path().join("after"));
        put_back(&broker.data(), &before);
        broker.serve().await;
        broker.revoke("a").await;
        broker.stop().await;
        put_back(&broker.data(), &after);
        Self { broker, agent, before, after }
    }

    /// All as it was after the revocation, but for these parts, which are as they were before it.
    fn older(&self, parts: &[&str]) {
        put_back(&self.after, &self.broker.data());
        for part in parts {
            let (from, to) = (self.before.join(part), self.broker.data().join(part));
            if from.is_dir() {
                put_back(&from, &to);
            } else {
                fs::copy(from, to).unwrap();
            }
        }
    }

    async fn is_refused(&mut self) {
        self.broker.serve().await;
        let agents = self.broker.agents();
        let caller = self.broker.caller(agents, Some(&self.agent.certificate), Some(&self.agent.key));
        assert!(caller.attempt("GET", "/v1/whoami", &[], b"").await.is_err(), "a revoked agent is served");
        self.broker.stop().await;
    }
}

#[tokio::test]
async fn an_older_ledger_is_refused_after_a_revocation() {
    let mut scene = Scene::new().await;
    for gone in [None, Some("index"), Some("anchor")] {
        // Given the ledger of before the revocation, with or without the other places that know of it.
        scene.older(&["ledger"]);
        if let Some(gone) = gone {
            remove(scene.broker.data().join(gone));
        }
        // When the broker starts, then it refuses.
        assert_eq!(scene.broker.code_of_start().await, "entries_lost", "without {gone:?}");
    }
    // And with the newer ledger in its place again it serves as before.
    scene.older(&[]);
    scene.is_refused().await;
}

#[tokio::test]
async fn start_without_a_ledger_is_refused_and_makes_none() {
    // Given data from which the ledger was removed
    let mut scene = Scene::new().await;
    for gone in [None, Some("index"), Some("anchor")] {
        scene.older(&[]);
        let ledger = scene.broker.data().join("ledger");
        remove(ledger.clone());
        if let Some(gone) = gone {
            remove(scene.broker.data().join(gone));
        }
        // When the broker starts
        let started = start(&scene.broker.config, &scene.broker.environment(), OnLostEntries::Refuse)
            .await
            .unwrap_err();
        // Then it says so, and a backup can be moved to the place of the ledger
        assert_eq!(started.code(), "entries_lost", "without {gone:?}");
        assert!(started.why().starts_with("there is no ledger"), "{}", started.why());
        assert!(!ledger.exists(), "without {gone:?}");
    }
    scene.older(&[]);
    scene.is_refused().await;
}

#[tokio::test]
async fn an_older_index_anchor_or_snapshot_is_no_reason_to_refuse() {
    let mut scene = Scene::new().await;
    for parts in [&["index"][..], &["anchor"], &["index", "anchor"]] {
        scene.older(parts);
        scene.is_refused().await;
    }
    for gone in ["index", "anchor"] {
        scene.older(&[]);
        remove(scene.broker.data().join(gone));
        scene.is_refused().await;
    }
    // A snapshot of before the revocation.
    put_back(&scene.before, &scene.broker.data());
    scene.broker.serve().await;
    scene.broker.take_snapshot().await;
    scene.broker.revoke("a").await;
    scene.broker.stop().await;
    scene.is_refused().await;
}

#[tokio::test]
async fn another_history_of_the_same_length_or_longer_is_refused() {
    let mut scene = Scene::new().await;
    for has_snapshot in [false, true] {
        // Given a copy that has gone another way, and further.
        put_back(&scene.before, &scene.broker.data());
        scene.broker.serve().await;
        for name in ["x", "y", "z"] {
            scene.broker.invite(name, &["repo-reader"]).await;
        }
        if has_snapshot {
            scene.broker.take_snapshot().await;
        }
        scene.broker.stop().await;
        let other = scene.broker.path().join("other");
        put_back(&scene.broker.data().join("ledger"), &other);
        // When its ledger is put in the place of the newest one.
        scene.older(&[]);
        put_back(&other, &scene.broker.data().join("ledger"));
        // Then the broker does not start.
        assert_eq!(scene.broker.code_of_start().await, "entries_lost");
        remove(scene.broker.data().join("index"));
        assert_eq!(scene.broker.code_of_start().await, "entries_lost");
    }
}

#[tokio::test]
async fn an_accepted_loss_is_recorded_and_later_starts_need_no_word() {
    let mut scene = Scene::new().await;
    scene.older(&["ledger"]);
    let (config, environment) = (scene.broker.config.clone(), scene.broker.environment());
    let running = start(&config, &environment, OnLostEntries::Accept).await.unwrap();
    running.stop().await;
    scene.broker.serve().await;
    let accepted = scene.broker.entries("alarm.data-loss-accepted").await;
    assert_eq!(accepted.len(), 1);
    let event = &accepted[0]["event"];
    assert!(event["seen"].as_u64() > event["ledger"].as_u64(), "{event}");
    // And from here on this is the newest ledger.
    scene.broker.revoke("a").await;
    scene.broker.stop().await;
    scene.is_refused().await;
}

#[tokio::test]
async fn an_altered_or_foreign_anchor_is_refused() {
    let scene = Scene::new().await;
    let path = scene.broker.data().join("anchor");
    let good = fs::read_to_string(&path).unwrap();
    let other = Scene::new().await;
    let foreign = fs::read_to_string(other.broker.data().join("anchor")).unwrap();
    for bad in [String::new(), good.replace("\"seq\":", "\"seq\":1"), foreign, " ".repeat(8192)] {
        fs::write(&path, bad).unwrap();
        assert_eq!(scene.broker.code_of_start().await, "anchor_altered");
    }
    // One place that is torn leaves the other one.
    fs::write(&path, format!("{}{}", "x".repeat(4096), &good[4096..])).unwrap();
    start(&scene.broker.config, &scene.broker.environment(), OnLostEntries::Refuse)
        .await
        .unwrap()
        .stop()
        .await;
}

/// A broker in a process of its own, with a copy of its ledger from before agent `a` was revoked.
fn revoked_and_killed(ends: impl FnOnce(&mut Process)) -> Process {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.stop();
    put_back(&process.path("data"), &process.path("before"));
    process.serve();
    process.good(&["agent", "revoke", "a"], b"");
    ends(&mut process);
    put_back(&process.path("data"), &process.path("after"));
    process
}

#[test]
fn an_older_ledger_is_refused_after_a_revocation_and_kill_9() {
    let process = revoked_and_killed(Process::kill);
    for gone in [None, Some("data/index"), Some("data/anchor")] {
        put_back(&process.path("after"), &process.path("data"));
        put_back(&process.path("before/ledger"), &process.path("data/ledger"));
        if let Some(gone) = gone {
            remove(process.path(gone));
        }
        let (code, said) = process.refused_serve();
        assert!(code == Some(10) && said.contains("entries_lost"), "without {gone:?}: {said}");
        assert!(said.contains("--accept-lost-entries"), "{said}");
    }
}

#[test]
fn a_zeroed_or_cut_tail_is_refused_after_a_stop_and_after_kill_9() {
    for ends in [Process::kill, Process::stop] {
        let process = revoked_and_killed(ends);
        let newest = |dir: &str| {
            let all = files(&process.path(dir));
            all.into_iter().rfind(|path| path.extension().is_some_and(|end| end == "seg")).unwrap()
        };
        let bytes = fs::read(newest("after/ledger")).unwrap();
        let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
        // Behind the last entry of a stopped ledger there is the frame that closes it.
        for back in [200, 400] {
            for cut in [false, true] {
                put_back(&process.path("after"), &process.path("data"));
                let mut bad = bytes.clone();
                if cut {
                    bad.truncate(used - back)
                } else {
                    bad[used - back..].fill(0)
                }
                fs::write(newest("data/ledger"), bad).unwrap();
                let (code, said) = process.refused_serve();
                let is_named = said.contains("entries_lost") || said.contains("ledger_damaged");
                assert!(code != Some(0) && is_named, "{back} bytes, cut: {cut}: {said}");
            }
        }
    }
}

#[test]
fn an_older_keyring_is_refused_and_accepted_on_an_operators_word() {
    let mut process = Process::init("warn");
    let older = fs::read(process.path("data/keyring")).unwrap();
    let (config, file) = (process.config(), process.path("second.key").display().to_string());
    process.good_as("host", &["slot", "add", "--key-file", &file, "--config", &config], b"");
    let newest = fs::read(process.path("data/keyring")).unwrap();
    fs::write(process.path("data/keyring"), older).unwrap();
    let (code, said) = process.refused_serve();
    assert!(code == Some(10) && said.contains("keyring_outdated"), "{said}");
    // The index alone says it too.
    fs::rename(process.path("data/anchor"), process.path("anchor")).unwrap();
    assert!(process.refused_serve().1.contains("keyring_outdated"));
    fs::rename(process.path("anchor"), process.path("data/anchor")).unwrap();
    process.serve_args = vec!["--accept-lost-entries"];
    process.serve();
    let page = process.json(&["audit", "list", "--oldest-first", "--limit", "500"]);
    let items = page["items"].as_array().unwrap();
    assert!(items.iter().any(|item| item["kind"] == "alarm.data-loss-accepted"));
    process.stop();
    process.serve_args.clear();
    process.serve();
    process.stop();
    // And the newer one is no older copy.
    fs::write(process.path("data/keyring"), newest).unwrap();
    process.serve();
}

#[test]
fn a_backup_put_back_on_purpose_starts_without_a_word() {
    // Given a backup of ledger, keyring and TLS files.
    let process = revoked_and_killed(Process::stop);
    put_back(&process.path("before"), &process.path("backup"));
    remove(process.path("backup/anchor"));
    remove(process.path("backup/index"));
    // When all of the data directory is put back from it.
    put_back(&process.path("backup"), &process.path("data"));
    // Then the broker starts, and is what it was then: the agent is served.
    let mut process = process;
    process.serve();
    process.good_as("a", &["token", "github.repo.read"], b"");
}
