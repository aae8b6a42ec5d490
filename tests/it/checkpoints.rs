//! A checkpoint kept elsewhere tells a cut tail and a rewritten beginning, and strangers can verify it.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use keyward::base::encoding::base64;
use keyward::crypto::Ed25519Key;
use keyward::keyring::{Family, Keyring, SlotKey};
use serde_json::{Value, json};

use crate::interop::python;
use crate::sealing::entries;
use crate::support::broker::TestBroker;
use crate::support::process::{Process, files};
use crate::support::waiting::wait_until;
use crate::worst_day::{answer_again, hang, on_a_failing_disk, wait_for_the_hang};

/// The checkpoint and its key, as anybody gets them.
fn fetch(process: &Process) -> (PathBuf, String) {
    let home = process.path("home-a/agent");
    let address = fs::read_to_string(home.join("address")).unwrap();
    let authority = home.join("authority.pem").display().to_string();
    let curl = |path: &str| {
        let url = format!("https://{}{path}", address.trim());
        let output =
            std::process::Command::new("curl").args(["-sS", "--cacert", &authority, &url]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let key = curl("/v1/checkpoint/key").trim().to_owned();
    let note = process.path(&format!("checkpoint-{}", key.split('+').nth(1).unwrap()));
    fs::write(&note, curl("/v1/checkpoint")).unwrap();
    (note, key)
}

fn verify(process: &Process, note: &str, key: &str) -> (Option<i32>, String) {
    let data = process.path("data").display().to_string();
    let output =
        process.run_as("x", &["verify", "--data-dir", &data, "--checkpoint", note, "--key", key], b"");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn verify_without_checkpoint_and_key_does_not_say_ok() {
    let process = Process::init("warn");
    let dir = process.path("data").display().to_string();
    let verify = |args: &[&str]| {
        let output = process.run_as("x", &[&["verify"], args].concat(), b"");
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };

    let (code, said) = verify(&["--data-dir", &dir]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("no damage found: "), "{said}");
    assert!(said.contains("add `--checkpoint FILE --key KEY`"), "{said}");
    let (_, said) = verify(&["--config", &process.config()]);
    assert!(said.starts_with("ok: ") && !said.contains("note:"), "{said}");

    // A key that would not be used, and a directory without a ledger, are refused.
    let (code, said) = verify(&["--data-dir", &dir, "--root-key-file", "root-key"]);
    assert_eq!(code, Some(2), "{said}");
    let (_, said) = verify(&["--data-dir", "/nonexistent"]);
    assert!(said.contains("file_unusable") && said.contains("/nonexistent/ledger"), "{said}");
}

/// Hazard AUD-05.
#[test]
fn a_checkpoint_from_earlier_tells_cut_and_rewritten_ledgers() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let before = process.path("before");
    fs::create_dir(&before).unwrap();
    for file in files(&process.path("data/ledger")) {
        fs::copy(&file, before.join(file.file_name().unwrap())).unwrap();
    }
    process.good_as("a", &["token", "github.repo.read"], b"");
    let (note, key) = fetch(&process);
    let note = note.display().to_string();
    process.good_as("a", &["token", "github.repo.read"], b"");
    process.stop();

    let (code, said) = verify(&process, &note, &key);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("extends the checkpoint"), "{said}");
    let key_file = process.path("checkpoint.key").display().to_string();
    fs::write(&key_file, format!("{key}\n")).unwrap();
    let (code, said) = verify(&process, &note, &key_file);
    assert_eq!(code, Some(0), "the key in a file: {said}");
    let own = process.good(&["verify", "--config", &process.config(), "--checkpoint", &note], b"");
    assert!(String::from_utf8(own).unwrap().contains("extends the checkpoint"));

    let ledger = process.path("data/ledger");
    let now = process.path("now");
    fs::rename(&ledger, &now).unwrap();
    fs::rename(&before, &ledger).unwrap();
    let (code, said) = verify(&process, &note, &key);
    assert_eq!((code, said.contains("ledger_cut")), (Some(11), true), "{said}");

    let mut other = Process::init("warn");
    other.serve();
    other.set_up(b"value");
    for _ in 0..4 {
        other.good_as("a", &["token", "github.repo.read"], b"");
    }
    other.stop();
    fs::rename(&ledger, process.path("cut")).unwrap();
    fs::rename(other.path("data/ledger"), &ledger).unwrap();
    let (code, said) = verify(&process, &note, &key);
    assert_eq!((code, said.contains("ledger_forked")), (Some(11), true), "{said}");

    let altered = fs::read_to_string(&note).unwrap().replacen('\n', "x\n", 1);
    fs::write(&note, altered).unwrap();
    let (code, said) = verify(&process, &note, &key);
    assert_eq!((code, said.contains("checkpoint_invalid")), (Some(11), true), "{said}");
}

#[test]
fn a_stranger_verifies_the_checkpoint_and_refuses_an_altered_one() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let (note, key) = fetch(&process);
    let said = python("verify_note.py", &[&note.display().to_string(), &key]);
    assert!(said.contains("ok:"), "{said}");
}

/// The generations of the checkpoint key that are left in a keyring.
fn generations(keyring: &std::path::Path) -> Vec<u64> {
    let keyring = fs::read_to_string(keyring).unwrap();
    let keyring: Value = serde_json::from_str(keyring.lines().next().unwrap()).unwrap();
    let keys = keyring["keys"].as_array().unwrap().iter().filter(|key| key["family"] == CHECKPOINT);
    keys.map(|key| key["generation"].as_u64().unwrap()).collect()
}

const CHECKPOINT: u8 = keyward::keyring::Family::Checkpoint.number();

#[test]
fn one_trusted_checkpoint_key_leads_to_the_keys_before_and_after_it() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let mut kept = vec![fetch(&process)];
    for _ in 0..2 {
        process.good(&["checkpoint-key", "rotate"], b"");
        kept.push(fetch(&process));
    }
    assert_eq!(generations(&process.path("data/keyring")), [3], "those before have gone");
    process.stop();
    for (note, _) in &kept {
        let note = note.display().to_string();
        for (_, key) in &kept {
            let (code, said) = verify(&process, &note, key);
            assert_eq!(code, Some(0), "{said}");
        }
        process.good(&["verify", "--config", &process.config(), "--checkpoint", &note], b"");
    }

    // A key that nobody announced leads nowhere, and nowhere leads to it.
    let mut other = Process::init("warn");
    other.serve();
    other.set_up(b"value");
    let (stranger, strange_key) = fetch(&other);
    other.stop();
    let newest = kept[2].0.display().to_string();
    for (note, key) in [(newest.as_str(), &strange_key), (&stranger.display().to_string(), &kept[0].1)] {
        let (code, said) = verify(&process, note, key);
        assert_eq!((code, said.contains("checkpoint_invalid")), (Some(11), true), "{said}");
        assert!(said.contains("for another ledger"), "{said}");
    }
}

#[test]
fn verify_names_the_key_of_another_generation() {
    // Given a copy of the ledger, and a checkpoint, from before a rotation of the checkpoint key
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let (note, old) = fetch(&process);
    let before = process.path("before/ledger");
    fs::create_dir_all(&before).unwrap();
    for file in files(&process.path("data/ledger")) {
        fs::copy(&file, before.join(file.file_name().unwrap())).unwrap();
    }
    process.good(&["checkpoint-key", "rotate"], b"");
    let (later, new) = fetch(&process);
    process.stop();
    let hash = |key: &str| key.split('+').nth(1).unwrap().to_owned();
    let verify = |note: &PathBuf, key: &str| {
        let (copy, note) = (process.path("before").display().to_string(), note.display().to_string());
        let args = ["verify", "--data-dir", &copy, "--checkpoint", &note, "--key", key];
        let output = process.run_as("x", &args, b"");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), said)
    };
    assert_eq!(verify(&note, &old).0, Some(0));
    // When the copy does not lead from the trusted key to the signing one, then both keys are named, and where to find them
    let (exit, said) = verify(&note, &new);
    assert!(exit == Some(11) && said.contains("error: checkpoint_key_differs"), "{said}");
    assert!(said.contains(&hash(&old)) && said.contains(&hash(&new)), "{said}");
    assert!(said.contains("`keyward audit list --kind checkpoint-key.rotated -o json`"), "{said}");
    assert!(!said.contains("the ledger only"), "{said}");
    // When the copy has fewer entries than the checkpoint, then that is said, too
    let (exit, said) = verify(&later, &old);
    assert!(exit == Some(11) && said.contains("error: checkpoint_key_differs"), "{said}");
    assert!(said.contains("the ledger only") && said.contains("may be one of the missing ones"), "{said}");
}

/// A checkpoint of all that there is, by the first checkpoint key of a keyring that was kept.
fn by_the_first_key(process: &Process, keyring: &std::path::Path, verifier: &str) -> String {
    let said = process.good(&["verify", "--config", &process.config(), "-o", "json"], b"");
    let said: Value = serde_json::from_slice(&said).unwrap();
    let root: Vec<u8> = from_hex(said["root"].as_str().unwrap());
    let slot = SlotKey::from_file(&process.path("root.key")).unwrap();
    let keyring = Keyring::open(keyring, &slot).unwrap();
    let key = Ed25519Key::from_pkcs8(keyring.signing(Family::Checkpoint, 1).unwrap()).unwrap();
    let mut parts = verifier.split('+');
    let (name, hash) = (parts.next().unwrap(), from_hex(parts.next().unwrap()));
    let text = format!("{name}\n{}\n{}\n", said["entries"], base64(&root));
    let signature = [hash, key.sign(text.as_bytes())].concat();
    format!("{text}\n\u{2014} {name} {}\n", base64(&signature))
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_retired_checkpoint_key_counts_up_to_its_successors_entry() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let kept = process.path("keyring-of-then");
    fs::copy(process.path("data/keyring"), &kept).unwrap();
    let (_, first) = fetch(&process);
    process.good(&["checkpoint-key", "rotate"], b"");
    let (newest, second) = fetch(&process);
    process.good_as("a", &["token", "github.repo.read"], b"");
    process.stop();
    let note = process.path("by-a-retired-key");
    fs::write(&note, by_the_first_key(&process, &kept, &first)).unwrap();
    let note = note.display().to_string();
    for key in [&first, &second] {
        let (code, said) = verify(&process, &note, key);
        assert_eq!((code, said.contains("checkpoint_invalid")), (Some(11), true), "{said}");
        assert!(said.contains("retired by entry"), "{said}");
        assert_eq!(verify(&process, &newest.display().to_string(), key).0, Some(0), "the twin");
    }
}

#[tokio::test]
async fn the_checkpoint_key_turns_by_its_schedule_and_by_hand() {
    let broker = TestBroker::start_with("[checkpoints]\nkey_life_s = 86400\n").await;
    let keyring = broker.data().join("keyring");
    assert_eq!(generations(&keyring), [1]);
    let turned = broker.operator().post_json("/v1/checkpoint-key/rotate", &json!({})).await;
    assert_eq!((turned.status, &turned.json()["generation"]), (200, &2.into()), "{}", turned.text());
    assert_eq!(broker.entries("checkpoint-key.rotated").await.len(), 1);
    broker.clock.advance_s(86_000);
    broker.look_after().await;
    assert_eq!(generations(&keyring), [2], "not yet");
    broker.clock.advance_s(400);
    broker.look_after().await;
    assert_eq!(generations(&keyring), [3], "and the one before has gone");
}

/// Every point at which a turn of the checkpoint key becomes durable: the broker is killed there.
/// Hazard ROT-15.
#[test]
fn checkpoints_verify_after_a_kill_at_any_step_of_a_key_rotation() {
    let mut process = Process::init("warn");
    process.load_faults(0);
    process.serve();
    process.set_up(b"value");
    let (first, key) = fetch(&process);
    process.arm("count 0");
    process.good(&["checkpoint-key", "rotate"], b"");
    let points = process.counted().points;
    process.disarm();
    assert!(points >= 5, "an entry and two keyrings: {points}");
    for at in 1..=points {
        process.arm(&format!("kill {at}"));
        process.run_as("operator", &["checkpoint-key", "rotate"], b"");
        process.was_killed(at, points);
        process.disarm();
        process.serve();
        let (newest, _) = fetch(&process);
        for note in [&newest, &first] {
            let (code, said) = verify(&process, &note.display().to_string(), &key);
            assert_eq!(code, Some(0), "after a kill at {at}: {said}");
        }
        process.good(&["checkpoint-key", "rotate"], b"");
        assert_eq!(generations(&process.path("data/keyring")).len(), 1, "after a kill at {at}");
    }
}

#[test]
fn a_checkpoint_key_rotation_is_retried_after_a_conflict() {
    let mut process = Process::init("warn");
    process.serve();
    process.set_up(b"value");
    let process = on_a_failing_disk(process);
    let keyring = || fs::read(process.path("data/keyring")).unwrap();
    let spawn = |verb: [&str; 2]| {
        let mut command = process.command("operator", &verb);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    // A stage of the authority is in the group commit that hangs; the rotation was decided before it, and comes after.
    let before = keyring();
    hang(&process);
    let staging = spawn(["authority", "prepare"]);
    wait_until(|| keyring() != before);
    wait_for_the_hang(&process);
    let prepared = keyring();
    let turning = spawn(["checkpoint-key", "rotate"]);
    wait_until(|| keyring() != prepared);
    answer_again(&process);
    for under_way in [staging, turning] {
        let done = under_way.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    assert_eq!(entries(&process, &["checkpoint-key.rotated"]).len(), 1);
    let (note, key) = fetch(&process);
    let (code, said) = verify(&process, &note.display().to_string(), &key);
    assert_eq!(code, Some(0), "{said}");
}
