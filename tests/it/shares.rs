//! Slots of shares by the command line: handed out, handed back, and only then relied upon.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::guides::{blocks, said, shell};
use crate::slots::{listed, refused, slot};
use crate::support::host::until;
use crate::support::process::{KEYWARD, Process, files};
use crate::support::terminal::TypedCommand;

const DEAL: [&str; 5] = ["add", "--shares", "5", "--threshold", "3"];

/// The shares that `slot add` or `slot rekey` printed, and the id of the slot that waits for them.
fn dealt(process: &Process, args: &[&str]) -> (String, Vec<String>) {
    let (exit, said) = slot(process, args, b"");
    assert_eq!((exit, &said["done"], &said["state"]), (Some(0), &"dealt".into(), &"unconfirmed".into()));
    let shares = said["shares"].as_array().unwrap().iter().map(|share| share.as_str().unwrap().to_owned());
    (said["id"].as_str().unwrap().to_owned(), shares.collect())
}

fn kinds(process: &Process) -> Vec<String> {
    listed(process).into_iter().map(|(kind, _)| kind).collect()
}

fn lines(shares: &[&String]) -> Vec<u8> {
    shares.iter().map(|share| format!("{share}\n")).collect::<String>().into_bytes()
}

/// `args` with the options of `files`.
fn with_files<'a>(args: &[&'a str], option: &'a str, files: &'a [String]) -> Vec<&'a str> {
    let options = files.iter().flat_map(|file| [option, file.as_str()]);
    args.iter().copied().chain(options).collect()
}

#[test]
fn three_of_five_people_bring_back_a_broker_whose_key_file_is_lost() {
    let mut process = Process::init("info");
    process.serve();
    process.set_up(b"value");
    process.stop();
    let first = listed(&process)[0].1.clone();
    let (id, shares) = dealt(&process, &DEAL);
    assert_eq!(shares.len(), 5);
    let (_, list) = slot(&process, &["list"], b"");
    let item = &list["items"][1];
    assert_eq!(
        (&item["state"], &item["threshold"], &item["shares"]),
        (&"unconfirmed".into(), &3.into(), &5.into())
    );

    // Handed out is not handed back: nothing opens by it, and nothing relies on it.
    let some = lines(&[&shares[4], &shares[0], &shares[2]]);
    refused(&slot(&process, &["check", "--by-shares"], &some), 8, "slot_unconfirmed");
    refused(&slot(&process, &["remove", "--yes", &first], b""), 8, "last_slot");
    refused(&slot(&process, &DEAL, b""), 8, "slot_unconfirmed");
    let (exit, confirmed) = slot(&process, &["confirm"], &some);
    assert_eq!((exit, confirmed["id"].as_str()), (Some(0), Some(id.as_str())), "{confirmed}");
    refused(&slot(&process, &["confirm"], &some), 8, "slot_not_pending");
    let others = lines(&[&shares[1], &shares[3], &shares[4]]);
    let (exit, checked) = slot(&process, &["check", "--by-shares"], &others);
    assert_eq!((exit, checked["id"].as_str()), (Some(0), Some(id.as_str())), "{checked}");

    fs::remove_file(process.path("root.key")).unwrap();
    let file = process.path("root.key").display().to_string();
    let add = ["add", "--key-file", &file, "--by-shares"];
    assert_eq!(slot(&process, &add, &others).0, Some(0));
    assert_eq!(slot(&process, &["remove", "--yes", &first, "--by-shares"], &some).0, Some(0));
    process.serve();
    assert_eq!(process.good_as("a", &["get", "github/app"], b""), b"value", "nothing was lost");
    let audit = process.json(&["audit", "list", "--oldest-first", "--limit", "500"]);
    let entries = audit["items"].as_array().unwrap().iter();
    let changes: Vec<&Value> = entries.filter(|item| item["kind"] == "keyring.slots-changed").collect();
    let added = |at: usize| changes[at]["event"]["added"][0]["kind"].as_str();
    assert_eq!([added(0), added(1), added(2)], [Some("key-file"), Some("shares"), Some("key-file")]);
    assert_eq!(changes.len(), 4, "that shares were handed out made no slot: {changes:?}");
}

#[test]
fn a_slot_is_rekeyed_to_and_from_shares_in_files() {
    let process = Process::init("info");
    let only = listed(&process)[0].1.clone();
    let directory = process.path("shares").display().to_string();
    let to_shares = ["rekey", &only, "--shares", "3", "--threshold", "2", "--shares-dir", &directory];
    let (exit, rekeyed) = slot(&process, &to_shares, b"");
    assert_eq!((exit, &rekeyed["done"]), (Some(0), &"rekeyed".into()), "{rekeyed}");
    let mut written: Vec<PathBuf> = files(&process.path("shares"));
    written.sort();
    assert!(written.iter().all(|file| fs::metadata(file).unwrap().mode() & 0o777 == 0o600));
    let names: Vec<String> = written.iter().map(|file| file.display().to_string()).collect();
    assert_eq!(names.len(), 3);
    assert_eq!(kinds(&process), ["shares"]);
    refused(&slot(&process, &["check"], b""), 10, "root_key_wrong");

    let check = ["check"];
    assert_eq!(slot(&process, &with_files(&check, "--by-share-file", &names[1..]), b"").0, Some(0));
    let id = listed(&process)[0].1.clone();
    let key = process.path("next.key").display().to_string();
    let back = ["rekey", &id, "--key-file", &key];
    let (exit, rekeyed) = slot(&process, &with_files(&back, "--by-share-file", &names[..2]), b"");
    assert_eq!((exit, &rekeyed["kind"]), (Some(0), &"key-file".into()), "{rekeyed}");
    assert_eq!(kinds(&process), ["key-file"]);
    refused(&slot(&process, &with_files(&check, "--by-share-file", &names), b""), 4, "shares_wrong");
}

#[test]
fn each_fault_of_shares_is_named_and_no_share_is_repeated() {
    let process = Process::init("info");
    let (id, first) = dealt(&process, &DEAL);
    assert_eq!(slot(&process, &["remove", "--yes", &id], b"").0, Some(0));
    let (_, shares) = dealt(&process, &DEAL);
    let before = fs::read(process.path("data/keyring")).unwrap();
    let mistyped = {
        let (rest, last) = shares[2].split_at(shares[2].len() - 1);
        format!("{rest}{}", if last == "Q" { "R" } else { "Q" })
    };
    let cut = shares[2][..shares[2].len() - 6].to_owned();
    let [one, two, three, ..] = &shares[..] else { panic!("five") };
    for (given, exit, code, says) in [
        (
            lines(&[one, two, &mistyped]),
            2,
            "share_invalid",
            "number 3 of the input does not match its checksum",
        ),
        (lines(&[one, &cut, two]), 2, "share_invalid", "number 2 is not a complete share"),
        (b"".to_vec(), 2, "share_invalid", "number 1 is not a complete share"),
        (lines(&[one, two, one]), 2, "shares_mismatch", "share 1 was given twice"),
        (lines(&[one, two]), 2, "shares_mismatch", "2 shares were given, but the slot needs 3"),
        (lines(&[one, two, &first[2]]), 2, "shares_mismatch", "of different slots"),
        (
            lines(&[&first[0], &first[1], &first[2]]),
            8,
            "slot_not_pending",
            "the shares belong to no unconfirmed slot",
        ),
    ] {
        let done = slot(&process, &["confirm"], &given);
        refused(&done, exit, code);
        let said = done.1.to_string();
        assert!(said.contains(says), "{said}");
        assert!(shares.iter().chain(&first).all(|share| !said.contains(&share[30..])), "{said}");
    }
    let of_first = lines(&[&first[0], &first[1], &first[2]]);
    refused(&slot(&process, &["check", "--by-shares"], &of_first), 4, "shares_wrong");
    // More than anybody types.
    refused(&slot(&process, &["confirm"], &vec![b'A'; 100 * 1024]), 2, "usage");
    assert_eq!(fs::read(process.path("data/keyring")).unwrap(), before, "nothing was changed");
    assert_eq!(slot(&process, &["confirm"], &lines(&[three, one, two])).0, Some(0));
}

#[test]
fn share_that_is_typed_twice_is_asked_for_again_at_once() {
    // Given an unconfirmed slot, whose shares three people type at a terminal
    let process = Process::init("info");
    let (_, shares) = dealt(&process, &DEAL);
    let [one, two, three, ..] = &shares[..] else { panic!("five") };
    let command = format!("{KEYWARD} slot confirm --config {}", process.config());
    // When one of them types the share of another person
    let lines = [one, two, one, three].map(String::as_str);
    let typed = TypedCommand { command: &command, prompt: ", number ", ahead: "", lines: &lines };
    let (is_done, said) = typed.run(&process.path("begin"));
    // Then the command says so before it asks for the next one, and the earlier shares count
    assert!(is_done && said.contains("confirmed shares, 3 of 5"), "{said}");
    assert_eq!(said.matches("enter another share: share 1 was given twice").count(), 1, "{said}");
    assert_eq!(said.matches("Share of 3, number 3").count(), 2, "{said}");
}

#[test]
fn a_key_is_split_up_to_the_limit_and_not_beyond() {
    let process = Process::init("info");
    let deal =
        |of: &str, threshold: &str| slot(&process, &["add", "--shares", of, "--threshold", threshold], b"");
    for (of, threshold) in [("17", "2"), ("17", "17"), ("3", "1"), ("2", "3"), ("1", "1"), ("0", "0")] {
        refused(&deal(of, threshold), 2, "shares_out_of_range");
    }
    let (exit, said) = deal("16", "16");
    assert_eq!((exit, said["shares"].as_array().unwrap().len()), (Some(0), 16));
    let shares: Vec<String> =
        said["shares"].as_array().unwrap().iter().map(|share| share.as_str().unwrap().to_owned()).collect();
    let all: Vec<&String> = shares.iter().collect();
    refused(&slot(&process, &["confirm"], &lines(&all[1..])), 2, "shares_mismatch");
    assert_eq!(slot(&process, &["confirm"], &lines(&all)).0, Some(0));
    assert_eq!(slot(&process, &["check", "--by-shares"], &lines(&all)).0, Some(0));
}

#[test]
fn shares_are_nowhere_but_where_they_were_handed_out() {
    let mut process = Process::init("trace");
    let (_, shares) = dealt(&process, &DEAL);
    let some = lines(&[&shares[0], &shares[1], &shares[2]]);
    assert_eq!(slot(&process, &["confirm"], &some).0, Some(0));
    assert_eq!(slot(&process, &["check", "--by-shares"], &some).0, Some(0));
    process.serve();
    process.stop();
    let letters: Vec<&str> = shares.iter().map(|share| share.rsplit(':').next().unwrap()).collect();
    for path in files(process.dir.path()) {
        let bytes = fs::read(&path).unwrap();
        for letters in &letters {
            for spelling in [(*letters).to_owned(), letters.replace('-', ""), letters[50..].to_owned()] {
                assert!(memchr::memmem::find(&bytes, spelling.as_bytes()).is_none(), "{}", path.display());
            }
        }
    }
    // An argument is read by every process on the machine: there is no option that takes one.
    let config = process.config();
    let output = process.run_as("host", &["slot", "confirm", &shares[0], "--config", &config], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(!String::from_utf8(output.stderr).unwrap().contains(letters[0]), "it came as an argument");
    let option = format!("--by-shares={}", shares[0]);
    let output = process.run_as("host", &["slot", "check", &option, "--config", &config], b"");
    assert_eq!(output.status.code(), Some(2));
    let both = slot(&process, &["confirm", "--by-shares"], &some);
    refused(&both, 2, "usage");
}

/// The unit tests check this byte by byte; this one uses processes: the shares were printed, and the command that
/// was to confirm them was killed.
#[test]
fn a_broker_starts_with_an_unconfirmed_slot_that_is_confirmed_later() {
    let mut process = Process::init("info");
    let (_, shares) = dealt(&process, &DEAL);
    process.serve();
    let some = lines(&[&shares[1], &shares[2], &shares[3]]);
    refused(&slot(&process, &["confirm"], &some), 10, "data_dir_in_use");
    refused(&slot(&process, &["check", "--by-shares"], &some), 8, "slot_unconfirmed");
    process.stop();
    assert_eq!(slot(&process, &["confirm"], &some).0, Some(0));
    process.serve();
    assert_eq!(slot(&process, &["check", "--by-shares"], &some).0, Some(0), "looking is free");
}

#[test]
fn the_root_key_is_split_handed_back_and_used_by_the_page() {
    let mut process = Process::init("warn");
    let dir = process.path("");
    let blocks = blocks("how-to/split-the-root-key.md");
    let key_file = process.path("root.key").display().to_string();
    // The page has the default configuration, and people at prompts.
    let run = |process: &Process, block: usize, redirected: &str| {
        let line = blocks[block].lines().next().unwrap().replace("/etc/keyward/root.key", &key_file);
        let of_shares = listed(process).into_iter().find(|(kind, _)| kind == "shares").unwrap_or_default();
        let line = line.replace(" ID ", &format!(" {} ", of_shares.1));
        let output = shell(&dir, &format!("{line} --config keyward.toml {redirected}"), &[]);
        assert!(output.status.success(), "{line}: {}", said(&output));
        said(&output)
    };
    assert!(
        run(&process, 0, "> dealt")
            .contains("opens nothing until `keyward slot confirm` has read 3 of the shares")
    );
    shell(&dir, "head -3 dealt > three; tail -3 dealt > others", &[]);
    assert!(run(&process, 1, "< three").contains("confirmed shares, 3 of 5"));
    assert!(run(&process, 2, "< others").contains("checked shares, 3 of 5"));
    fs::remove_file(&key_file).unwrap();
    assert!(run(&process, 3, "< others").contains("added key-file"));
    assert_eq!(blocks[3].lines().nth(1), Some("keyward serve"));
    assert!(run(&process, 4, "> dealt-anew").contains("has read 3 of the shares"));
    shell(&dir, "head -3 dealt-anew > three-anew", &[]);
    assert!(run(&process, 1, "< three-anew").contains("confirmed shares, 3 of 5"));
    let check = "keyward slot check --by-shares --config keyward.toml < three";
    assert!(said(&shell(&dir, check, &[])).contains("error: shares_wrong"));

    let config = fs::read_to_string(process.config()).unwrap();
    let attended = config.replace(&format!("file = \"{key_file}\""), "attended = true");
    fs::write(process.config(), attended).unwrap();
    process.spawn();
    until(&process.socket(), "sealed");
    assert!(run(&process, 5, "< three-anew").contains("open"));
}
