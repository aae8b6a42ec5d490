//! Every limit of the house is named by a test: a new one without any fails here.

use super::assert_none;
use crate::support::source::{Source, identifier, sources, words};

/// Limits that no test names, and why. Reviewed: a test would sit through the wait, or could see nothing of
/// the edge but memory. One that a test names must leave the list.
const UNNAMED: &[(&str, &str)] = &[
    ("REVOCATION_WAIT_MS", "sat through by `worst_day`, on a disk that stalls"),
    ("REVOCATION_RETRY_MS", "how long apart a full ledger is asked shows in nothing but the wait"),
    ("PROBE_EVERY_S", "sat through by `readiness`: nothing but a probe ends what it waits for"),
    ("PROBE_ROOM_BYTES", "likewise: the probe on a full disk that has room again"),
    ("LEDGER_STALLED_MS", "sat through by `readiness`, on a disk that hangs"),
    ("LEDGER_SLOW_MS", "a disk that takes a second shows in a warning alone, after the second"),
    ("DISK_FREE_BYTES_MIN", "`readiness` fills a disk far beyond it"),
    (
        "EARLIER_DIGESTS_MAX",
        "nine rotations of the root key show in a request that is carried out again alone",
    ),
    ("ADOPTION_WAIT_MS", "sat through by `copies`"),
    ("SEAL_WAIT_S", "sat through by `sealing`, on a disk that stalls"),
    ("BATCH_ENTRIES_MAX", "a batch shows in nothing but speed"),
    ("BATCH_BYTES_MAX", "likewise"),
    ("INDEX_WAITING_MAX", "a queue that blocks its writer shows in nothing but speed"),
    ("CONNECTIONS_WAITING_MAX", "the kernel's queue, and the kernel's own limit comes before it"),
    ("HEADER_WAIT_S", "sat through by `limits::http_05_…`"),
    ("BODY_WAIT_S", "likewise"),
    ("HANDSHAKE_WAIT_S", "likewise"),
    ("WRITE_WAIT_S", "`http::transport::write_timeout` tests it with another one"),
    ("CUT_WAIT_S", "how long an answer under way is waited for shows in nothing but the wait"),
    ("LINGER_WAIT_S", "how long a refused peer is waited for shows to nobody"),
    (
        "COME_BACK_AFTER_S",
        "`http::transport::backpressure` tests that it is waited for, and does not sit through it",
    ),
    ("PUBLISH_WAIT_MS", "how long a disk that hangs is waited for shows in nothing but the wait"),
    ("PUBLISHES_WAITING_MAX", "likewise"),
    ("PUT_VALUES_MAX", "a value that is not compared any more shows in nothing but a client's mistake"),
    ("PLACE_WAIT_MS", "sat through by `http::transport::middleware`"),
    ("SWAP_WAIT_S", "sat through by `rotation::storm`"),
    ("UPSTREAM_WAIT_S", "sat through by `rotation::http_driver`"),
];

/// Each constant of `limits` is named in one of the `tests`, or is on the list.
fn unnamed(limits: &str, tests: &[&str], listed: &[(&str, &str)]) -> Vec<String> {
    let all: Vec<&str> = limits.split("\npub const ").skip(1).map(identifier).collect();
    let is_named = |limit: &str| tests.iter().any(|text| words(text, limit).next().is_some());
    let is_listed = |limit: &str| listed.iter().any(|(one, _)| *one == limit);
    let mut findings = Vec::new();
    for limit in &all {
        match (is_named(limit), is_listed(limit)) {
            (true, false) | (false, true) => {}
            (false, false) => findings.push(format!("`{limit}` has no test that names it")),
            (true, true) => findings.push(format!("`{limit}` is on the list, and a test names it")),
        }
    }
    let gone = listed.iter().filter(|(limit, _)| !all.contains(limit));
    findings.extend(gone.map(|(limit, _)| format!("`{limit}` is on the list, and no limit")));
    findings
}

#[test]
fn every_limit_is_named_by_a_test() {
    let (code, tests) = (sources("src"), sources("tests/it"));
    let is_limits =
        |source: &&Source| source.path.starts_with("src/base/") && source.path.ends_with("limits.rs");
    let files: Vec<&Source> = code.iter().filter(is_limits).collect();
    assert!(files.iter().any(|source| source.path == "src/base/approval_limits.rs"), "each file of limits");
    let limits: String = files.iter().map(|source| source.text.as_str()).collect();
    let own = |source: &&Source| source.path != "tests/it/architecture/limits.rs";
    let tests = tests.iter().filter(own).map(|source| source.text.as_str());
    let tests: Vec<&str> = code.iter().map(|source| source.tests.as_str()).chain(tests).collect();
    assert_none(&unnamed(&limits, &tests, UNNAMED));
}

#[test]
fn a_limit_without_a_test_is_found() {
    let limits = "\npub const A_MAX: u32 = 1;\npub const B_MAX: u32 = 2;\n";
    assert!(unnamed(limits, &["A_MAX + 1", "f(B_MAX)"], &[]).is_empty());
    assert_eq!(unnamed(limits, &["A_MAX + 1", "B_MAX_S"], &[]).len(), 1, "another name");
    assert!(unnamed(limits, &["A_MAX"], &[("B_MAX", "why")]).is_empty());
    assert_eq!(unnamed(limits, &["A_MAX, B_MAX"], &[("B_MAX", "why")]).len(), 1, "an idle entry");
    assert_eq!(unnamed(limits, &["A_MAX, B_MAX"], &[("C_MAX", "why")]).len(), 1, "no limit any more");
    let source = Source::new(
        "src/base/x.rs",
        "// A_MAX\nfn f() {}\n#[cfg(test)]\nmod tests { /* B_MAX */ fn g() { h(C_MAX); } }",
    );
    assert!(
        source.tests.contains("C_MAX") && !source.tests.contains("A_MAX") && !source.tests.contains("B_MAX")
    );
}
