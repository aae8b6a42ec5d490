//! A third party verifies the vote of an operator, with an evidence bundle and a checkpoint key alone.

use std::path::Path;
use std::process::Command;

use keyward::crypto::{Digest, Ed25519Key};
use keyward::evidence::{
    BundleParts, EntryPlace, EvidenceError, EvidenceRecord, EvidenceScope, EvidenceSubject, Signatures,
    Timeline, bundle, verify,
};
use keyward::ledger::{DisclosedEntry, EntryCause, InclusionPaths, Kind, Link, Notary, NoteVerifier, Tree};
use serde_json::{Value, json};

use super::*;
use crate::interop::python_path;

const ONE: Signatures = Signatures { verified: 1, without_key: 0 };

/// What the Python verifier says, and whether it accepts the bundle.
pub(crate) fn by_python(bundle: &[u8], key: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bundle.zip");
    std::fs::write(&file, bundle).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples/verify_evidence.py");
    let output = Command::new(python_path()).arg(script).arg(&file).arg(key).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.success(), said)
}

/// Both verifiers refuse the bundle because of the entry `seq`.
fn assert_refused(what: &str, (bytes, key): &(Vec<u8>, String), seq: u64) {
    let refused = verify(bytes, &NoteVerifier::parse(key).unwrap()).unwrap_err();
    assert_eq!(refused, EvidenceError::Signed(seq), "{what}");
    let (accepts, said) = by_python(bytes, key);
    assert!(!accepts && said.starts_with("refused: "), "{what}: {said}");
}

/// A ledger of the entry that accepted a key, of a vote about the agent `a`, and of the bundle; signed by a key of its own.
/// So a changed vote is a part of the ledger, and only its signature is wrong.
fn bundle_of(accepted: &Value, vote: &Value) -> (Vec<u8>, String) {
    bundle_after(&[(0x0221, accepted)], vote)
}

/// The same with these entries before the vote, the first one in the place of the entry that accepted the key of the vote.
fn bundle_after(before: &[(u16, &Value)], vote: &Value) -> (Vec<u8>, String) {
    let subject = EvidenceSubject { kind: "agent".to_owned(), name: "a".to_owned() };
    let exported = json!({ "by": "admin", "subject": { "kind": "agent", "name": "a" } });
    let first = vote["key_seq"].as_u64().unwrap_or(1);
    let voted = first + before.len() as u64;
    let related = before.iter().map(|(kind, event)| (*kind, *event, None));
    let events = related.chain([(0x0f02, vote, Some(0)), (0x0d01, &exported, Some(voted))]);
    let entries: Vec<DisclosedEntry> = (first..)
        .zip(events)
        .map(|(seq, (kind, event, previous))| DisclosedEntry {
            seq,
            time: MORNING,
            kind: Kind(kind),
            cause: EntryCause::default(),
            event: event.to_string().into_bytes(),
            links: previous
                .map(|previous| Link { subject: subject.link().unwrap(), previous })
                .into_iter()
                .collect(),
            salt: [7; 32],
            state: sha256(b"state"),
        })
        .collect();
    // The entries before these are of no interest.
    let filler = DisclosedEntry { seq: 0, links: Vec::new(), ..entries[0].clone() };
    let fillers = (1..first).map(|_| filler.node());
    let nodes: Vec<Digest> = fillers.chain(entries.iter().map(DisclosedEntry::node)).collect();
    let (mut tree, mut paths) =
        (Tree::new(), InclusionPaths::of(entries.iter().map(|entry| entry.seq).collect()));
    for node in nodes {
        tree.append_node(node);
        paths.add(node);
    }
    let place =
        |entry: &DisclosedEntry| if entry.seq < voted { EntryPlace::Related } else { EntryPlace::Subject };
    let paths = paths.finish().unwrap();
    let records: Vec<EvidenceRecord> = entries
        .iter()
        .zip(&paths)
        .map(|(entry, path)| EvidenceRecord::of(entry.clone(), place(entry), "x", path).unwrap())
        .collect();
    let scope = EvidenceScope {
        subject,
        incident: None,
        subjects: Vec::new(),
        since_ms: 0,
        until_ms: None,
        through: voted + 1,
    };
    let timeline = Timeline::of(&scope, &records, Vec::new(), |_| (String::new(), String::new()));
    let key = Ed25519Key::from_pkcs8(&Ed25519Key::generate().unwrap()).unwrap();
    let notary = Notary::new("keyward.test/ledger_1".to_owned(), key);
    let parts = BundleParts {
        scope: &scope,
        records: &records,
        checkpoint: &notary.sign(&tree),
        takeovers: &[],
        timeline: &timeline,
        incident: None,
    };
    (bundle(&parts, &notary).unwrap(), notary.verifier().to_string())
}

/// A vote of `ann` about a request of the agent `a`: the broker, the entry of the vote, and the entry that accepted her key.
async fn voted() -> (TestBroker, Agent, Value, Value) {
    let (broker, agent, ann) = scene().await;
    ann.approves(&needed(&agent, "reports.publish").await).await;
    let vote = broker.entries("approval.approved").await.remove(0);
    let accepted = broker.entries("approval-key.accepted").await;
    let accepted = accepted.into_iter().find(|entry| entry["seq"] == vote["event"]["key_seq"]).unwrap();
    (broker, agent, vote, accepted)
}

#[tokio::test]
async fn vote_in_a_bundle_is_verified_without_the_broker() {
    let (broker, agent, vote, accepted) = voted().await;
    // The entry has the request and the key that verify it
    let event = &vote["event"];
    let request = event["canonical_request"].as_str().unwrap();
    assert_eq!(event["digest"], json!(sha256(request.as_bytes()).hex()));
    let read: ApprovalRequest = serde_json::from_str(request).unwrap();
    assert_eq!(read.canonical().unwrap(), request.as_bytes());
    let key = (&accepted["event"]["operator"], &accepted["event"]["public_key"], &accepted["event"]["key"]);
    assert_eq!(key, (&event["by"], &event["public_key"], &event["approval_key"]));
    // When an auditor makes a bundle about the agent, then both verifiers verify the vote
    let made = broker.operator().post_json("/v1/evidence", &json!({ "kind": "agent", "name": "a" })).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let checkpoint = agent.caller.get("/v1/checkpoint/key").await.text();
    let verifier = NoteVerifier::parse(checkpoint.trim()).unwrap();
    let verified = verify(&made.body, &verifier).unwrap();
    assert_eq!((verified.signatures, verified.related, verified.is_complete), (ONE, 1, true));
    let (accepts, said) = by_python(&made.body, checkpoint.trim());
    assert!(accepts && said.contains("; verified approvals by operators: 1"), "{said}");
}

#[tokio::test]
async fn changed_vote_is_refused_although_it_is_in_the_ledger() {
    let (_broker, _agent, vote, accepted) = voted().await;
    let (vote, accepted) = (&vote["event"], &accepted["event"]);
    let (bytes, key) = bundle_of(accepted, vote);
    assert_eq!(verify(&bytes, &NoteVerifier::parse(&key).unwrap()).unwrap().signatures, ONE);
    assert!(by_python(&bytes, &key).0, "{}", by_python(&bytes, &key).1);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut vote = vote.clone();
        change(&mut vote);
        vote
    };
    let request = vote["canonical_request"].as_str().unwrap().replace("reports.publish", "reports.destroy");
    let other = new_key_and_request().unwrap().1;
    let other = keyward::pki::read_request(&other).unwrap();
    let other_der = keyward::crypto::p256_der(other.point());
    let votes = [
        ("request", changed(&|vote| vote["canonical_request"] = json!(request))),
        (
            "request and digest",
            changed(&|vote| {
                vote["canonical_request"] = json!(request);
                vote["digest"] = json!(sha256(request.as_bytes()).hex());
            }),
        ),
        ("approval", changed(&|vote| vote["approval"] = json!("appr_06h2htbrfhs6388gu9e2l31ivk"))),
        ("policies", changed(&|vote| vote["rules_hash"] = vote["digest"].clone())),
        ("operator", changed(&|vote| vote["by"] = json!("eve"))),
        ("signature", changed(&|vote| vote["signature"] = vote["public_key"].clone())),
        ("key", changed(&|vote| vote["public_key"] = json!(base64url(&other_der)))),
        (
            "key and fingerprint",
            changed(&|vote| {
                vote["public_key"] = json!(base64url(&other_der));
                vote["approval_key"] = json!(other.digest().hex());
            }),
        ),
    ];
    for (what, vote) in votes {
        let seq = vote["key_seq"].as_u64().unwrap() + 1;
        assert_refused(what, &bundle_of(accepted, &vote), seq);
    }
}

#[tokio::test]
async fn vote_by_a_key_that_was_not_accepted_then_is_refused() {
    let (_broker, _agent, vote, accepted) = voted().await;
    let (vote, accepted) = (&vote["event"], &accepted["event"]);
    let key_seq = vote["key_seq"].as_u64().unwrap();
    let changed = |field: &str, value: Value| {
        let mut event = accepted.clone();
        event[field] = value;
        event
    };
    let (of_another, another) = (changed("operator", json!("eve")), changed("key", vote["digest"].clone()));
    let removed = json!({ "by": "admin", "operator": "ann", "keys": [accepted["key"]] });
    for (what, before) in [
        ("no entry about the key", vec![]),
        ("accepted for another operator", vec![(0x0221, &of_another)]),
        ("another key accepted", vec![(0x0221, &another)]),
        ("proposed", vec![(0x0220, accepted)]),
        ("replaced", vec![(0x0221, accepted), (0x0221, &another)]),
        ("removed", vec![(0x0221, accepted), (0x0222, &removed)]),
    ] {
        assert_refused(what, &bundle_after(&before, vote), key_seq + before.len() as u64);
    }
    // The twin: a change of the keys of another operator ends nothing
    let (bytes, key) = bundle_after(&[(0x0221, accepted), (0x0221, &of_another)], vote);
    assert_eq!(verify(&bytes, &NoteVerifier::parse(&key).unwrap()).unwrap().signatures, ONE);
    assert!(by_python(&bytes, &key).0, "{}", by_python(&bytes, &key).1);
}

#[tokio::test]
async fn vote_whose_entry_names_another_request_is_refused() {
    let (_broker, _agent, vote, accepted) = voted().await;
    let (vote, accepted) = (&vote["event"], &accepted["event"]);
    for (what, field, value) in [
        ("agent", "agent", json!("b")),
        ("capabilities", "capabilities", json!(["reports.read"])),
        ("more capabilities", "capabilities", json!(["reports.publish", "reports.read"])),
        ("no request", "canonical_request", Value::Null),
        ("no entry of the key", "key_seq", Value::Null),
        ("no key", "public_key", Value::Null),
    ] {
        // The signature is still one of the request
        let mut changed = vote.clone();
        if value.is_null() {
            changed.as_object_mut().unwrap().remove(field);
        } else {
            changed[field] = value;
        }
        let seq = changed["key_seq"].as_u64().unwrap_or(1) + 1;
        assert_refused(what, &bundle_of(accepted, &changed), seq);
    }
}

#[tokio::test]
async fn vote_of_an_earlier_version_is_counted_as_not_verified() {
    let (_broker, _agent, vote, accepted) = voted().await;
    let mut earlier = vote["event"].clone();
    for field in ["canonical_request", "public_key", "key_seq"] {
        earlier.as_object_mut().unwrap().remove(field);
    }
    let (bytes, key) = bundle_of(&accepted["event"], &earlier);
    let verified = verify(&bytes, &NoteVerifier::parse(&key).unwrap()).unwrap();
    assert_eq!(verified.signatures, Signatures { verified: 0, without_key: 1 });
    let (accepts, said) = by_python(&bytes, &key);
    assert!(accepts && said.contains("which has no key to verify them: 1"), "{said}");
}

#[tokio::test]
async fn bundle_without_its_half_is_refused_with_the_missing_part() {
    let (broker, agent, ..) = voted().await;
    let made = broker.operator().post_json("/v1/evidence", &json!({ "kind": "agent", "name": "a" })).await;
    let key = agent.caller.get("/v1/checkpoint/key").await.text();
    let said = |bundle: &[u8], key: &str| {
        let (accepts, said) = by_python(bundle, key);
        assert!(!accepts, "{said}");
        said
    };
    assert!(said(&made.body, " ").contains("no checkpoint key was given"));
    assert!(said(b"", key.trim()).contains("the bundle is an empty file"));
    // An archive of the right form with the other files alone, or with an empty one
    for (file, without) in [("entries.jsonl", true), ("checkpoint.txt", true), ("entries.jsonl", false)] {
        let bundle = emptied(&made.body, file, without);
        let expected =
            if without { format!("no file {file}") } else { format!("{file} of the bundle is empty") };
        assert!(said(&bundle, key.trim()).contains(&expected), "{}", said(&bundle, key.trim()));
    }
}

/// The bundle without `file`, or with an empty one, as an archive of the form of bundles.
fn emptied(bundle: &[u8], file: &str, without: bool) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from.zip"), folder.path().join("to.zip"));
    std::fs::write(&from, bundle).unwrap();
    let script = "import sys, zipfile\n\
        sys.path.insert(0, sys.argv[5])\n\
        import verify_evidence\n\
        files = {name: zipfile.ZipFile(sys.argv[1]).read(name) for name in zipfile.ZipFile(sys.argv[1]).namelist()}\n\
        files[sys.argv[3]] = b''\n\
        if sys.argv[4] == 'true': del files[sys.argv[3]]\n\
        open(sys.argv[2], 'wb').write(verify_evidence.pack(files))\n";
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    let made = Command::new(python_path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["-c", script])
        .args([&from, &to])
        .args([file, if without { "true" } else { "false" }])
        .arg(examples)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::read(&to).unwrap()
}
