//! What only some files may do: look into secrets, use the ledger's reserve, make proofs.

use std::collections::BTreeSet;

use super::exposing::EXPOSING;
use super::{ADVANCING, LIVENESS, PROOFS, REVOKING, SPAWNING, SPAWNING_FILES, assert_none};
use crate::support::source::{Source, is_word, sources, words};

/// Sensitive values are looked into only where it was reviewed.
pub(super) fn exposures(sources: &[Source], listed: &[&str]) -> Vec<String> {
    reviewed(sources, (&["expose()", "expose(&self)"], "looks into a sensitive value"), listed)
}

/// The ledger's reserve is used only where it was reviewed that something is taken away.
pub(super) fn reserve(sources: &[Source], listed: &[&str]) -> Vec<String> {
    reviewed(sources, (&[".urgent()"], "uses the ledger's reserve"), listed)
}

/// What a change advances follows from its effects; only where it was reviewed is a key advanced beside them.
pub(super) fn advances(sources: &[Source], listed: &[&str]) -> Vec<String> {
    let within: Vec<Source> =
        sources.iter().filter(|source| source.room() == Some("broker")).cloned().collect();
    reviewed(&within, (&[".advance("], "advances a key by hand"), listed)
}

/// Below the edges, tasks are started only where it was reviewed that they end and that there are not too many.
pub(super) fn tasks(sources: &[Source], listed: &[&str]) -> Vec<String> {
    let is_below = |source: &&Source| !source.room().is_some_and(|room| SPAWNING.contains(&room));
    let below: Vec<Source> = sources.iter().filter(is_below).cloned().collect();
    reviewed(&below, (&["tokio::spawn("], "starts a task"), listed)
}

/// The marks of revoked subjects are read in one place: nobody else can forget a subject.
pub(super) fn marks(sources: &[Source], listed: &[&str]) -> Vec<String> {
    let others: Vec<Source> =
        sources.iter().filter(|source| source.room() != Some("revocation")).cloned().collect();
    reviewed(&others, (&["revocations.judge("], "reads the marks of revoked subjects"), listed)
}

/// Nothing above the database opens a ledger that several brokers share: they have no freshness window, so each would
/// accept what another one has revoked.
pub(super) fn sharing(sources: &[Source], listed: &[&str]) -> Vec<String> {
    reviewed(sources, (&["LogUse::Share"], "opens a ledger that is shared"), listed)
}

/// What a file does that says one of these words, only the `listed` files do, and they do it.
pub(super) fn reviewed(sources: &[Source], (says, does): (&[&str], &str), listed: &[&str]) -> Vec<String> {
    let mut findings = Vec::new();
    let said = |source: &Source| says.iter().find_map(|one| source.code.find(one));
    for source in sources {
        if let Some(at) = said(source).filter(|_| !listed.contains(&source.path.as_str())) {
            findings.push(source.finding(at, &format!("{does}, and is not on the list")));
        }
    }
    for file in listed {
        if !sources.iter().any(|source| source.path == *file && said(source).is_some()) {
            findings.push(format!("{file}: on the list, but nothing in it {does}"));
        }
    }
    findings
}

/// A proof is made only in its own room.
pub(super) fn proofs(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        let code = &source.code;
        for at in words(code, "assertion(") {
            let before = &code[..at];
            if before.ends_with("fn ") {
                let line = before.rsplit('\n').next().unwrap_or_default().trim_start();
                if line.starts_with("pub ") || line.starts_with("pub(crate)") {
                    findings.push(source.finding(at, "an assertion that other rooms can make"));
                }
                continue;
            }
            let named = before.strip_suffix("::").map(|path| &path[path.trim_end_matches(is_word).len()..]);
            let own =
                PROOFS.iter().any(|(proof, room)| Some(*proof) == named && Some(*room) == source.room());
            if !own {
                findings.push(source.finding(at, "asserts a proof that is not its room's to make"));
            }
        }
    }
    findings
}

/// Kinds of upstream whose names are words of other rooms too.
const SHARED_NAMES: [&str; 2] = ["generate", "http"];

/// Other names of kinds of upstream and their libraries.
const OTHER_NAMES: [&str; 2] = ["postgres", "mysql"];

/// What is about the ledger's own database, which is PostgreSQL too. Reviewed: none of it knows an upstream.
const OF_THE_LEDGER: &[&str] = &[
    "src/app/ledger_place.rs",
    "src/base/code/machine.rs",
    "src/cli/examples/mod.rs",
    "src/cli/ledger_args.rs",
    "src/config/database.rs",
    "src/config/engine.rs",
    "src/config/tests.rs",
    "src/database/",
    "src/offline/host_checks.rs",
    "src/offline/ledger_check.rs",
    "src/offline/ledger_move.rs",
    "src/wire/host_outputs.rs",
];

/// The fields of drivers' declarations that no other use has in these rooms.
const DRIVER_FIELDS: [&str; 4] = ["host", "port", "database", "ca"];

/// Where declared upstreams are opaque.
const OPAQUE_TO: [&str; 4] = ["src/leases/", "src/rotation/", "src/broker/leases/", "src/broker/rotation/"];

/// The names of the kinds of upstream: each folder of `src/upstream` is a kind.
fn kinds() -> BTreeSet<String> {
    let files = sources("src/upstream");
    let inside = files.iter().filter_map(|source| source.path.strip_prefix("src/upstream/")?.split_once('/'));
    inside.map(|(kind, _)| kind.to_owned()).collect()
}

/// Only `upstream` knows one kind of upstream from another, in code, in messages and in comments.
pub(super) fn drivers(sources: &[Source], kinds: &BTreeSet<String>) -> Vec<String> {
    let mut findings = Vec::new();
    let own = kinds.iter().map(String::as_str).filter(|kind| !SHARED_NAMES.contains(kind));
    let names: Vec<&str> = own.chain(OTHER_NAMES).collect();
    for source in sources.iter().filter(|source| source.room() != Some("upstream")) {
        let raw = source.raw.to_ascii_lowercase();
        let is_ledgers = OF_THE_LEDGER.iter().any(|path| source.path.starts_with(path));
        let mut foreign = names.iter().filter(|name| !(is_ledgers && name.starts_with("postgres")));
        let named = foreign.find_map(|name| Some((*name, raw.find(name)?)));
        findings.extend(named.map(|(name, at)| source.finding(at, &format!("names the driver `{name}`"))));
        if OPAQUE_TO.iter().any(|folder| source.path.starts_with(folder)) {
            for field in DRIVER_FIELDS {
                let found = words(&source.code, field).next();
                findings.extend(found.map(|at| source.finding(at, &format!("knows a driver's `{field}`"))));
            }
        }
    }
    findings
}

#[test]
fn drivers_are_named_in_upstream_alone() {
    let kinds = kinds();
    assert!(
        SHARED_NAMES.iter().all(|name| kinds.contains(*name)) && kinds.len() > SHARED_NAMES.len(),
        "{kinds:?}"
    );
    assert_none(&drivers(&sources("src"), &kinds));
}

#[test]
fn sensitive_values_are_looked_into_where_it_was_reviewed() {
    assert_none(&exposures(&sources("src"), EXPOSING));
}

#[test]
fn keys_are_advanced_by_effects_or_where_it_was_reviewed() {
    assert_none(&advances(&sources("src"), ADVANCING));
}

#[test]
fn the_ledger_s_reserve_is_used_where_it_was_reviewed() {
    assert_none(&reserve(&sources("src"), REVOKING));
}

#[test]
fn tasks_below_the_edges_are_started_where_it_was_reviewed() {
    assert_none(&tasks(&sources("src"), SPAWNING_FILES));
}

#[test]
fn one_function_decides_whether_a_credential_is_live() {
    assert_none(&marks(&sources("src"), LIVENESS));
}

#[test]
fn no_configuration_shares_a_ledger() {
    assert_none(&sharing(&sources("src"), &["src/database/claim.rs", "src/database/postgres_log.rs"]));
}

#[test]
fn proofs_are_made_in_their_own_room() {
    assert_none(&proofs(&sources("src")));
}
