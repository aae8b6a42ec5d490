//! Rekeying and removing an unseal key revokes it: the root key is replaced.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::slots::{listed, refused, slot};
use crate::support::process::Process;

const WORDS: &[u8] = b"CNRY correct horse battery staple";

/// What an operator does about a key file that is in the wrong hands: another one in its place.
fn rekey_file(process: &Process, id: &str) {
    let next = process.path("next.key");
    let (exit, rekeyed) = slot(process, &["rekey", id, "--key-file", &next.display().to_string()], b"");
    assert_eq!((exit, &rekeyed["done"]), (Some(0), &"rekeyed".into()), "{rekeyed}");
    fs::rename(next, process.path("root.key")).unwrap();
}

fn of_id(process: &Process, kind: &str) -> String {
    listed(process).into_iter().find(|(of, _)| of == kind).unwrap().1
}

fn slot_changes(process: &Process) -> Vec<Value> {
    let audit = process.json(&["audit", "list"]);
    let items = audit["items"].as_array().unwrap().iter();
    items.filter(|item| item["kind"] == "keyring.slots-changed").cloned().collect()
}

#[test]
fn a_rekeyed_key_file_and_an_old_keyring_start_nothing() {
    let mut process = Process::init("info");
    process.serve();
    process.set_up(b"value");
    process.stop();
    let (keyring, key) = (process.path("data/keyring"), process.path("root.key"));
    let (old_keyring, old_key) = (fs::read(&keyring).unwrap(), fs::read(&key).unwrap());
    assert_eq!(slot(&process, &["add", "--passphrase"], WORDS).0, Some(0));
    let old_with_words = fs::read(&keyring).unwrap();
    rekey_file(&process, &of_id(&process, "key-file"));
    assert_eq!(slot(&process, &["check", "--by-passphrase"], WORDS).0, Some(0), "its words were not at hand");

    let newest = (fs::read(&keyring).unwrap(), fs::read(&key).unwrap());
    for old in [old_keyring, old_with_words] {
        fs::write(&keyring, &old).unwrap();
        fs::write(&key, &old_key).unwrap();
        let (exit, said) = process.refused_serve();
        assert!(exit == Some(10) && said.contains("keyring_older"), "{said}");
        assert_eq!(fs::read(&keyring).unwrap(), old, "nothing was written");
    }
    fs::write(&keyring, &newest.0).unwrap();
    fs::write(&key, &newest.1).unwrap();
    process.serve();
    assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"value", "nothing was lost");
    let changes = slot_changes(&process);
    let roots: Vec<Option<&str>> = changes.iter().map(|one| one["event"]["root"].as_str()).collect();
    assert!(matches!(roots[..], [Some(first), None, Some(second)] if first != second), "{roots:?}");
    process.good_as("a", &["get", "github/app"], b"");
    process.stop();
    process.serve();
    assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"value", "and after the value key turned");
}

#[test]
fn slots_whose_keys_are_not_at_hand_open_after_a_removal() {
    let mut process = Process::init("info");
    process.serve();
    process.set_up(b"value");
    process.stop();
    let directory = process.path("shares").display().to_string();
    let deal = ["add", "--shares", "3", "--threshold", "2", "--shares-dir", &directory];
    assert_eq!(slot(&process, &deal, b"").0, Some(0));
    assert_eq!(slot(&process, &["add", "--passphrase"], WORDS).0, Some(0));
    let file = of_id(&process, "key-file");
    let (exit, removed) = slot(&process, &["remove", &file, "--by-passphrase"], WORDS);
    assert_eq!(exit, Some(0), "{removed}");
    refused(&slot(&process, &["check"], b""), 10, "root_key_wrong");
    let mut shares: Vec<String> =
        fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path().display().to_string()).collect();
    shares.sort();
    let by_shares = ["check", "--by-share-file", &shares[0], "--by-share-file", &shares[2]];
    assert_eq!(slot(&process, &by_shares, b"").0, Some(0));

    let key = process.path("next.key").display().to_string();
    let add = ["add", "--key-file", &key, "--by-share-file", &shares[1], "--by-share-file", &shares[2]];
    assert_eq!(slot(&process, &add, b"").0, Some(0));
    fs::rename(process.path("next.key"), process.path("root.key")).unwrap();
    process.serve();
    assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"value");
}

/// A stop between the keyring's rename and the entry that says so: the new keyring, and ledger and index of before.
#[test]
fn a_stop_before_the_entry_of_a_rotation_is_recorded_by_the_next_start() {
    let mut process = Process::init("info");
    process.serve();
    process.set_up(b"value");
    process.stop();
    let before = process.path("before");
    let copied = Command::new("cp").arg("-a").args([process.path("data"), before.clone()]).status().unwrap();
    assert!(copied.success());
    rekey_file(&process, &of_id(&process, "key-file"));
    let newest = fs::read(process.path("data/keyring")).unwrap();
    fs::remove_dir_all(process.path("data")).unwrap();
    fs::rename(before, process.path("data")).unwrap();
    fs::write(process.path("data/keyring"), newest).unwrap();

    process.serve();
    assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"value", "nothing was lost");
    let changes = slot_changes(&process);
    assert_eq!(changes.last().unwrap()["event"]["by"], "found at start", "{changes:?}");
    assert!(changes.last().unwrap()["event"]["root"].is_string());
}
