use super::archive::{pack, unpack};
use super::manifest::{CHECKPOINT, MANIFEST, hashes};
use super::*;
use crate::base::Timestamp;
use crate::crypto::{Digest, Ed25519Key, sha256};
use crate::ledger::{CheckpointError, DisclosedEntry, EntryCause, InclusionPaths, Kind, Link, Notary, Tree};

/// Eleven entries; those of the agent `bot` are 2, 5, 6, 9 and 11.
const BOT: [u64; 5] = [2, 5, 6, 9, 11];
const SIZE: u64 = 13;

fn notary() -> Notary {
    let key = Ed25519Key::from_pkcs8(&Ed25519Key::generate().unwrap()).unwrap();
    Notary::new("keyward.test/ledger_1".to_owned(), key)
}

fn subject() -> EvidenceSubject {
    EvidenceSubject { kind: "agent".to_owned(), name: "bot".to_owned() }
}

fn entry(seq: u64) -> DisclosedEntry {
    let before = BOT.iter().rev().find(|one| **one < seq).copied().unwrap_or(0);
    let link = BOT.contains(&seq).then(|| Link { subject: subject().link().unwrap(), previous: before });
    DisclosedEntry {
        seq,
        time: Timestamp::from_s(i64::try_from(seq).unwrap()),
        kind: Kind(if seq == 11 { 0x0d01 } else { 7 }),
        cause: EntryCause::default(),
        event: if seq == 11 {
            b"{\"by\":\"alice\",\"subject\":{\"kind\":\"agent\",\"name\":\"bot\"}}".to_vec()
        } else {
            format!("{{\"agent\":\"bot\",\"n\":{seq}}}").into_bytes()
        },
        links: link.into_iter().collect(),
        salt: [u8::try_from(seq).unwrap(); 32],
        state: sha256(b"state"),
    }
}

fn tree() -> Tree {
    let mut tree = Tree::new();
    (1..=SIZE).for_each(|seq| tree.append_node(entry(seq).node()));
    tree
}

fn paths(wanted: &[u64]) -> Vec<Vec<Digest>> {
    let mut paths = InclusionPaths::of(wanted.to_vec());
    (1..=SIZE).for_each(|seq| paths.add(entry(seq).node()));
    paths.finish().unwrap()
}

fn records(of: &[(u64, EntryPlace)]) -> Vec<EvidenceRecord> {
    let seqs: Vec<u64> = of.iter().map(|(seq, _)| *seq).collect();
    let paths = paths(&seqs);
    let made = of.iter().zip(&paths);
    made.map(|((seq, place), path)| EvidenceRecord::of(entry(*seq), *place, "token.minted", path).unwrap())
        .collect()
}

/// The whole range from entry 5 on, with entry 2 before it and 7 as related.
fn whole() -> Vec<EvidenceRecord> {
    use EntryPlace::{Before, Related, Subject};
    records(&[(2, Before), (5, Subject), (6, Subject), (7, Related), (9, Subject), (11, Subject)])
}

fn scope() -> EvidenceScope {
    let since_ms = entry(5).time.ms();
    EvidenceScope {
        subject: subject(),
        incident: None,
        subjects: Vec::new(),
        since_ms,
        until_ms: None,
        through: 11,
    }
}

fn made(notary: &Notary, scope: &EvidenceScope, records: &[EvidenceRecord]) -> Vec<u8> {
    let timeline = Timeline::of(scope, records, Vec::new(), |_| (String::new(), String::new()));
    let checkpoint = notary.sign(&tree());
    let parts = BundleParts {
        scope,
        records,
        checkpoint: &checkpoint,
        takeovers: &[],
        timeline: &timeline,
        incident: None,
    };
    bundle(&parts, notary).unwrap()
}

fn refused(notary: &Notary, scope: &EvidenceScope, records: &[EvidenceRecord]) -> EvidenceError {
    verify(&made(notary, scope, records), notary.verifier()).unwrap_err()
}

#[test]
fn a_bundle_proves_its_entries_and_that_none_is_missing() {
    let notary = notary();
    let verified = verify(&made(&notary, &scope(), &whole()), notary.verifier()).unwrap();
    assert_eq!((verified.entries, verified.related, verified.is_complete), (4, 1, true));
    assert_eq!((verified.checkpoint.size, verified.scope), (SIZE, scope()));
}

#[test]
fn from_the_first_entry_on_nothing_comes_before() {
    let notary = notary();
    let all = BOT.map(|seq| (seq, EntryPlace::Subject));
    let scope = EvidenceScope { since_ms: 0, ..scope() };
    assert!(verify(&made(&notary, &scope, &records(&all)), notary.verifier()).unwrap().is_complete);
}

#[test]
fn a_bundle_without_an_entry_about_its_subject_proves_nothing() {
    let notary = notary();
    let subject = EvidenceSubject { kind: "secret".to_owned(), name: "s".to_owned() };
    let of = |subject: EvidenceSubject| EvidenceScope { subject, until_ms: Some(i64::MAX), ..scope() };
    for records in [Vec::new(), records(&[(7, EntryPlace::Related)])] {
        for scope in [scope(), of(subject.clone())] {
            assert_eq!(refused(&notary, &scope, &records), EvidenceError::Empty);
        }
    }
    let one = records(&[(7, EntryPlace::Subject)]);
    assert_eq!(verify(&made(&notary, &of(subject), &one), notary.verifier()).unwrap().entries, 1);
}

/// The signer itself can leave nothing out.
#[test]
fn an_entry_that_is_left_out_is_named() {
    let notary = notary();
    for (at, missing, after) in [(1, 5, 6), (2, 6, 9), (4, 9, 11)] {
        let mut records = whole();
        records.remove(at);
        assert_eq!(refused(&notary, &scope(), &records), EvidenceError::Missing { missing, after });
    }
    let mut records = whole();
    records.remove(0);
    assert_eq!(refused(&notary, &scope(), &records), EvidenceError::Missing { missing: 2, after: 5 });
    let mut records = whole();
    records.pop();
    assert_eq!(refused(&notary, &scope(), &records), EvidenceError::Range, "the end");
    let hidden = EvidenceScope { through: 9, ..scope() };
    assert_eq!(refused(&notary, &hidden, &records), EvidenceError::Range, "entry 9 records no bundle");
    let shifted = EvidenceScope { since_ms: 0, ..scope() };
    assert_eq!(refused(&notary, &shifted, &whole()), EvidenceError::Range, "entry 2 is in this range");
}

#[test]
fn an_edited_added_or_reordered_entry_is_refused() {
    let notary = notary();
    let mut edited = whole();
    edited[1].event = edited[1].event.replace("bot", "bat");
    assert_eq!(refused(&notary, &scope(), &edited), EvidenceError::Entry(5));
    let mut retimed = whole();
    retimed[2].time_ms -= 1;
    assert_eq!(refused(&notary, &scope(), &retimed), EvidenceError::Entry(6));
    let mut moved = whole();
    moved[3].seq = 8;
    assert_eq!(refused(&notary, &scope(), &moved), EvidenceError::Entry(8));
    let mut twice = whole();
    twice.insert(2, twice[1].clone());
    assert_eq!(refused(&notary, &scope(), &twice), EvidenceError::Order(5));
    let mut reordered = whole();
    reordered.swap(2, 3);
    assert_eq!(refused(&notary, &scope(), &reordered), EvidenceError::Order(6));
}

#[test]
fn another_key_signs_nothing() {
    let (ours, other) = (notary(), notary());
    let bytes = made(&other, &scope(), &whole());
    let refused = verify(&bytes, ours.verifier()).unwrap_err();
    let is_of_other = |error| matches!(error, CheckpointError::OtherKey { .. });
    assert!(matches!(refused, EvidenceError::Signature { file: MANIFEST, error } if is_of_other(error)));
    // A holder of another key can sign the manifest anew, and not the checkpoint with the pinned key.
    let mut files = unpack(&made(&ours, &scope(), &whole())).unwrap();
    files.insert(CHECKPOINT.to_owned(), other.sign(&tree()).into_bytes());
    files.insert(MANIFEST.to_owned(), ours.sign_manifest(&hashes(&files)).into_bytes());
    let refused = verify(&pack(&files).unwrap(), ours.verifier()).unwrap_err();
    assert!(matches!(refused, EvidenceError::Signature { file: CHECKPOINT, error } if is_of_other(error)));
}

#[test]
fn a_key_that_took_over_is_followed() {
    let (old, new) = (notary(), notary());
    let takeovers = [Takeover { seq: 3, note: old.announce(&new) }];
    let (scope, records) = (scope(), whole());
    let timeline = Timeline::of(&scope, &records, Vec::new(), |_| (String::new(), String::new()));
    let checkpoint = new.sign(&tree());
    let (scope, records, checkpoint) = (&scope, records.as_slice(), checkpoint.as_str());
    let parts = BundleParts {
        scope,
        records,
        checkpoint,
        takeovers: &takeovers,
        timeline: &timeline,
        incident: None,
    };
    let bytes = bundle(&parts, &new).unwrap();
    for trusted in [&old, &new] {
        assert!(verify(&bytes, trusted.verifier()).is_ok());
    }
    // A key that another one took over from signs neither checkpoints nor manifests, whichever key is trusted.
    for trusted in [&old, &new] {
        let refused = verify(&bundle(&parts, &old).unwrap(), trusted.verifier()).unwrap_err();
        assert!(matches!(refused, EvidenceError::Signature { file: MANIFEST, .. }), "{refused}");
    }
    let checkpoint = old.sign(&tree());
    let parts = BundleParts { checkpoint: &checkpoint, ..parts };
    for trusted in [&old, &new] {
        let refused = verify(&bundle(&parts, &new).unwrap(), trusted.verifier()).unwrap_err();
        assert!(matches!(refused, EvidenceError::Signature { file: CHECKPOINT, .. }), "{refused}");
    }
}

#[test]
fn a_range_in_the_past_ends_with_the_first_entry_after_it() {
    use EntryPlace::{After, Before, Subject};
    let notary = notary();
    let until_ms = Some(entry(6).time.ms());
    let scope = EvidenceScope { until_ms, through: 9, ..scope() };
    let all = [(2, Before), (5, Subject), (6, Subject), (9, After)];
    let verified = verify(&made(&notary, &scope, &records(&all)), notary.verifier()).unwrap();
    assert_eq!((verified.entries, verified.is_complete), (2, true));
    // Entry 6 is in the range, and may not end it
    let short = EvidenceScope { through: 6, ..scope.clone() };
    let early = [(2, Before), (5, Subject), (6, After)];
    assert_eq!(refused(&notary, &short, &records(&early)), EvidenceError::Range);
    let unended = EvidenceScope { through: 6, ..scope.clone() };
    let without = [(2, Before), (5, Subject), (6, Subject)];
    assert_eq!(refused(&notary, &unended, &records(&without)), EvidenceError::Range);
    let endless = EvidenceScope { until_ms: None, ..scope };
    assert_eq!(refused(&notary, &endless, &records(&all)), EvidenceError::Range);
}

#[test]
fn every_changed_byte_is_refused() {
    let notary = notary();
    let bytes = made(&notary, &scope(), &whole());
    for at in (0..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(verify(&changed, notary.verifier()).is_err(), "byte {at} of {}", bytes.len());
    }
}

#[test]
fn other_files_are_refused() {
    let notary = notary();
    let files = unpack(&made(&notary, &scope(), &whole())).unwrap();
    for name in files.keys() {
        let mut fewer = files.clone();
        fewer.remove(name);
        assert!(verify(&pack(&fewer).unwrap(), notary.verifier()).is_err(), "without {name}");
    }
    let mut more = files.clone();
    more.insert("zz".to_owned(), Vec::new());
    let refused = verify(&pack(&more).unwrap(), notary.verifier()).unwrap_err();
    assert_eq!(refused, EvidenceError::Manifest("zz".to_owned()));
    let mut signed_twice = files;
    let note = signed_twice.get_mut(MANIFEST).unwrap();
    note.extend_from_slice(b"\xe2\x80\x94 other AAAA\n");
    assert!(verify(&pack(&signed_twice).unwrap(), notary.verifier()).is_err(), "one signature, one form");
}

#[test]
fn for_other_subjects_completeness_is_not_claimed() {
    let notary = notary();
    let secret = EvidenceSubject { kind: "secret".to_owned(), name: "db/app".to_owned() };
    let scope = EvidenceScope { subject: secret, ..scope() };
    assert_eq!(
        refused(&notary, &scope, &whole()),
        EvidenceError::Range,
        "the bundle was recorded for the agent"
    );
    // In a range with an end, no entry names the subject of the bundle.
    let until_ms = Some(entry(10).time.ms());
    let scope = EvidenceScope { until_ms, ..scope };
    let verified = verify(&made(&notary, &scope, &whole()), notary.verifier()).unwrap();
    assert!(!verified.is_complete);
}

/// The entries 3, 6, 10 and 11 also concern the operator `eve`.
const EVE: [u64; 4] = [3, 6, 10, 11];

fn of_both(seq: u64) -> DisclosedEntry {
    let mut entry = entry(seq);
    if seq == 11 {
        let subjects = "[{\"kind\":\"agent\",\"name\":\"bot\"},{\"kind\":\"operator\",\"name\":\"eve\"},\
                        {\"kind\":\"network\",\"name\":\"203.0.113.0/24\"}]";
        let subject = "{\"kind\":\"incident\",\"name\":\"inc_1\"}";
        entry.event = format!("{{\"subject\":{subject},\"subjects\":{subjects}}}").into_bytes();
    }
    if EVE.contains(&seq) {
        let previous = EVE.iter().rev().find(|one| **one < seq).copied().unwrap_or(0);
        entry.links.push(Link { subject: eve().link().unwrap(), previous });
    }
    entry
}

fn eve() -> EvidenceSubject {
    EvidenceSubject { kind: "operator".to_owned(), name: "eve".to_owned() }
}

/// A bundle for an incident from entry 5 on, with these entries.
fn incident_bundle(
    notary: &Notary,
    of: &[(u64, EntryPlace)],
    change: impl FnOnce(&mut EvidenceScope),
) -> Vec<u8> {
    let (mut tree, mut paths) = (Tree::new(), InclusionPaths::of(of.iter().map(|(seq, _)| *seq).collect()));
    for seq in 1..=SIZE {
        tree.append_node(of_both(seq).node());
        paths.add(of_both(seq).node());
    }
    let paths = paths.finish().unwrap();
    let made = of.iter().zip(&paths);
    let records: Vec<EvidenceRecord> = made
        .map(|((seq, place), path)| EvidenceRecord::of(of_both(*seq), *place, "token.minted", path).unwrap())
        .collect();
    let network = EvidenceSubject { kind: "network".to_owned(), name: "203.0.113.0/24".to_owned() };
    let incident = EvidenceSubject { kind: "incident".to_owned(), name: "inc_1".to_owned() };
    let mut scope = EvidenceScope { subject: incident, subjects: vec![subject(), eve(), network], ..scope() };
    change(&mut scope);
    let timeline = Timeline::of(&scope, &records, Vec::new(), |_| (String::new(), String::new()));
    let checkpoint = notary.sign(&tree);
    let record = serde_json::json!({ "incident": "inc_1" });
    let parts = BundleParts {
        scope: &scope,
        records: &records,
        checkpoint: &checkpoint,
        takeovers: &[],
        timeline: &timeline,
        incident: Some(&record),
    };
    bundle(&parts, notary).unwrap()
}

/// The entries of both from entry 5 on, and the one before it of each.
const OF_BOTH: [(u64, EntryPlace); 7] = {
    use EntryPlace::{Before, Subject};
    [(2, Before), (3, Before), (5, Subject), (6, Subject), (9, Subject), (10, Subject), (11, Subject)]
};

#[test]
fn an_incident_s_bundle_proves_each_linked_subject() {
    let notary = notary();
    let verified = verify(&incident_bundle(&notary, &OF_BOTH, |_| {}), notary.verifier()).unwrap();
    let complete: Vec<bool> = verified.subjects.iter().map(|one| one.is_complete).collect();
    assert_eq!((complete, verified.is_complete, verified.entries), (vec![true, true, false], false, 5));
    // The entry that records the bundle names all of them: the signer can leave none out.
    for at in 0..3 {
        let fewer = incident_bundle(&notary, &OF_BOTH, |scope| drop(scope.subjects.remove(at)));
        assert_eq!(verify(&fewer, notary.verifier()).unwrap_err(), EvidenceError::Range);
    }
}

#[test]
fn an_entry_of_one_subject_of_an_incident_that_is_left_out_is_named() {
    let notary = notary();
    for (at, missing, after) in [(0, 2, 5), (1, 3, 6), (2, 5, 6), (3, 6, 9), (4, 9, 11), (5, 10, 11)] {
        let mut entries = OF_BOTH.to_vec();
        entries.remove(at);
        let refused = verify(&incident_bundle(&notary, &entries, |_| {}), notary.verifier()).unwrap_err();
        assert_eq!(refused, EvidenceError::Missing { missing, after });
    }
}

#[test]
fn an_incident_s_bundle_has_the_range_that_it_claims() {
    use EntryPlace::{After, Before, Related, Subject};
    let notary = notary();
    let range = |of: &[(u64, EntryPlace)], change: fn(&mut EvidenceScope)| {
        let refused = verify(&incident_bundle(&notary, of, change), notary.verifier()).unwrap_err();
        assert_eq!(refused, EvidenceError::Range, "{of:?}");
    };
    let with = |at: usize, place: EntryPlace| {
        let mut entries = OF_BOTH.to_vec();
        entries[at].1 = place;
        entries
    };
    // An entry in the range is not before it, an earlier one is not in it, and none ends it
    range(&with(2, Before), |_| {});
    range(&with(0, Subject), |_| {});
    range(&with(6, After), |_| {});
    range(&with(6, Related), |_| {});
    range(&OF_BOTH[..6], |_| {});
    range(&OF_BOTH, |scope| scope.until_ms = Some(entry(12).time.ms()));
    range(&OF_BOTH, |scope| scope.subject = subject());
    range(&OF_BOTH, |scope| scope.through = 10);
    // Subjects that the bundle does not have the entries of
    range(&OF_BOTH, |scope| scope.subjects[0].name = "other".to_owned());
}
