//! Entries and their segment, written anew by the same keys, the same randomness and the same clock, are the same bytes.

use std::fs;
use std::sync::Once;

use keyward::base::IncidentId;
use keyward::base::encoding::hex;
use keyward::crypto::sha256_parts;
use keyward::ledger::{Draft, Entry, EntryCause, Expectation, Key};
use serde_json::{Value, json};

use super::page::{ReadEntry, by_the_page};
use super::{golden, is_written_anew};
use crate::support::ledger_bed::{Opened, Recorder, UnsyncedBed, draft, wait};

const SEGMENT: &str = "00000000000000000001.seg";

/// An entry of each form: alone, concerning a subject, with incident and reason, advancing keys, in a group commit.
fn drafts() -> Vec<Draft> {
    let (agent, operator) = (Key::of("agent", b"research-bot"), Key::of("operator", b"alice"));
    let mut both = vec![agent, operator];
    both.sort_unstable();
    let revoked = Draft {
        concerns: both,
        cause: EntryCause {
            incident: Some(IncidentId::from_bytes(*b"incident-4711-ab")),
            reason: Some("laptop stolen".parse().unwrap()),
        },
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

/// The golden segment, and what its entries are.
fn frozen() -> (Vec<u8>, Value) {
    static WRITTEN: Once = Once::new();
    WRITTEN.call_once(|| {
        if is_written_anew() {
            let (bed, segment) = written();
            let described = serde_json::to_string_pretty(&read_back(&bed)).unwrap() + "\n";
            fs::create_dir_all(golden("ledger")).unwrap();
            fs::write(golden("ledger").join(SEGMENT), segment).unwrap();
            fs::write(golden("ledger/entries.json"), described).unwrap();
        }
    });
    let described = fs::read(golden("ledger/entries.json")).unwrap();
    (fs::read(golden("ledger").join(SEGMENT)).unwrap(), serde_json::from_slice(&described).unwrap())
}

#[test]
fn golden_entries_are_written_and_read_as_they_were() {
    let (_, segment) = written();
    let (frozen, described) = frozen();
    assert_eq!(hex(&segment), hex(&frozen), "the same drafts, the same bytes");
    let bed = UnsyncedBed::new(4096);
    bed.disk.put(SEGMENT, frozen);
    assert_eq!(read_back(&bed), described);
}

/// The golden segment, with these changes.
fn opened(change: impl FnOnce(&mut Vec<u8>)) -> (Recorder, Opened) {
    let (bed, recorder) = (UnsyncedBed::new(4096), Recorder::default());
    let (mut segment, _) = frozen();
    change(&mut segment);
    bed.disk.put(SEGMENT, segment);
    let opened = bed.open_file(&recorder);
    (recorder, opened)
}

#[test]
fn a_golden_entry_opens_with_incident_reason_links_and_state_change() {
    let (recorder, opened) = opened(|_| {});
    let entries = opened.unwrap().0.read(1, 10).unwrap();
    let (agent, operator) = (Key::of("agent", b"research-bot"), Key::of("operator", b"alice"));
    let entry = &entries[2];
    assert_eq!(entry.cause.incident, Some(IncidentId::from_bytes(*b"incident-4711-ab")));
    assert_eq!(entry.cause.reason.as_ref().map(|reason| reason.as_str()), Some("laptop stolen"));
    let mut links: Vec<_> = entry.chain.links.iter().map(|link| (link.subject, link.previous)).collect();
    links.sort_by_key(|(subject, _)| *subject == operator);
    assert_eq!(links, [(agent, 2), (operator, 0)]);
    let changes: Vec<_> = recorder.taken().into_iter().map(|taken| taken.delta).collect();
    assert_eq!(changes, [&b""[..], b"x", b"state change", &[7; 40], b"five", b"six", b"seven"]);
    assert_eq!((entries[3].cause.incident, entries[3].cause.reason.as_ref()), (None, None));
    assert_eq!(entries.iter().map(|entry| entry.batch.first).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 6]);
}

#[test]
fn a_segment_of_a_newer_format_is_refused_by_its_number() {
    let (_, refused) = opened(|segment| {
        segment[8..10].copy_from_slice(&3_u16.to_be_bytes());
        let checksum = crc32fast::hash(&segment[..188]);
        segment[188..192].copy_from_slice(&checksum.to_be_bytes());
    });
    let why = refused.err().unwrap().to_string();
    let said = "segment 00000000000000000001.seg has format 3, which this version of keyward does not read";
    assert_eq!(why, said);
}

#[test]
fn golden_entries_have_the_leaves_that_the_page_describes() {
    let (_, described) = frozen();
    let entries = described["entries"].as_array().unwrap();
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
