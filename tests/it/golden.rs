//! The stored formats as they were frozen: what is in `tests/golden` opens with every later build, to the same entries.
//!
//! Entries and their segment are written anew by the same keys, the same randomness and the same clock, and have to be
//! the same bytes. The data directory was left by a whole broker. `KEYWARD_TEST_GOLDEN=write` writes both anew: only
//! before a release, when a format changes on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use keyward::base::encoding::hex;
use keyward::base::{IncidentId, Timestamp};
use keyward::crypto::{sha256, sha256_parts};
use keyward::ledger::{Draft, Entry, Expectation, Key};
use serde_json::{Value, json};

use crate::support::broker::TestBroker;
use crate::support::ledger_bed::{Recorder, UnsyncedBed, draft, wait};
use crate::support::process::{files, put_back};

const SEGMENT: &str = "00000000000000000001.seg";
/// In 2033: no certificate of the golden broker ends before its tests do.
const NOW_S: i64 = 2_000_000_000;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn is_written_anew() -> bool {
    std::env::var_os("KEYWARD_TEST_GOLDEN").is_some_and(|wish| wish == "write")
}

/// An entry of each form: alone, concerning a subject, with incident and reason, advancing keys, in a group commit.
fn drafts() -> Vec<Draft> {
    let (agent, operator) = (Key::of("agent", b"research-bot"), Key::of("operator", b"alice"));
    let mut both = vec![agent, operator];
    both.sort_unstable();
    let revoked = Draft {
        concerns: both,
        incident: Some(IncidentId::from_bytes(*b"incident-4711-ab")),
        reason: Some("laptop stolen".parse().unwrap()),
        ..draft("{\"agent\":\"research-bot\",\"by\":\"alice\"}", b"state change")
    };
    let key = Key::of("code", b"1");
    let advancing = Draft {
        expect: vec![Expectation { key, as_of: 3 }],
        advance: vec![key, agent],
        ..draft("{\"used\":1}", &[7; 40])
    };
    vec![
        draft("{}", b""),
        Draft { concerns: vec![agent], ..draft("{\"agent\":\"research-bot\"}", b"x") },
        revoked,
        advancing,
    ]
}

/// The segment of a ledger with the golden entries, closed.
fn written() -> (UnsyncedBed, Vec<u8>) {
    let bed = UnsyncedBed::new(4096);
    let recorder = Recorder::default();
    let (ledger, _) = bed.open_file(&recorder).unwrap();
    for draft in drafts() {
        wait(ledger.append(draft)).unwrap();
    }
    let rest = vec![draft("{\"n\":6}", b"six"), draft("{\"n\":7}", b"seven")];
    let (first, rest) = recorder.group(&ledger, draft("{\"n\":5}", b"five"), rest);
    wait(first).unwrap();
    for pending in rest {
        wait(pending).unwrap();
    }
    ledger.close();
    drop(ledger);
    let segment = bed.disk.files().remove(SEGMENT).unwrap();
    (bed, segment)
}

fn described(entry: &Entry, delta: &[u8]) -> Value {
    json!({
        "seq": entry.seq, "stored": hex(&entry.to_bytes()), "leaf": hex(&entry.leaf()), "node": entry.node().hex(),
        "state_change": hex(delta),
    })
}

/// What the golden segment says, as a reader of it describes it.
fn read_back(bed: &UnsyncedBed) -> Value {
    let recorder = Recorder::default();
    let (ledger, report) = bed.open_file(&recorder).unwrap();
    assert_eq!((report.head.seq, report.written_again, report.torn), (7, 0, None));
    let entries = ledger.read(1, 10).unwrap();
    let described: Vec<_> =
        entries.iter().zip(recorder.taken()).map(|(entry, taken)| described(entry, &taken.delta)).collect();
    json!({ "root": ledger.tree().root().hex(), "entries": described })
}

#[test]
fn golden_entries_are_written_and_read_as_they_were() {
    let (bed, segment) = written();
    if is_written_anew() {
        fs::create_dir_all(golden("")).unwrap();
        fs::write(golden(SEGMENT), &segment).unwrap();
        fs::write(golden("entries.json"), serde_json::to_string_pretty(&read_back(&bed)).unwrap() + "\n")
            .unwrap();
    }
    assert_eq!(hex(&segment), hex(&fs::read(golden(SEGMENT)).unwrap()), "the same drafts, the same bytes");
    let frozen: Value = serde_json::from_slice(&fs::read(golden("entries.json")).unwrap()).unwrap();
    let bed = UnsyncedBed::new(4096);
    bed.disk.put(SEGMENT, fs::read(golden(SEGMENT)).unwrap());
    assert_eq!(read_back(&bed), frozen);
}

/// Reads bytes one field after another, by the tables of `docs/reference/ledger-format.md` alone.
struct Reader(Vec<u8>, usize);

impl Reader {
    fn take(&mut self, len: usize) -> Vec<u8> {
        self.1 += len;
        self.0[self.1 - len..self.1].to_vec()
    }

    fn number(&mut self, len: usize) -> usize {
        self.take(len).iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
    }
}

/// What a stored entry says, as far as these tests look at it.
struct ReadEntry {
    leaf: Vec<u8>,
    event: Vec<u8>,
    links: Vec<([u8; 16], usize)>,
}

fn by_the_page(stored: Vec<u8>) -> ReadEntry {
    let mut read = Reader(stored, 0);
    let (event, sealed, links) = (read.number(4), read.number(4), read.number(4));
    let (reason, incident, _zero) = (read.number(2), read.take(1), read.take(1));
    let (kind, _mark, _seq, _batch, time) =
        (read.take(2), read.take(2), read.take(8), read.take(8), read.take(8));
    let (salt, _before, _session) = (read.take(32), read.take(32), read.take(32));
    let incident = [incident.clone(), read.take(16 * usize::from(incident[0]))].concat();
    let entry_links: Vec<_> =
        (0..links).map(|_| (read.take(16).try_into().unwrap(), read.number(8))).collect();
    let written: Vec<u8> = entry_links
        .iter()
        .flat_map(|(subject, before): &([u8; 16], usize)| [&subject[..], &before.to_be_bytes()].concat())
        .collect();
    let (reason_text, event, sealed) = (read.take(reason), read.take(event), read.take(sealed));
    assert_eq!(read.1, read.0.len());
    let said = sha256_parts(&[&salt, &time, &incident, &(reason as u16).to_be_bytes(), &reason_text, &event]);
    let shown = sha256_parts(&[sha256(&salt).as_bytes(), &(links as u32).to_be_bytes(), &written]);
    let leaf = [&[2][..], &kind, said.as_bytes(), shown.as_bytes(), sha256(&sealed).as_bytes()].concat();
    ReadEntry { leaf, event, links: entry_links }
}

/// The stored entries of a segment.
fn stored_entries(segment: &[u8]) -> Vec<Vec<u8>> {
    let (mut found, mut rest) = (Vec::new(), &segment[192..]);
    while rest.len() > 8 && rest.starts_with(&[0xE5, b'K', b'W', 0xFF]) {
        let word = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().unwrap()) as usize;
        let (reason, incident) = (usize::from(rest[20]) << 8 | usize::from(rest[21]), usize::from(rest[22]));
        let len = 140 + word(8) + word(12) + 24 * word(16) + reason + 16 * incident;
        let is_entry = rest[27] < 2;
        if is_entry {
            found.push(rest[8..8 + len].to_vec());
        }
        rest = &rest[(8 + len).next_multiple_of(8).min(rest.len())..];
    }
    found
}

#[test]
fn golden_entries_have_the_leaves_that_the_page_describes() {
    let frozen: Value = serde_json::from_slice(&fs::read(golden("entries.json")).unwrap()).unwrap();
    let entries = frozen["entries"].as_array().unwrap();
    let bytes =
        |entry: &Value, name: &str| keyward::base::encoding::from_hex(entry[name].as_str().unwrap()).unwrap();
    let agent = *Key::of("agent", b"research-bot").as_bytes();
    let mut last = 0;
    for (at, entry) in entries.iter().enumerate() {
        let ReadEntry { leaf, links, .. } = by_the_page(bytes(entry, "stored"));
        assert_eq!(hex(&leaf), entry["leaf"].as_str().unwrap(), "entry {}", at + 1);
        assert_eq!(sha256_parts(&[&[0], &leaf]).hex(), entry["node"].as_str().unwrap());
        if let Some((_, before)) = links.iter().find(|(subject, _)| *subject == agent) {
            assert_eq!(*before, last, "entry {}", at + 1);
            last = at + 1;
        }
    }
    assert_eq!(last, 3, "the newest entry of the agent");
}

/// Whom a value names, by the rule of the page. `noun` is what a text that stands here names.
fn named(value: &Value, noun: Option<&str>, found: &mut BTreeSet<[u8; 16]>) {
    let mut note = |text: &str| {
        if let Some(noun) = noun.filter(|_| !text.contains(' ')) {
            found.insert(*Key::of(noun, text.as_bytes()).as_bytes());
        }
    };
    match value {
        Value::String(text) => note(text),
        Value::Array(items) => items.iter().for_each(|item| named(item, noun, found)),
        Value::Object(fields) => {
            fields.keys().for_each(|key| note(key));
            let kind = match fields.get("kind").and_then(Value::as_str) {
                Some("agent" | "resource-server") => Some("agent"),
                Some("operator") => Some("operator"),
                _ => None,
            };
            for (field, value) in fields.iter().filter(|_| noun.is_none()) {
                let of_field = match field.as_str() {
                    "agent" | "agents" | "removed_agents" => Some("agent"),
                    "operator" | "operators" | "by" => Some("operator"),
                    "name" => kind,
                    _ => None,
                };
                named(value, of_field, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn each_entry_of_the_golden_data_is_linked_to_those_whom_its_event_names() {
    let (mut count, mut last) = (0, BTreeMap::new());
    for segment in files(&golden("data/ledger")) {
        for stored in stored_entries(&fs::read(segment).unwrap()) {
            let ReadEntry { event, links, .. } = by_the_page(stored);
            let mut expected = BTreeSet::new();
            named(&serde_json::from_slice(&event).unwrap(), None, &mut expected);
            count += 1;
            let linked: BTreeSet<_> = links.iter().map(|(subject, _)| *subject).collect();
            assert_eq!(linked, expected, "entry {count}: {}", String::from_utf8_lossy(&event));
            for (subject, before) in links {
                assert_eq!(last.insert(subject, count).unwrap_or(0), before, "entry {count}");
            }
        }
    }
    let has = |noun, name: &[u8]| last.contains_key(Key::of(noun, name).as_bytes());
    assert!(has("agent", b"research-bot") && has("agent", b"payments-bot") && has("operator", b"admin"));
}

/// Leaves the golden data directory: a broker whose agents, tokens and secrets have been through something.
async fn write_data() {
    let mut broker = TestBroker::start_at(Timestamp::from_s(NOW_S), "").await;
    broker.declare().await;
    let agent = broker.agent("research-bot", &["repo-reader", "publisher"]).await;
    broker.agent("payments-bot", &["publisher"]).await;
    let token = agent.token("github.repo.read").await;
    assert_eq!(agent.secret("github/app", &token).await.text(), "hunter2");
    agent.token("reports.read").await;
    let revoked = broker.operator().post_json("/v1/agents/research-bot/revoke", &json!({})).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    broker.stop().await;
    drop(fs::remove_dir_all(golden("data")));
    for kept in ["data/keyring", "data/anchor", "root.key"] {
        fs::create_dir_all(golden(kept).parent().unwrap()).unwrap();
        fs::copy(broker.path().join(kept), golden(kept)).unwrap();
    }
    for file in files(&broker.path().join("data/ledger")) {
        if file.extension().is_some_and(|one| one == "seg") {
            fs::create_dir_all(golden("data/ledger")).unwrap();
            fs::copy(&file, golden("data/ledger").join(file.file_name().unwrap())).unwrap();
        }
    }
    for file in files(&broker.path().join("home")) {
        let kept = golden("home").join(file.strip_prefix(broker.path().join("home")).unwrap());
        fs::create_dir_all(kept.parent().unwrap()).unwrap();
        fs::copy(&file, kept).unwrap();
    }
}

impl TestBroker {
    /// A broker that serves from what another one has left in `left`: its data, the key that opens them, and the home
    /// of an operator.
    async fn of(left: &Path, now: Timestamp) -> Self {
        let mut broker = Self::laid_out(now, "");
        put_back(left, broker.path());
        for file in files(broker.path()) {
            fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
            fs::set_permissions(file.parent().unwrap(), Permissions::from_mode(0o700)).unwrap();
        }
        broker.serve().await;
        broker
    }
}

#[tokio::test]
async fn a_golden_data_directory_opens_to_the_state_that_was_left() {
    if is_written_anew() {
        write_data().await;
    }
    let broker = TestBroker::of(&golden(""), Timestamp::from_s(NOW_S + 3600)).await;
    let agents = broker.operator().get("/v1/agents").await.json();
    let names: BTreeSet<_> =
        agents["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["payments-bot", "research-bot"].into());
    let secret = broker.operator().get("/v1/secrets/github/app").await.json();
    assert_eq!(secret["versions"].as_array().unwrap().len(), 1);
    // And it continues: a new agent can enrol.
    let agent = broker.agent("late-bot", &["publisher"]).await;
    agent.token("reports.read").await;
}
