//! How a sealed broker starts, and how it is looked at without a key on the machine.

use std::fs;
use std::process::Command;

use keyward::ledger::lock_file;
use serde_json::json;

use crate::sealing::{WORDS, entries, refused, verb};
use crate::support::host::until;
use crate::support::process::{KEYWARD, Process};

#[test]
fn a_broker_that_cannot_start_says_why_and_stays_sealed() {
    let mut process = Process::init_attended("info", WORDS);
    process.spawn();
    until(&process.socket(), "sealed");
    let lock = lock_file(&process.path("data/lock")).unwrap().unwrap();
    let failed = verb(&process, &["unseal"], WORDS.as_bytes());
    refused(&failed, 10, "unseal_failed");
    assert!(failed.1["detail"].as_str().unwrap().starts_with("data_dir_in_use: "), "{failed:?}");
    drop(lock);
    // Slots are changed under the same lock, while the broker is sealed.
    let key = process.path("spare.key").display().to_string();
    let add = ["slot", "add", "--key-file", &key, "--by-passphrase"];
    assert_eq!(verb(&process, &add, WORDS.as_bytes()).0, Some(0));
    assert_eq!(verb(&process, &["unseal", "--key-file", "-"], &fs::read(&key).unwrap()).0, Some(0));
    let told = entries(&process, &["broker.unsealed"]);
    assert_eq!((&told[0]["event"]["with"], &told[0]["event"]["refused"]), (&json!("key-file"), &json!(1)));
}

#[test]
fn unsealed_broker_in_read_only_mode_is_not_called_ready() {
    let mut process = Process::init_attended("info", WORDS);
    process.serve_args = vec!["--read-only"];
    process.spawn();
    until(&process.socket(), "sealed");
    // An empty passphrase is no wrong one.
    refused(&verb(&process, &["unseal"], b"\n"), 2, "usage");
    let said = |args: &[&str], input: &[u8]| {
        let output = process.run_as("host", &[args, &["--config", &process.config()]].concat(), input);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let unsealed = said(&["unseal"], WORDS.as_bytes());
    assert!(unsealed.contains("is open, and not ready: ") && unsealed.contains("(read_only)"), "{unsealed}");
    assert!(
        said(&["adopt"], b"").contains("is sealed then"),
        "the running broker starts again without its key"
    );
}

#[test]
fn enough_shares_open_a_sealed_broker_and_fewer_do_not() {
    let mut process = Process::init_attended("info", WORDS);
    let shares = process.path("shares");
    fs::create_dir(&shares).unwrap();
    let dir = shares.display().to_string();
    let add = ["slot", "add", "--shares", "3", "--threshold", "2", "--shares-dir", &dir, "--by-passphrase"];
    assert_eq!(verb(&process, &add, WORDS.as_bytes()).0, Some(0));
    let mut files: Vec<String> =
        fs::read_dir(&shares).unwrap().map(|file| file.unwrap().path().display().to_string()).collect();
    files.sort();
    process.spawn();
    until(&process.socket(), "sealed");
    refused(&verb(&process, &["unseal", "--share-file", &files[0]], b""), 2, "unseal_malformed");
    let both = ["unseal", "--share-file", &files[0], "--share-file", &files[2]];
    assert_eq!(verb(&process, &both, b"").0, Some(0));
    assert_eq!(entries(&process, &["broker.unsealed"])[0]["event"]["with"], "shares");
    assert_eq!(verb(&process, &["seal"], b"").0, Some(0));
    let piped: Vec<u8> = files[..2].iter().flat_map(|file| fs::read(file).unwrap()).collect();
    assert_eq!(verb(&process, &["unseal", "--shares"], &piped).0, Some(0));
    assert_eq!(verb(&process, &["seal"], b"").0, Some(0));
    let key = process.path("spare.key").display().to_string();
    let list = verb(&process, &["slot", "list"], b"");
    let slot = list.1["items"].as_array().unwrap().iter().find(|item| item["kind"] == "shares").unwrap();
    let rekey = ["slot", "rekey", slot["id"].as_str().unwrap(), "--key-file", &key, "--by-passphrase"];
    assert_eq!(verb(&process, &rekey, WORDS.as_bytes()).0, Some(0));
    refused(&verb(&process, &both, b""), 4, "unseal_key_wrong");
}

#[test]
fn unseal_uses_the_key_file_of_the_configuration() {
    // Given a sealed broker whose configuration names a key file
    let mut process = Process::init("info");
    process.serve();
    assert_eq!(verb(&process, &["seal"], b"").0, Some(0));
    // When the user names no key, then the file unseals it
    let (exit, state) = verb(&process, &["unseal"], b"");
    assert_eq!((exit, &state["state"]), (Some(0), &json!("open")), "{state}");
    // When the file is missing, and no slot has a passphrase, then the refusal names the option
    assert_eq!(verb(&process, &["seal"], b"").0, Some(0));
    let kept = process.path("kept.key");
    fs::rename(process.path("root.key"), &kept).unwrap();
    let refusal = verb(&process, &["unseal"], b"");
    refused(&refusal, 2, "usage");
    let fix = refusal.1["fix"].as_str().unwrap();
    assert!(fix.contains("`keyward unseal --key-file FILE`") && !fix.contains("--shares"), "{fix}");
    assert_eq!(verb(&process, &["unseal", "--key-file", &kept.display().to_string()], b"").0, Some(0));
}

#[test]
fn an_attended_broker_works_without_a_key_on_the_machine() {
    let process = Process::init_attended("info", WORDS);
    let config = process.config();
    let reissue = ["init", "--reissue-operator", "--passphrase"];
    for (command, option) in
        [(&["init", "--reissue-operator"][..], "`--passphrase`"), (&["slot", "check"], "`--by-passphrase`")]
    {
        let refusal = verb(&process, command, b"");
        refused(&refusal, 10, "root_key_unusable");
        assert!(refusal.1["fix"].as_str().unwrap().contains(option), "{}", refusal.1);
    }
    refused(&verb(&process, &reissue, b"CNRY other words entirely"), 4, "passphrase_wrong");
    assert_eq!(verb(&process, &reissue, WORDS.as_bytes()).0, Some(0));
    refused(&verb(&process, &["slot", "remove", "--yes", "slot_x"], b""), 7, "slot_unknown");
    assert_eq!(verb(&process, &["verify"], b"").1["opened"], false);
    let doctor = process.run_as("host", &["doctor", "--config", &config], b"");
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("keyward unseal"));
    fs::remove_dir_all(process.path("data")).unwrap();
    fs::remove_dir_all(process.path("home-host")).unwrap();
    refused(&verb(&process, &["init"], b""), 2, "usage");
    let output = Command::new(KEYWARD).args(["serve", "--config", &config]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("not_initialised"));
}
