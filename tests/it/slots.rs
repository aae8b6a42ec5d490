//! Key slots by the command line: more than one way to the same keyring, each independent.

use std::fs;
use std::process::Command;

use keyward::base::encoding::{base64url, hex};
use keyward::base::limits::PASSPHRASE_BYTES_MAX;
use serde_json::Value;

use crate::support::process::{KEYWARD, Process, files};

const WORDS: &str = "CNRY correct horse battery staple";

/// `keyward slot …` on the data directory of `process`.
pub(crate) fn slot(process: &Process, args: &[&str], input: &[u8]) -> (Option<i32>, Value) {
    let config = process.config();
    let output =
        process.run_as("host", &[&["slot"], args, &["--config", &config, "-o", "json"]].concat(), input);
    let said = if output.status.success() { output.stdout } else { output.stderr };
    let said = String::from_utf8(said).unwrap();
    assert!(!said.contains("CNRY"), "{said}");
    // Notes come before a failure.
    let from = said.find("{").unwrap_or_else(|| panic!("no JSON: {said}"));
    (output.status.code(), serde_json::from_str(&said[from..]).unwrap())
}

pub(crate) fn listed(process: &Process) -> Vec<(String, String)> {
    let (_, list) = slot(process, &["list"], b"");
    let field = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
    list["items"].as_array().unwrap().iter().map(|item| (field(item, "kind"), field(item, "id"))).collect()
}

pub(crate) fn refused(done: &(Option<i32>, Value), exit: i32, code: &str) {
    assert_eq!((done.0, done.1["code"].as_str()), (Some(exit), Some(code)), "{done:?}");
    assert!(!done.1["fix"].as_str().unwrap().is_empty());
}

#[test]
fn a_passphrase_brings_back_a_broker_whose_key_file_is_lost() {
    let mut process = Process::init("info");
    process.serve();
    process.set_up(b"value");
    process.stop();
    let (exit, added) = slot(&process, &["add", "--passphrase"], format!("{WORDS}\n").as_bytes());
    assert_eq!((exit, &added["kind"]), (Some(0), &"passphrase".into()), "{added}");

    // When others can read the key file, then its mode is the problem, and no other slot is needed
    let with_mode = |mode| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(process.path("root.key"), fs::Permissions::from_mode(mode)).unwrap();
    };
    with_mode(0o644);
    let (_, said) = process.refused_serve();
    assert!(said.contains("chmod 600") && !said.contains("slot add"), "{said}");
    with_mode(0o600);
    // When it is lost
    fs::remove_file(process.path("root.key")).unwrap();
    let (exit, said) = process.refused_serve();
    assert!(exit == Some(10) && said.contains("root_key_unusable"), "{said}");
    let file = process.path("root.key").display().to_string();
    // Then the failed start names the slot that is left, and the check of the host does, too
    let way = format!("`keyward slot add --key-file {file} --by-passphrase`");
    assert!(said.contains(&way), "{said}");
    let doctored = process.run_as("host", &["doctor", "--config", &process.config(), "-o", "json"], b"");
    assert!(String::from_utf8_lossy(&doctored.stdout).contains(&way), "{doctored:?}");
    let add = ["add", "--key-file", &file, "--by-passphrase"];
    refused(&slot(&process, &add, b"CNRY something else again"), 4, "passphrase_wrong");
    fs::remove_file(process.path("root.key")).unwrap();
    assert_eq!(slot(&process, &add, WORDS.as_bytes()).0, Some(0));
    let slots = listed(&process);
    assert_eq!(
        slots.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(),
        ["key-file", "passphrase", "key-file"]
    );
    // The file that was lost may be in other hands: it opens nothing any more.
    // Without a terminal, a removal is confirmed with `--yes`
    let (exit, said) = slot(&process, &["remove", &slots[0].1], b"");
    assert!(exit == Some(2) && said["fix"].as_str().unwrap().contains("`--yes`"), "{said}");
    assert_eq!(listed(&process).len(), 3);
    assert_eq!(slot(&process, &["remove", "--yes", &slots[0].1], b"").0, Some(0));

    process.serve();
    assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"value", "nothing was lost");
    let audit = process.json(&["audit", "list", "--oldest-first", "--limit", "500"]);
    let entries = audit["items"].as_array().unwrap().iter();
    let changes: Vec<&Value> = entries.filter(|item| item["kind"] == "keyring.slots-changed").collect();
    assert_eq!(changes.len(), 4, "the first one, two that came, one that went: {changes:?}");
    assert!(changes.iter().all(|one| one["event"]["by"].as_str().unwrap().starts_with("host uid ")));
    assert_eq!(changes[3]["event"]["removed"][0]["id"].as_str().unwrap(), slots[0].1);
}

#[test]
fn a_slot_gets_another_key_in_one_step_and_the_broker_starts_with_it() {
    let mut process = Process::init("info");
    let only = listed(&process)[0].1.clone();
    let (old, new) = (process.path("root.key"), process.path("next.key"));
    let same = old.display().to_string();
    refused(&slot(&process, &["rekey", &only, "--key-file", &same], b""), 8, "slot_key_unchanged");
    let next = new.display().to_string();
    let (exit, rekeyed) = slot(&process, &["rekey", &only, "--key-file", &next], b"");
    assert_eq!((exit, &rekeyed["done"]), (Some(0), &"rekeyed".into()), "{rekeyed}");
    assert_eq!(listed(&process), [("key-file".to_owned(), rekeyed["id"].as_str().unwrap().to_owned())]);
    let (exit, said) = process.refused_serve();
    assert!(exit == Some(10) && said.contains("root_key_wrong"), "the key of before opens nothing: {said}");
    fs::rename(&new, &old).unwrap();
    process.serve();
    let audit = process.json(&["audit", "list", "--oldest-first", "--limit", "500"]);
    let mut entries = audit["items"].as_array().unwrap().iter();
    let last = entries.rfind(|item| item["kind"] == "keyring.slots-changed").unwrap();
    assert_eq!(last["event"]["removed"][0]["id"].as_str().unwrap(), only);
    assert_eq!(last["event"]["added"][0]["id"], rekeyed["id"]);
}

#[test]
fn a_key_file_that_cannot_be_written_leaves_no_part() {
    let process = Process::init("info");
    let key = process.path("spare.key");
    let add = |limit: &str| {
        // A write beyond this size fails, as on a full disk.
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, KEYWARD, "slot", "add", "--config", &process.config(), "--key-file"]);
        command.arg(&key).output().unwrap()
    };
    let refused = add("0");
    assert!(!refused.status.success() && !key.exists(), "{refused:?}");
    let added = add("unlimited");
    assert!(added.status.success(), "{added:?}");
}

#[test]
fn the_last_slot_stays_and_nothing_is_changed_under_a_broker_that_runs() {
    let mut process = Process::init("info");
    let only = listed(&process)[0].1.clone();
    refused(&slot(&process, &["remove", "--yes", &only], b""), 8, "last_slot");
    let other = format!("slot_{}", "0".repeat(26));
    refused(&slot(&process, &["remove", "--yes", &other], b""), 7, "slot_unknown");
    refused(&slot(&process, &["remove", "--yes", "no-id"], b""), 7, "slot_unknown");
    process.serve();
    let before = fs::read(process.path("data/keyring")).unwrap();
    refused(&slot(&process, &["add", "--passphrase"], WORDS.as_bytes()), 10, "data_dir_in_use");
    assert_eq!(fs::read(process.path("data/keyring")).unwrap(), before);
    assert_eq!(listed(&process).len(), 1, "looking is free");
}

#[test]
fn a_passphrase_that_is_none_is_refused_before_anything_is_made() {
    let process = Process::init("info");
    for bad in [&b"too short"[..], b"", b"two\nlines of many words", &[b'x'; PASSPHRASE_BYTES_MAX + 1]] {
        let done = slot(&process, &["add", "--passphrase"], bad);
        assert_eq!((done.0, done.1["code"].as_str()), (Some(2), Some("passphrase_refused")));
    }
    assert_eq!(listed(&process).len(), 1);
    // As an argument it is no option's value, and refused by the parser.
    let config = process.config();
    let output = process.run_as("host", &["slot", "add", "--passphrase=CNRY", "--config", &config], b"");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn init_can_make_a_passphrase_slot_and_the_words_are_nowhere() {
    let process = Process::init("trace");
    fs::remove_dir_all(process.path("data")).unwrap();
    fs::remove_dir_all(process.path("home-operator")).unwrap();
    fs::write(process.path("words"), WORDS).unwrap();
    let words = process.path("words").display().to_string();
    process.good(&["init", "--config", &process.config(), "--passphrase-file", &words], b"");
    fs::remove_file(&words).unwrap();
    assert_eq!(
        listed(&process).iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(),
        ["key-file", "passphrase"]
    );
    let add = ["add", "--passphrase", "--by-passphrase-file", "-"];
    let twice = slot(&process, &add, WORDS.as_bytes());
    refused(&twice, 2, "usage");
    for path in files(process.dir.path()) {
        let bytes = fs::read(&path).unwrap();
        for spelling in [WORDS.to_owned(), hex(WORDS.as_bytes()), base64url(WORDS.as_bytes())] {
            assert!(memchr::memmem::find(&bytes, spelling.as_bytes()).is_none(), "{}", path.display());
        }
    }
}
