//! Canaries: a value that must not be seen is planted wherever secrets go, everything is driven with
//! the log at TRACE, and every output is searched in the spellings in which secrets leak.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use keyward::base::encoding::{base64url, hex};
use keyward::pki::EnrolmentCode;

use crate::support::process::{Process, files};

/// The canary's spellings: raw, hex, base64 at its three offsets in both alphabets, reversed,
/// percent-encoded, UTF-16.
fn spellings(canary: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![
        canary.to_vec(),
        hex(canary).into_bytes(),
        hex(canary).to_uppercase().into_bytes(),
        canary.iter().rev().copied().collect(),
        canary.iter().flat_map(|byte| format!("%{byte:02X}").into_bytes()).collect(),
        canary.iter().flat_map(|byte| [*byte, 0]).collect(),
        format!("{canary:?}").trim_matches(['[', ']']).as_bytes().to_vec(),
    ];
    for pad in 0..3 {
        let text = base64url(&[&vec![0; pad], canary].concat());
        let inner = &text[4..text.len() - 4];
        all.push(inner.as_bytes().to_vec());
        all.push(inner.replace('-', "+").replace('_', "/").into_bytes());
    }
    all
}

pub(crate) fn holds(bytes: &[u8], canary: &[u8]) -> bool {
    spellings(canary).iter().any(|one| memchr::memmem::find(bytes, one).is_some())
}

/// Every file below `dir` that holds the canary.
pub(crate) fn sightings(dir: &Path, canary: &[u8]) -> Vec<String> {
    let seen = files(dir).into_iter().filter(|path| holds(&fs::read(path).unwrap(), canary));
    seen.map(|path| path.display().to_string()).collect()
}

#[test]
fn the_scanner_finds_what_is_planted_in_every_spelling() {
    let canary = b"CNRY-planted-0123456789abcdef";
    for spelling in spellings(canary) {
        let planted = [b"before".as_slice(), &spelling, b"after"].concat();
        assert!(holds(&planted, canary));
    }
    for pad in 0..3 {
        let text = base64url(&[&vec![b'x'; pad], canary.as_slice(), b"tail"].concat());
        assert!(holds(text.as_bytes(), canary), "base64 at offset {pad}");
    }
    assert!(!holds(b"CNRY-planted-0123456789abcde", canary));
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("planted"), canary).unwrap();
    assert_eq!(sightings(dir.path(), canary).len(), 1);
}

/// Hazard AUD-07.
#[test]
fn no_secret_is_in_log_ledger_disk_error_or_process() {
    let secret = b"CNRY-secret-8f14e45fceea167a5a36dedd4bea2543".as_slice();
    let mut process = Process::init("trace");
    process.serve();
    process.set_up(secret);
    let mut said = Vec::new();

    // The right ways.
    assert_eq!(process.good_as("a", &["get", "github/app"], b""), secret);
    let token = String::from_utf8(process.good_as("a", &["token", "github.repo.read"], b"")).unwrap();
    let code = process.good(&["agent", "invite", "b", "--role", "repo-reader"], b"");
    let code_text = String::from_utf8(code.clone()).unwrap();
    process.good_as("b", &["join"], &code);
    // Leaked texts that an operator has recognised, or writes into a record.
    for leaked in [secret, token.as_bytes(), code.as_slice()] {
        said.extend(process.good(&["incident", "value", "-", "-o", "json"], leaked));
    }
    let opened = process.json(&["incident", "open", "agent/a", "--reason", "a key in a log"]);
    let incident = opened["incident"].as_str().unwrap();
    for text in [String::from_utf8_lossy(secret), code_text.as_str().into()] {
        let output = process.run_as("operator", &["incident", "note", incident, text.trim()], b"");
        assert!(String::from_utf8_lossy(&output.stderr).contains("text_contains_secret"), "{output:?}");
        said.extend(output.stdout);
        said.extend(output.stderr);
    }
    // And every wrong one: what went wrong must not be repeated anywhere.
    for (who, args, input) in [
        ("operator", vec!["secret", "put", "github/APP"], secret),
        (
            "operator",
            vec!["secret", "put", "github/app", "CNRY-secret-8f14e45fceea167a5a36dedd4bea2543"],
            b"",
        ),
        ("a", vec!["token", "CNRY-secret-8f14e45fceea167a5a36dedd4bea2543"], b""),
        ("a", vec!["get", "no/such"], b""),
        ("thief", vec!["join"], code.as_slice()),
        ("thief", vec!["join"], secret),
        ("nobody", vec!["whoami"], b""),
    ] {
        let output = process.run_as(who, &args, input);
        assert!(!output.status.success(), "{args:?}");
        said.extend(output.stdout);
        said.extend(output.stderr);
    }
    // What was replaced, and ended for good, is still sealed on the ledger, and nowhere else.
    process.good(&["secret", "put", "github/app"], b"another");
    said.extend(process.good(&["secret", "destroy", "github/app", "1", "--yes", "--now"], b""));
    said.extend(process.good(&["secret", "show", "github/app"], b""));
    said.extend(process.good(&["audit", "list", "--limit", "500", "-o", "json"], b""));
    said.extend(process.good(&["secret", "list", "-o", "json"], b""));
    let proc = format!("/proc/{}", process.pid());
    for file in ["cmdline", "environ"] {
        said.extend(fs::read(format!("{proc}/{file}")).unwrap_or_default());
    }
    process.stop();
    assert!(process.log().contains("TRACE"), "the log was not at TRACE");

    let parsed = EnrolmentCode::parse(&code_text).unwrap();
    let signature = token.trim().rsplit('.').next().unwrap().as_bytes().to_vec();
    let canaries: [(&str, &[u8]); 3] =
        [("secret", secret), ("enrolment code", parsed.secret.expose()), ("token", &signature)];
    for (what, canary) in canaries {
        assert!(!holds(&said, canary), "the {what} was said: {}", String::from_utf8_lossy(&said));
        assert!(!holds(process.log().as_bytes(), canary), "the {what} is in the log");
        assert_eq!(sightings(&process.path("data"), canary), [""; 0], "{what}");
    }
    // Private keys of operators and agents stay in their homes.
    let key = fs::read_to_string(process.path("home-a/agent/key.pem")).unwrap();
    let line = key.lines().nth(1).unwrap().as_bytes();
    assert_eq!(sightings(&process.path("data"), line), [""; 0]);
    assert!(!holds(process.log().as_bytes(), line));
}

/// Where in the memory of the process the canary stands.
pub(crate) fn in_memory(pid: u32, canary: &[u8]) -> Vec<String> {
    sighted(&memory(pid), canary)
}

/// Where the canary stands in what was read of a memory.
pub(crate) fn sighted(memory: &[(String, Vec<u8>)], canary: &[u8]) -> Vec<String> {
    let found = memory.iter().filter(|(_, bytes)| holds(bytes, canary));
    found.map(|(place, _)| place.clone()).collect()
}

/// All memory of the process that can be written to, and where it is.
pub(crate) fn memory(pid: u32) -> Vec<(String, Vec<u8>)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).expect("this test has to run as root");
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (range, what) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let address = |text| u64::from_str_radix(text, 16).unwrap();
        let mut bytes = vec![0; usize::try_from(address(to) - address(from)).unwrap()];
        // What is mapped and not there is passed over: a stack's guard, a device.
        if memory.read_exact_at(&mut bytes, address(from)).is_ok() {
            all.push((format!("{from} in {what}"), bytes));
        }
    }
    all
}

/// Hazard KEY-07.
#[test]
fn no_secret_stays_in_the_broker_s_memory_once_it_was_delivered() {
    let secret = b"CNRY-memory-1f3870be274f6c49b3e31a0c6728957f".as_slice();
    let mut process = Process::init("info");
    process.serve();
    process.set_up(secret);
    for _ in 0..3 {
        assert_eq!(process.good_as("a", &["get", "github/app"], b""), secret);
    }
    let token = String::from_utf8(process.good_as("a", &["token", "github.repo.read"], b"")).unwrap();
    let code = process.good(&["agent", "invite", "b", "--role", "repo-reader"], b"");
    process.good_as("b", &["join"], &code);
    let code = EnrolmentCode::parse(&String::from_utf8(code).unwrap()).unwrap();
    assert!(!in_memory(process.pid(), b"spiffe://keyward.test").is_empty(), "what is there is found");
    let signature = token.trim().rsplit('.').next().unwrap().as_bytes();
    let canaries = [("secret", secret), ("enrolment code", code.secret.expose()), ("token", signature)];
    for (what, canary) in canaries {
        assert_eq!(in_memory(process.pid(), canary), [""; 0], "{what}");
    }
}

/// Hazard STO-19.
#[test]
fn everything_that_the_broker_keeps_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let mut process = Process::init("info");
    process.serve();
    process.set_up(b"value");
    process.stop();
    for path in files(&process.path("data")).into_iter().chain([process.path("root.key")]) {
        let inside = path.components().any(|part| part.as_os_str() == "index");
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert!(inside || mode & 0o077 == 0, "{}: {mode:o}", path.display());
    }
    let mode = fs::metadata(process.path("data")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700, "nobody gets to the index either");
}
