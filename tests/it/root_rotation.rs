//! Rekeying and removing an unseal key revokes it: the root key is replaced.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::slots::{listed, refused, slot};
use crate::support::process::{Process, files, put_back};

const WORDS: &[u8] = b"CNRY correct horse battery staple";

/// What an operator does about a key file that is in the wrong hands: another one in its place.
pub(crate) fn rekey_file(process: &Process, id: &str) {
    let next = process.path("next.key");
    let (exit, rekeyed) = slot(process, &["rekey", id, "--key-file", &next.display().to_string()], b"");
    assert_eq!((exit, &rekeyed["done"]), (Some(0), &"rekeyed".into()), "{rekeyed}");
    fs::rename(next, process.path("root.key")).unwrap();
}

pub(crate) fn of_id(process: &Process, kind: &str) -> String {
    listed(process).into_iter().find(|(of, _)| of == kind).unwrap().1
}

pub(crate) fn slot_changes(process: &Process) -> Vec<Value> {
    let audit = process.json(&["audit", "list", "--oldest-first", "--limit", "500"]);
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
        assert!(exit == Some(10) && said.contains("keyring_outdated"), "{said}");
        let says_when = said.contains("if only slots were added since then");
        assert!(says_when || !said.contains("serve --accept-lost-entries"), "it does not help: {said}");
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
    let (exit, removed) = slot(&process, &["remove", "--yes", &file, "--by-passphrase"], WORDS);
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
    put_back(&before, &process.path("data"));
    fs::write(process.path("data/keyring"), newest).unwrap();

    process.serve();
    assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"value", "nothing was lost");
    let changes = slot_changes(&process);
    assert_eq!(changes.last().unwrap()["event"]["by"], "found at start", "{changes:?}");
    assert!(changes.last().unwrap()["event"]["root"].is_string());
}

fn head(process: &Process) -> u64 {
    process.json(&["verify", "--config", &process.config()])["head"].as_u64().unwrap()
}

/// A thief with the key and the keyring from before a rotation can seal entries of that time.
#[test]
fn a_history_rewritten_under_the_keys_before_a_rotation_is_refused_key_13() {
    // Given another history of the same length, under the keys of before: agent `a` was not revoked.
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    process.stop();
    let (data, common, forged) = (process.path("data"), process.path("common"), process.path("forged"));
    put_back(&data, &common);
    process.serve();
    process.good_as("a", &["token", "github.repo.read"], b"");
    process.stop();
    let length = head(&process);
    put_back(&data, &forged);
    put_back(&common, &data);
    process.serve();
    process.good(&["agent", "revoke", "a"], b"");
    process.stop();
    rekey_file(&process, &of_id(&process, "key-file"));
    let rotated = head(&process);
    assert_eq!(rotated, length + 1, "the entry of the rotation is the first one under the new keys");
    let newest = process.path("newest");
    put_back(&data, &newest);
    // When it takes the place of the entries before the rotation, with or without what it left behind.
    let first = format!("{rotated:020}.seg");
    assert!(data.join("ledger").join(&first).is_file(), "{:?}", files(&data));
    for with in [&["index", "anchor"][..], &["anchor"], &[]] {
        put_back(&newest, &data);
        for path in files(&data.join("ledger")) {
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.ends_with(".seg") && name < first.as_str() {
                fs::remove_file(path).unwrap();
            }
        }
        let of_forged = files(&forged.join("ledger")).into_iter();
        for path in of_forged.filter(|path| path.extension().is_some_and(|end| end == "seg")) {
            fs::copy(&path, data.join("ledger").join(path.file_name().unwrap())).unwrap();
        }
        fs::remove_dir_all(data.join("index")).unwrap();
        fs::remove_file(data.join("anchor")).unwrap();
        for name in with {
            let (from, to) = (forged.join(name), data.join(name));
            if from.is_dir() {
                put_back(&from, &to);
            } else {
                fs::copy(from, to).unwrap();
            }
        }
        // Then the broker does not start, even if an operator accepts a loss; `verify` reports the same.
        for flags in [&[][..], &["--accept-lost-entries"]] {
            process.serve_args = flags.to_vec();
            let (exit, said) = process.refused_serve();
            assert!(exit != Some(0) && said.contains("ledger_damaged"), "{with:?}, {flags:?}: {said}");
        }
        let verified = process.run_as("host", &["verify", "--config", &process.config()], b"");
        let said = String::from_utf8(verified.stderr).unwrap();
        assert!(!verified.status.success() && said.contains("ledger_damaged"), "{with:?}: {said}");
    }
    // And with the entries that were there it starts, also without anchor and index.
    process.serve_args.clear();
    put_back(&newest, &data);
    fs::remove_dir_all(data.join("index")).unwrap();
    fs::remove_file(data.join("anchor")).unwrap();
    process.serve();
}
