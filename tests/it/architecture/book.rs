//! `docs/architecture.md` names every room and every dependency, with the owners that hold in the code, and only
//! files and items that exist.

use std::collections::BTreeSet;

use super::{CRATES, ROOMS, assert_none, file};
use crate::readme::{code, root};
use crate::support::source::{Source, is_word, sources, words};

/// The folders of the repository that the book names files of.
const TOPS: [&str; 6] = ["src/", "tests/", "docs/", "scripts/", "benches/", "config/"];

/// What is in backticks in the book, has the form of a name in the code, and is none. Reviewed.
const OTHER_WORDS: &[&str] = &[];

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

/// Names in `book` that lead to no file, folder or item of `sources`, and words of `listed` that are not in it.
pub(super) fn dead_names(book: &str, sources: &[Source], listed: &[&str]) -> Vec<String> {
    let named: BTreeSet<String> = code(book).into_iter().collect();
    let is_dead = |name: &str| !path_exists(name) || !item_exists(name, sources);
    let dead = named.iter().filter(|name| is_dead(name) && !listed.contains(&name.as_str()));
    let mut findings: Vec<String> =
        dead.map(|name| format!("docs/architecture.md: `{name}` does not exist")).collect();
    let idle = listed.iter().filter(|word| !named.contains(**word) || !is_dead(word));
    findings
        .extend(idle.map(|word| format!("`{word}` is on the list of other words, and does not need to be")));
    findings
}

/// Whether `name` is no path, or a file or folder has it. A part in capitals stands for any name.
fn path_exists(name: &str) -> bool {
    if !TOPS.iter().any(|top| name.starts_with(top)) || name.contains(' ') {
        return true;
    }
    let is_placeholder =
        |part: &&str| part.trim_end_matches(".rs").bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let known: Vec<&str> =
        name.trim_end_matches('/').split('/').take_while(|part| !is_placeholder(part)).collect();
    root().join(known.join("/")).exists()
}

/// Whether `name` has not the form of an item (`room::file::Item`, `Type::member`, `Type`), or is one.
fn item_exists(name: &str, sources: &[Source]) -> bool {
    let parts: Vec<&str> = name.split(['<', '(']).next().unwrap_or_default().split("::").collect();
    if !parts.iter().all(|part| !part.is_empty() && part.chars().all(is_word)) {
        return true;
    }
    let is_type = |part: &str| part.starts_with(char::is_uppercase) && part.contains(char::is_lowercase);
    match parts.as_slice() {
        [room, rest @ ..] if !rest.is_empty() && ROOMS.iter().any(|(known, _)| known == room) => {
            is_in_room(room, rest, sources)
        }
        [one] if is_type(one) => sources.iter().any(|source| is_word_of(source, one)),
        [one, member] if is_type(one) => {
            let own: Vec<&Source> =
                sources.iter().filter(|source| declares(source, one) || implements(source, one)).collect();
            own.iter().any(|source| declares(source, one))
                && own.iter().any(|source| is_word_of(source, member))
        }
        _ => true,
    }
}

/// Whether `parts` lead from the folder of `room` to a file, or to an item and its members below it.
fn is_in_room(room: &str, parts: &[&str], sources: &[Source]) -> bool {
    let mut place = format!("src/{room}");
    let mut parts = parts;
    while let [part, rest @ ..] = parts {
        let (folder, file) = (format!("{place}/{part}"), format!("{place}/{part}.rs"));
        let Some(found) = [folder, file].into_iter().find(|path| root().join(path).exists()) else { break };
        (place, parts) = (found, rest);
    }
    let below = |source: &&Source| source.path == place || source.path.starts_with(&format!("{place}/"));
    let [item, members @ ..] = parts else { return true };
    let declaring: Vec<&Source> =
        sources.iter().filter(below).filter(|source| declares(source, item)).collect();
    let has = |member: &&str| declaring.iter().any(|source| is_word_of(source, member));
    !declaring.is_empty() && members.iter().all(has)
}

/// Whether `item` is declared in `source`.
fn declares(source: &Source, item: &str) -> bool {
    const KEYWORDS: [&str; 8] = ["fn", "struct", "enum", "trait", "const", "static", "type", "mod"];
    words(&source.code, item).any(|at| {
        let before = source.code[..at].trim_end();
        let is_keyword =
            |keyword: &&str| before.strip_suffix(*keyword).is_some_and(|rest| !rest.ends_with(is_word));
        KEYWORDS.iter().any(is_keyword)
    })
}

/// Whether an `impl` of `source` names `item` before its body.
fn implements(source: &Source, item: &str) -> bool {
    let heads = words(&source.code, "impl").map(|at| source.code[at..].split('{').next().unwrap_or_default());
    heads.into_iter().any(|head| words(head, item).next().is_some())
}

fn is_word_of(source: &Source, word: &str) -> bool {
    words(&source.code, word).next().is_some()
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
fn every_name_in_the_book_exists() {
    let (book, sources) = (file("docs/architecture.md"), sources("src"));
    let paths = code(&book).iter().filter(|name| TOPS.iter().any(|top| name.starts_with(top))).count();
    let items = code(&book).iter().filter(|name| name.contains("::")).count();
    assert!(paths > 50 && items > 150, "the rule reads names: {paths} paths, {items} items");
    assert_none(&dead_names(&book, &sources, OTHER_WORDS));
}

#[test]
fn a_name_in_the_book_that_does_not_exist_is_found() {
    let sources = sources("src");
    let good = "`src/base/`, `src/cli/verbs/NOUN.rs`, `src/ROOM/state.rs`, `broker::keyed_locks`, `policy::Grant`, \
                `custody::Effect::Before`, `Receipt<T>`, `State::change`, `Change::new(&event)`, `TOPS`, `a::b`";
    assert!(dead_names(good, &sources, &[]).is_empty());
    for bad in [
        "src/base/nowhere.rs",
        "tests/it/nowhere/NOUN.rs",
        "broker::daydreams",
        "policy::Daydream",
        "custody::Effect::Nothing",
        "Recipt",
        "State::changed_nothing",
        "Daydream::new",
    ] {
        assert_eq!(dead_names(&format!("`{bad}`"), &sources, &[]).len(), 1, "{bad}");
        assert!(dead_names(&format!("`{bad}`"), &sources, &[bad]).is_empty(), "{bad}");
    }
    assert_eq!(dead_names("`src/base/`", &sources, &["Daydream"]).len(), 1, "a word that is not in the book");
    assert_eq!(dead_names("`src/base/`", &sources, &["src/base/"]).len(), 1, "a name that exists");
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
