//! Evidence bundles, made by a broker and verified elsewhere.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::interop::python_path;
use crate::panel::{held, set_up};
use crate::support::process::{KEYWARD, Process};

/// The key that verifies checkpoints, as an auditor gets it before an incident.
fn checkpoint_key(process: &Process) -> String {
    let address = fs::read_to_string(process.path("home-a/agent/address")).unwrap();
    let url = format!("https://{}/v1/checkpoint/key", address.trim());
    let output =
        Command::new("curl").args(["-sS", "--cacert", &held(process, "a", "authority"), &url]).output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
}

/// A bundle about `subject` in a new file.
fn made(process: &Process, subject: &str, more: &[&str], file: &str) -> PathBuf {
    let path = process.path(file);
    process.good(&[&["evidence", subject, "--out", &path.display().to_string()], more].concat(), b"");
    path
}

/// `keyward verify` on a machine without a broker and without an identity.
fn verified(bundle: &PathBuf, key: &str) -> Output {
    let elsewhere = tempfile::tempdir().unwrap();
    let verify = Command::new(KEYWARD)
        .args(["verify", "--key", key, "-o", "json"])
        .arg(bundle)
        .env("HOME", elsewhere.path())
        .current_dir(elsewhere.path())
        .output();
    verify.unwrap()
}

fn by_python(bundle: &PathBuf, key: &str) -> Output {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/examples/verify_evidence.py");
    Command::new(python_path()).arg(script).arg(bundle).arg(key).output().unwrap()
}

fn refused(bundle: &PathBuf, key: &str) -> String {
    let output = verified(bundle, key);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(11) && said.contains("evidence_invalid"), "{said}");
    let python = by_python(bundle, key);
    assert!(!python.status.success(), "the Python verifier accepts it: {said}");
    said
}

#[test]
fn a_bundle_verifies_on_another_machine_without_the_broker() {
    let mut process = set_up();
    process.good(&["secret", "put", "github/app"], b"hunter2");
    process.good_as("a", &["get", "github/app"], b"");
    process.good(&["agent", "revoke", "a", "--reason", "laptop\u{2028} <stolen>"], b"");
    let key = checkpoint_key(&process);
    let bundle = made(&process, "agent/a", &[], "a.zip");
    process.stop();

    let output = verified(&bundle, &key);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&said["name"], &said["complete"]), (&"a".into(), &true.into()), "{said}");
    assert!(said["entries"].as_u64().unwrap() >= 5, "invited, enrolled, minted, read, revoked: {said}");
    let key_file = process.path("checkpoint.key");
    fs::write(&key_file, format!("{key}\n")).unwrap();
    assert!(verified(&bundle, &key_file.display().to_string()).status.success(), "the key in a file");
    let python = by_python(&bundle, &key);
    let said = String::from_utf8_lossy(&[python.stdout, python.stderr].concat()).into_owned();
    assert!(
        said.starts_with("ok: ") && said.contains("none that names it is missing in the range"),
        "{said}"
    );
    // For people
    let text = unpacked(&bundle, "timeline.md") + &unpacked(&bundle, "timeline.html");
    for part in ["secret.revealed", "github/app version 2", "subject.revoked", "laptop", "first in entry"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        !text.contains("<stolen>")
            && !fs::read(&bundle).unwrap().windows(7).any(|window| window == b"hunter2"),
        "a reason is text, and no value is in it"
    );
}

#[test]
fn a_bundle_can_be_verified_when_it_is_made() {
    let process = set_up();
    let key = checkpoint_key(&process);
    let make = |file: &str, key: &str| {
        let out = process.path(file).display().to_string();
        process.run_as(
            "operator",
            &["evidence", "agent/a", "--out", &out, "--key", "-", "-o", "json"],
            key.as_bytes(),
        )
    };
    // When the key of before is on standard input, then the answer says what the bundle proves
    let done = make("a.zip", &format!("{key}\n"));
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(said["complete"], true, "{said}");
    assert!(said["entries"].as_u64().unwrap() > 1, "{said}");
    // When it is the key of another broker, then the command fails
    let other = set_up();
    let refused = make("b.zip", &checkpoint_key(&other));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(11), "{said}");
    assert!(said.contains("evidence_invalid") && said.contains("your key does not verify it"), "{said}");
    // And the verifier takes a key on standard input, too
    let bundle = process.path("a.zip").display().to_string();
    let verified = process.run_as("nobody", &["verify", &bundle, "--key", "-"], key.as_bytes());
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

/// The present time, after everything so far.
fn now_text() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S.%3NZ"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn unpacked(bundle: &PathBuf, file: &str) -> String {
    let script = "import sys, zipfile; print(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]).decode())";
    let output = Command::new(python_path()).args(["-c", script]).arg(bundle).arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_changed_bundle_is_refused_by_both_verifiers() {
    let process = set_up();
    process.good_as("a", &["get", "github/app"], b"");
    let key = checkpoint_key(&process);
    let bundle = made(&process, "agent/a", &[], "a.zip");
    let bytes = fs::read(&bundle).unwrap();
    let changed = process.path("changed.zip");
    // Bytes of entries, of the manifest, of the checkpoint, of a page
    for part in ["token.minted", "keyward evidence 1", "keyward.test/", "<h1>", "\"seq\":", "\"path\":["] {
        let at = bytes.windows(part.len()).position(|window| window == part.as_bytes()).unwrap();
        let mut altered = bytes.clone();
        altered[at + 2] ^= 1;
        fs::write(&changed, &altered).unwrap();
        refused(&changed, &key);
    }
    let mut generator = 7_u64;
    for _ in 0..100 {
        generator = generator.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(generator >> 33).unwrap() % bytes.len();
        let mut altered = bytes.clone();
        altered[at] = altered[at].wrapping_add(1);
        fs::write(&changed, &altered).unwrap();
        assert!(!verified(&changed, &key).status.success(), "byte {at}");
        if at.is_multiple_of(10) {
            assert!(!by_python(&changed, &key).status.success(), "byte {at}");
        }
    }
    fs::write(&changed, &bytes[..bytes.len() / 2]).unwrap();
    refused(&changed, &key);

    let other = set_up();
    let said = refused(&bundle, &checkpoint_key(&other));
    assert!(said.contains("manifest.txt"), "{said}");
}

#[test]
fn a_bundle_covers_its_range_and_follows_the_key() {
    let mut process = set_up();
    let key = checkpoint_key(&process);
    process.good_as("a", &["get", "github/app"], b"");
    process.good(&["checkpoint-key", "rotate"], b"");
    let now = now_text();
    process.good(&["agent", "delete", "a", "--yes"], b"");
    let newer = checkpoint_key(&process);
    assert_ne!(key, newer);
    // From the first entry on, and only the newest ones; a deleted agent keeps its history
    let count = |file: &str, more: &[&str]| {
        let bundle = made(&process, "agent/a", more, file);
        let both = [&key, &newer].map(|key| {
            let output = verified(&bundle, key);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
            let python = by_python(&bundle, key);
            assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
            assert_eq!(answer["complete"], true);
            answer["entries"].as_u64().unwrap()
        });
        assert_eq!(both[0], both[1], "the key of before and the present one");
        both[0]
    };
    let before = count("before.zip", &["--until", &now]);
    let all = count("all.zip", &[]);
    let newest = count("newest.zip", &["--since", "0s"]);
    assert!(all > 4 && newest == 1, "its own entry is always in it: {all}, {newest}");
    assert!(before > 2 && before + 3 == all, "without the deletion and two bundles: {before}, {all}");
    assert_eq!(count("again.zip", &["--since", "1d"]), all + 2, "the bundles are entries, too");
    process.stop();
}

#[test]
fn a_bundle_of_an_incident_proves_each_agent_and_operator() {
    // Given an incident with an agent that read a secret, an operator, and a secret
    let process = set_up();
    process.good(&["secret", "put", "github/app"], b"hunter2");
    process.good_as("a", &["get", "github/app"], b"");
    let code = process.good(&["operator", "invite", "eve", "--role", "auditor"], b"");
    process.good_as("eve", &["join"], &code);
    let opened = process.json(&["incident", "open", "agent/a", "secret/github/app", "--reason", "strange"]);
    let incident = opened["incident"].as_str().unwrap();
    process.good(&["contain", "agent/a", "--reason", "sure", "--incident", incident], b"");
    process.good(&["contain", "operator/eve", "--reason", "too", "--incident", incident], b"");
    process.good(&["incident", "note", incident, "key in a log"], b"");
    process.good(&["secret", "put", "github/app"], b"hunter3");
    let key = checkpoint_key(&process);
    // When its bundle is made, then both verifiers accept it and name the subjects with a proof
    for (file, more, least) in [("all.zip", &[][..], 10), ("late.zip", &["--since", "0s"], 1)] {
        let bundle = made(&process, incident, more, file);
        let output = verified(&bundle, &key);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&said["kind"], &said["name"], &said["complete"]),
            (&"incident".into(), &incident.into(), &false.into())
        );
        let complete: Vec<String> = said["subjects"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| format!("{} {}", one["name"], one["complete"]))
            .collect();
        assert_eq!(complete, ["\"a\" true", "\"github/app\" false", "\"eve\" true"], "{said}");
        assert!(said["entries"].as_u64().unwrap() >= least, "{said}");
        let python = by_python(&bundle, &key);
        let said = String::from_utf8_lossy(&[python.stdout, python.stderr].concat()).into_owned();
        assert!(
            said.starts_with("ok: ") && said.contains("none is missing about: agent a, operator eve"),
            "{said}"
        );
        assert!(said.contains("not proved for: secret github/app"), "{said}");
    }
    // And it has the record, the steps, and what names the secret
    let bundle = process.path("all.zip");
    let record: Value = serde_json::from_str(&unpacked(&bundle, "incident.json")).unwrap();
    assert_eq!(record["record"]["notes"][0]["reason"], "key in a log", "{record}");
    assert_eq!(record["declarations_snapshot"].as_str().unwrap().len(), 64);
    let entries = unpacked(&bundle, "entries.jsonl");
    for kind in [
        "incident.opened",
        "incident.contained",
        "incident.noted",
        "secret.stored",
        "declarations.applied",
        "secret.revealed",
    ] {
        assert!(entries.contains(&format!("\"name\":\"{kind}\"")), "{kind}: {entries}");
    }
    let page = unpacked(&bundle, "timeline.md");
    for part in ["with proof of completeness", "key in a log", "the beginning of the ledger to "] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn every_step_of_an_incident_without_agents_is_in_its_bundle() {
    // Given an incident that affects a secret alone, with steps that its record does not name
    let process = set_up();
    process.good(&["secret", "put", "github/app"], b"hunter2");
    let opened = process.json(&["incident", "open", "secret/github/app", "--reason", "strange"]);
    let incident = opened["incident"].as_str().unwrap();
    process.good(&["incident", "update", incident, "--person", "ann@corp.example"], b"");
    let contain = ["contain", "secret/github/app", "--reason", "sure", "--incident", incident];
    for _ in 0..3 {
        process.good(&contain, b"");
    }
    process.good(&["lift", incident, "--reason", "over"], b"");
    process.good(
        &["incident", "close", incident, "--cause", "a key in a log", "--follow-up", "scan build logs"],
        b"",
    );
    // When its bundle is made, then each step is in it
    let bundle = made(&process, incident, &[], "all.zip");
    assert!(verified(&bundle, &checkpoint_key(&process)).status.success());
    let entries = unpacked(&bundle, "entries.jsonl");
    let count = |kind: &str| entries.matches(&format!("\"name\":\"incident.{kind}\"")).count();
    let counts = ["opened", "updated", "contained", "lifted", "closed"].map(count);
    assert_eq!(counts, [1, 1, 3, 1, 1], "{entries}");
    // And its timeline has the record at its head, and what was added in its row
    let page = unpacked(&bundle, "timeline.md");
    assert!(!page.contains("were not searched"));
    let (head, rows) = page.split_once("| entry |").unwrap();
    for fact in
        ["**State**: closed", "**People**: ann@corp.example", "**First sign**: not known", "**Detection**: 2"]
    {
        assert!(head.contains(fact), "{fact}: {head}");
    }
    for fact in
        ["**Containment**: 2", " after the detection)", "**Recovery**: 2", "**Cause**: a key in a log"]
    {
        assert!(head.contains(fact), "{fact}: {head}");
    }
    assert!(head.contains("**Follow-up action**: scan build logs"), "{head}");
    let updated = rows.lines().find(|row| row.contains("incident.updated")).unwrap();
    assert!(updated.contains("people: ann@corp.example"), "{updated}");
    let html = unpacked(&bundle, "timeline.html");
    for part in ["<dt>State</dt><dd>closed</dd>", "Stated: people: ann@corp.example", "@media print"] {
        assert!(html.contains(part), "{part}: {html}");
    }
    // And the ledger lists them by the incident
    let listed = process.json(&["audit", "list", "--incident", incident, "--oldest-first"]);
    let kinds: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds.len(), kinds[0], kinds[7]), (8, "incident.opened", "evidence.exported"), "{kinds:?}");
}

#[test]
fn a_changed_bundle_of_an_incident_is_refused() {
    let process = set_up();
    process.good_as("a", &["get", "github/app"], b"");
    let opened = process.json(&["contain", "agent/a", "--reason", "sure"]);
    let incident = opened["incident"].as_str().unwrap();
    let key = checkpoint_key(&process);
    let bundle = made(&process, incident, &[], "a.zip");
    let bytes = fs::read(&bundle).unwrap();
    let changed = process.path("changed.zip");
    for part in ["incident.contained", "\"subjects\":[", "\"record\":{", "keyward evidence 1"] {
        let at = bytes.windows(part.len()).position(|window| window == part.as_bytes()).unwrap();
        let mut altered = bytes.clone();
        altered[at + 2] ^= 1;
        fs::write(&changed, &altered).unwrap();
        refused(&changed, &key);
    }
    let said = process.said_by("operator", &["evidence", incident, "--until", "1s", "--out", "new.zip"]);
    assert!(said.unwrap_err().contains("has no `until`"));
    let unknown = format!("inc_{}", "0".repeat(26));
    let said = process.said_by("operator", &["evidence", &unknown, "--out", "new.zip"]);
    assert!(said.unwrap_err().contains("incident_unknown"));
}

#[test]
fn an_operator_s_bundle_has_what_the_operator_did() {
    let process = set_up();
    process.good(&["agent", "suspend", "a"], b"");
    // The name alone is enough if only an agent or only an operator has it
    let bundle = made(&process, "admin", &["--since", "1h"], "operator.zip");
    assert!(verified(&bundle, &checkpoint_key(&process)).status.success());
    assert!(unpacked(&bundle, "entries.jsonl").contains("subject.suspended"));
}

#[test]
fn bundle_from_before_a_key_rotation_verifies_with_the_ledger() {
    // Given a bundle from before a rotation of the checkpoint key
    let mut process = set_up();
    let old = checkpoint_key(&process);
    let bundle = made(&process, "agent/a", &[], "a.zip");
    process.good(&["checkpoint-key", "rotate"], b"");
    let key = checkpoint_key(&process);
    process.stop();
    // When it is verified with the present key, then both keys are named, and it is not called changed
    let output = verified(&bundle, &key);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(11) && said.contains("checkpoint_key_differs"), "{said}");
    for key in [&old, &key] {
        assert!(said.contains(key.split('+').nth(1).unwrap()), "{said}");
    }
    // When the ledger is named too, then its announcement leads to the earlier key
    let (path, data) = (bundle.display().to_string(), process.path("data").display().to_string());
    let said = process.good(&["verify", &path, "--key", &key, "--data-dir", &data], b"");
    assert!(String::from_utf8(said).unwrap().starts_with("ok: "));
    process.good(&["verify", &path, "--key", &key, "--config", &process.config()], b"");
    // When the ledger is another one, then the bundle is refused
    let mut other = set_up();
    other.stop();
    let data = other.path("data").display().to_string();
    let output = process.run_as("x", &["verify", &path, "--key", &old, "--data-dir", &data], b"");
    assert_eq!(output.status.code(), Some(11), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn refused_bundles_leave_no_file_and_no_entry() {
    let process = set_up();
    let file = process.path("new.zip").display().to_string();
    let refused = |args: &[&str], code: &str| {
        let said = process.said_by("operator", &[args, &["--out", &file]].concat()).unwrap_err();
        assert!(said.contains(code), "{args:?}: {said}");
        assert!(!process.path("new.zip").exists(), "{args:?}");
    };
    refused(&["evidence", "agent/nobody"], "subject_unknown");
    refused(&["evidence", "operator/nobody"], "operator_unknown");
    refused(&["evidence", "nobody"], "agent/NAME");
    refused(&["evidence", "secret/github/app"], "agent/NAME");
    refused(&["evidence", "agent/A"], "name_not_canonical");
    refused(&["evidence", "agent/a", "--since", "yesterday"], "it is not a moment");
    refused(&["evidence", "agent/a", "--since", "2100-01-01T00:00:00Z"], "evidence_range_empty");
    refused(&["evidence", "agent/a", "--until", "2100-01-01T00:00:00Z"], "evidence_range_empty");
    refused(&["evidence", "agent/a", "--until", "today"], "it is not a moment");
    let code = process.good(&["operator", "invite", "team", "--role", "auditor", "--owner", "payments"], b"");
    process.good_as("team", &["join"], &code);
    let said = process.said_by("team", &["evidence", "agent/a", "--out", &file]).unwrap_err();
    assert!(said.contains("operator_scope_insufficient"), "{said}");
    let entries = process.json(&["audit", "list", "--oldest-first", "--limit", "500"]);
    assert!(!entries.to_string().contains("evidence.exported"));
    fs::write(process.path("new.zip"), "mine").unwrap();
    let said = process.said_by("operator", &["evidence", "agent/a", "--out", &file]).unwrap_err();
    assert!(said.contains("was not overwritten"), "{said}");
    assert_eq!(fs::read(process.path("new.zip")).unwrap(), b"mine");
}
