//! Each rule finds a made-up breach, and lets its harmless twin pass.

use super::book::{dependencies, rooms_in_book};
use super::confined::{advances, drivers, exposures, marks, proofs, reserve, sharing};
use super::exposing::EXPOSING;
use super::{FILE_LINES_MAX, file, floors, habits, owners, shapes};
use crate::support::source::Source;

/// `rule` finds something in `bad`, and nothing in `good`.
fn bites(rule: impl Fn(&[Source]) -> Vec<String>, path: &str, bad: &str, good: &str) {
    let found = rule(&[Source::new(path, bad)]);
    assert_eq!(found.len(), 1, "{path}: {bad}: {found:?}");
    let found = rule(&[Source::new(path, good)]);
    assert!(found.is_empty(), "{path}: {good}: {found:?}");
}

#[test]
fn an_import_from_above_or_beside_is_found() {
    let good = "use crate::base::Clock;";
    for bad in [
        "use crate::store::Store;",
        "use crate::index::Index;",
        "use crate::{base::Clock, policy::Grant};",
        "fn f() -> crate::broker::Failure { g() }",
        "use super::super::policy::Grant;",
        "use crate::attic::Box;",
    ] {
        bites(floors, "src/ledger/x.rs", bad, good);
    }
    bites(
        floors,
        "src/cli/demo/x.rs",
        "use super::super::super::http::Problem;",
        "use super::super::Console;",
    );
    for astray in ["src/attic/x.rs", "src/loose.rs"] {
        assert_eq!(floors(&[Source::new(astray, good)]).len(), 1, "{astray}");
    }
    let told =
        "// crate::broker\nconst SAY: &str = \"crate::broker\";\n#[cfg(test)]\nmod tests { use crate::app; }";
    assert!(floors(&[Source::new("src/base/x.rs", told)]).is_empty());
}

#[test]
fn an_outside_crate_in_the_wrong_room_is_found() {
    bites(owners, "src/store/x.rs", "use sled::Db;", "use std::time::Duration;");
    bites(owners, "src/http/x.rs", "fn f() { sled::open(p); }", "fn f() { tokio::time::sleep(d); }");
    bites(owners, "src/cli/x.rs", "use rcgen::{KeyPair};", "use std::{time::Duration, io};");
    bites(owners, "src/pki/x.rs", "use ring::aead;", "mod ring;\nuse ring::aead;");
    bites(owners, "src/http/x.rs", "fn f() { time::now(); }", "use std::time;\nfn f() { time::now(); }");
    bites(
        owners,
        "src/broker/x.rs",
        "#[derive(axum::Json)] struct A;",
        "#[derive(thiserror::Error)] struct A;",
    );
}

#[test]
fn a_driver_that_is_named_outside_of_upstream_is_found() {
    let kinds = ["http", "postgresql", "redis"].map(str::to_owned).into();
    let rule = |sources: &[Source]| drivers(sources, &kinds);
    bites(rule, "src/http/x.rs", "/// Of a PostgreSQL server.", "/// Of an upstream.");
    bites(rule, "src/http/x.rs", "/// Of a Redis server.", "/// Of an HTTP server.");
    bites(rule, "src/cli/x.rs", "const URL: &str = \"mysql://\";", "const URL: &str = \"https://\";");
    bites(rule, "src/broker/leases/x.rs", "fn f(port: u16) {}", "fn f(support: u16) {}");
    assert!(rule(&[Source::new("src/upstream/x/mod.rs", "use tokio_postgres::Client;")]).is_empty());
}

#[test]
fn drawers_giants_and_banners_are_found() {
    for drawer in ["src/http/utils.rs", "src/helpers/x.rs", "src/pki/types.rs", "tests/it/common/mod.rs"] {
        assert_eq!(shapes(&[Source::new(drawer, "")]).len(), 1, "{drawer}");
    }
    let (most, more) = ("\n".repeat(FILE_LINES_MAX), "\n".repeat(FILE_LINES_MAX + 1));
    bites(shapes, "src/http/x.rs", &more, &most);
    bites(shapes, "src/http/x.rs", "// ==== helpers ====\n", "// == is not constant-time here\n");
    bites(shapes, "src/http/x.rs", "/// This function opens it.\n", "/// Opens it.\n");
}

#[test]
fn a_second_place_that_reads_marks_is_found() {
    let reads = "fn f() { world.revocations.judge(1, &[], &[]); }";
    let rule = |sources: &[Source]| marks(sources, &[]);
    bites(rule, "src/broker/x.rs", reads, "fn f() { live(credential, records); }");
    assert!(marks(&[Source::new("src/authn/x.rs", reads)], &["src/authn/x.rs"]).is_empty());
}

#[test]
fn a_new_look_into_a_sensitive_value_is_found() {
    let looks = "fn f(key: &Sensitive<[u8; 32]>) { g(key.expose()); }";
    let rule = |sources: &[Source]| exposures(sources, &[]);
    bites(rule, "src/http/x.rs", looks, "// key.expose()");
    let listed = Source::new("src/http/x.rs", looks);
    assert!(exposures(&[listed], &["src/http/x.rs"]).is_empty());
    let idle = exposures(&[Source::new("src/http/x.rs", "")], &["src/http/x.rs"]);
    assert_eq!(idle.len(), 1, "an idle entry leaves the list");
    assert!(EXPOSING.is_sorted(), "the list is in order");
}

#[test]
fn a_key_that_is_advanced_by_hand_is_found() {
    let uses = "fn f() { change.advance(key) }";
    bites(|sources| advances(sources, &[]), "src/broker/x.rs", uses, "fn f() { effect.advances(keys) }");
    let listed = Source::new("src/broker/x.rs", uses);
    assert!(advances(&[listed], &["src/broker/x.rs"]).is_empty());
}

#[test]
fn a_new_use_of_the_ledger_s_reserve_is_found() {
    let uses = "fn f() { Change::new(&event)?.urgent() }";
    bites(|sources| reserve(sources, &[]), "src/broker/x.rs", uses, "fn urgent(mut self) -> Self {}");
    let listed = Source::new("src/broker/x.rs", uses);
    assert!(reserve(&[listed], &["src/broker/x.rs"]).is_empty());
    let idle = reserve(&[Source::new("src/broker/x.rs", "")], &["src/broker/x.rs"]);
    assert_eq!(idle.len(), 1, "an idle entry leaves the list");
}

#[test]
fn a_ledger_that_is_shared_by_an_edge_is_found() {
    let shares = "fn f() { PostgresLog::new(target, LogUse::Share, claimant) }";
    let rule = |sources: &[Source]| sharing(sources, &[]);
    bites(rule, "src/app/x.rs", shares, "fn f() { PostgresLog::new(target, LogUse::Serve, claimant) }");
}

#[test]
fn a_proof_made_elsewhere_is_found() {
    let makes = "fn f() { Grant::assertion(basis, act) }";
    bites(proofs, "src/broker/x.rs", makes, "fn f() { assert(true) }");
    bites(proofs, "src/ledger/x.rs", makes, "fn f() { Committed::assertion(1, now) }");
    bites(proofs, "src/quota/x.rs", "fn f() { Permit::assertion() }", "fn f() { debug_assertion() }");
    bites(
        proofs,
        "src/policy/x.rs",
        "    pub(crate) const fn assertion(basis: Basis) -> Self {",
        "    pub(super) const fn assertion(basis: Basis) -> Self {",
    );
}

#[test]
fn stray_tasks_endless_queues_and_second_encoders_are_found() {
    bites(habits, "src/ledger/x.rs", "fn f() { tokio::spawn(work()); }", "fn f() { builder.spawn(work); }");
    bites(habits, "src/policy/x.rs", "use tokio::task; fn f() { task::spawn(work()); }", "");
    bites(habits, "src/broker/x.rs", "fn f() { tokio::spawn(work()); }", "");
    bites(
        habits,
        "src/app/x.rs",
        "use tokio::sync::mpsc::unbounded_channel;",
        "fn f() { tokio::spawn(w()); }",
    );
    bites(habits, "src/app/x.rs", "fn f() { mpsc::channel(); }", "fn f() { oneshot::channel(); }");
    bites(habits, "src/pki/x.rs", "fn to_hex(bytes: &[u8]) {}", "fn f() { hex(bytes); }");
    bites(habits, "src/pki/x.rs", "fn f() { format!(\"{b:02x}\"); }", "fn f() { format!(\"{n:02}\"); }");
}

#[test]
fn a_dependency_without_owner_or_line_is_found() {
    let (cargo, book) = (file("Cargo.toml"), file("docs/architecture.md"));
    let more = cargo.replace("[dependencies]\n", "[dependencies]\nleft-pad = \"1\"\n");
    assert_eq!(dependencies(&more, &book).len(), 2, "neither owner nor line");
    let fewer = book.replace("\n| sled | index |", "\nsled, index:");
    assert_eq!(dependencies(&cargo, &fewer).len(), 1);
    let moved = book.replace("\n| sled | index |", "\n| sled | store |");
    assert_eq!(dependencies(&cargo, &moved).len(), 1);
    let wider = book.replace("\n| sled | index |", "\n| sled | index, store |");
    assert_eq!(dependencies(&cargo, &wider).len(), 1);
    let silent = book.replace("\n| `index` |", "\n| `attic` |");
    assert_eq!(rooms_in_book(&silent).len(), 2);
}
