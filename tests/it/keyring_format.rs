//! The keyring, read by a program that has nothing of Keyward's but the specification.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::interop::python_path;
use crate::readme::root;
use crate::root_rotation::{of_id, rekey_file, slot_changes};
use crate::slots::slot;
use crate::support::process::Process;

const WORDS: &[u8] = b"correct horse battery staple";

/// What the independent reader says of a keyring.
fn read(keyring: &Path, kind: &str, keys: &[&Path]) -> Output {
    let reader = root().join("tests/it/support/python/read_keyring.py");
    let mut command = Command::new(python_path());
    command.arg(reader).arg(keyring).arg(kind).args(keys);
    command.output().unwrap_or_else(|error| panic!("{error}: run scripts/test"))
}

fn opened(keyring: &Path, kind: &str, keys: &[&Path]) -> Value {
    let output = read(keyring, kind, keys);
    assert!(output.status.success(), "{kind}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn an_independent_reader_opens_the_vectors_of_the_specification() {
    let vectors = fs::read_to_string(root().join("docs/reference/keyring-vectors.json")).unwrap();
    let vectors: Value = serde_json::from_str(&vectors).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &Value| {
        let path = directory.path().join(name);
        fs::write(&path, text.as_str().unwrap()).unwrap();
        path
    };
    let keyring = file("keyring", &vectors["keyring"]);
    let (key, words) = (file("key", &vectors["key_file"]), file("words", &vectors["passphrase"]));
    let shares: Vec<_> = (0..3).map(|at| file(&format!("share-{at}"), &vectors["shares"][at])).collect();
    let all: [(&str, &[&Path]); 4] = [
        ("key-file", &[&key]),
        ("passphrase", &[&words]),
        ("shares", &[&shares[0], &shares[2]]),
        ("shares", &[&shares[1], &shares[2]]),
    ];
    for (kind, keys) in all {
        assert_eq!(opened(&keyring, kind, keys), vectors["opens"], "{kind}");
    }
    assert!(!read(&keyring, "shares", &[&shares[1]]).status.success(), "one of two");
}

#[test]
fn an_independent_reader_opens_what_the_broker_writes() {
    // Given a keyring with each kind of slot, whose root key was replaced.
    let mut process = Process::init("warn");
    let directory = process.path("shares").display().to_string();
    let deal = ["add", "--shares", "3", "--threshold", "2", "--shares-dir", &directory];
    assert_eq!(slot(&process, &deal, b"").0, Some(0));
    assert_eq!(slot(&process, &["add", "--passphrase"], WORDS).0, Some(0));
    rekey_file(&process, &of_id(&process, "key-file"));
    // When the reader opens it by each.
    let (keyring, words) = (process.path("data/keyring"), process.path("words"));
    fs::write(&words, WORDS).unwrap();
    let mut shares: Vec<_> = fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()).collect();
    shares.sort();
    let read_by_file = opened(&keyring, "key-file", &[&process.path("root.key")]);
    for (kind, keys) in [("passphrase", vec![&*words]), ("shares", vec![&*shares[2], &*shares[0]])] {
        assert_eq!(opened(&keyring, kind, &keys), read_by_file, "{kind}");
    }
    // Then it finds the root keys that the ledger names, and no other file.
    process.serve();
    let roots: Vec<Value> = slot_changes(&process).iter().map(|one| one["event"]["root"].clone()).collect();
    let roots: Vec<&Value> = roots.iter().filter(|root| root.is_string()).collect();
    assert_eq!(roots, [&read_by_file["earlier_root_ids"][0], &read_by_file["root_id"]]);
    let text = fs::read_to_string(&keyring).unwrap();
    fs::write(&keyring, text.replace("\"revision\":", "\"revision\":1")).unwrap();
    assert!(!read(&keyring, "key-file", &[&process.path("root.key")]).status.success(), "altered");
}
