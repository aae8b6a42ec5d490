//! A checkpoint kept elsewhere tells a cut tail and a rewritten beginning, and strangers can verify it.

use std::fs;
use std::path::PathBuf;

use crate::interop::python;
use crate::support::process::{Process, files};

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
    let note = process.path("checkpoint");
    fs::write(&note, curl("/v1/checkpoint")).unwrap();
    (note, curl("/v1/checkpoint/key").trim().to_owned())
}

fn verify(process: &Process, note: &str, key: &str) -> (Option<i32>, String) {
    let data = process.path("data").display().to_string();
    let output =
        process.run_as("x", &["verify", "--data-dir", &data, "--checkpoint", note, "--key", key], b"");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn aud_05_a_checkpoint_from_earlier_tells_cut_and_rewritten_ledgers() {
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
    assert_eq!((code, said.contains("checkpoint_refused")), (Some(11), true), "{said}");
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
