//! `docs/architecture.md` names every room and every dependency, with the owners that hold in the code.

use std::collections::BTreeSet;

use super::{CRATES, ROOMS, assert_none, file};

/// Every dependency has its owner here and its line in the book, and neither list has more.
pub(super) fn dependencies(cargo: &str, book: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let of = |section: &str| -> BTreeSet<String> {
        let lines = cargo.lines().skip_while(move |line| *line != section).skip(1);
        let lines = lines.take_while(|line| !line.starts_with('['));
        lines.filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim().to_owned()).collect()
    };
    let normal = of("[dependencies]");
    let all: BTreeSet<String> = normal.union(&of("[dev-dependencies]")).cloned().collect();
    let known: BTreeSet<String> = CRATES.iter().map(|(name, _)| name.replace('_', "-")).collect();
    let named: BTreeSet<String> = normal.iter().map(|name| name.replace('_', "-")).collect();
    for name in named.symmetric_difference(&known) {
        findings.push(format!("`{name}` is in one of Cargo.toml and this test's list, not in both"));
    }
    let mut booked = BTreeSet::new();
    for row in rows(book, "Dependencies") {
        let cell =
            |at: usize| row.get(at).map(|cell| cell.split(", ").collect::<Vec<_>>()).unwrap_or_default();
        let (names, owners) = (cell(0), cell(1));
        for name in &names {
            let rooms = CRATES.iter().find(|(known, _)| known.replace('_', "-") == name.replace('_', "-"));
            let rooms = rooms.map_or(&["tests"][..], |(_, rooms)| rooms);
            let agree = rooms.iter().all(|room| owners.contains(room));
            if !agree || names.len() == 1 && rooms.len() != owners.len() {
                findings.push(format!("docs/architecture.md: `{name}` is not owned by {owners:?}"));
            }
            booked.insert((*name).to_owned());
        }
    }
    for name in all.symmetric_difference(&booked) {
        findings.push(format!("`{name}` is in one of Cargo.toml and docs/architecture.md, not in both"));
    }
    findings
}

/// The book has a line per room, with what the room does not know.
pub(super) fn rooms_in_book(book: &str) -> Vec<String> {
    let rows = rows(book, "The tower");
    let booked: BTreeSet<&str> =
        rows.iter().filter(|row| row.len() == 3 && !row[2].is_empty()).map(|row| row[0]).collect();
    let known: BTreeSet<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    let missing = known.symmetric_difference(&booked);
    missing.map(|room| format!("`{room}` is in one of the tower and docs/architecture.md")).collect()
}

/// The cells of the table under the heading `section`.
fn rows<'a>(book: &'a str, section: &str) -> Vec<Vec<&'a str>> {
    let below = book.split_once(&format!("\n## {section}\n")).map_or("", |(_, rest)| rest);
    let below = below.split("\n## ").next().unwrap_or_default();
    let lines = below.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let cells = |line: &'a str| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
    lines.skip(2).map(cells).collect()
}

#[test]
fn every_dependency_and_every_room_is_in_the_book() {
    assert_none(&dependencies(&file("Cargo.toml"), &file("docs/architecture.md")));
    assert_none(&rooms_in_book(&file("docs/architecture.md")));
}

#[test]
fn what_keyward_is_measured_against_and_with_has_nothing_of_it() {
    for manifest in ["benches/floor/Cargo.toml", "benches/load/Cargo.toml"] {
        let text = file(manifest);
        let (_, dependencies) = text.split_once("\n[dependencies]\n").unwrap();
        assert!(dependencies.contains("rustls ="), "{manifest}: the rule reads dependencies");
        assert!(!dependencies.contains("keyward") && !dependencies.contains("path ="), "{manifest}");
    }
}
