//! `docs/hazards.md` explains each hazard that a test cites, and names the files of those tests.

use std::collections::{BTreeMap, BTreeSet};

use crate::readme::root;
use crate::support::source::{Source, identifier, sources, words};

/// What a hazard id begins with. A new area is added here and as a heading of the page.
const AREAS: [&str; 14] =
    ["TLS", "ENR", "JWT", "POL", "REV", "ROT", "SEC", "STO", "KEY", "AUD", "HTTP", "API", "EGR", "OPS"];

/// Files by hazard id.
type Hazards = BTreeMap<String, BTreeSet<String>>;

/// The ids in `text`: an area in capitals, then one number of two digits or several.
fn ids(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut area: Option<&str> = None;
    for part in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        if part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit()) {
            found.extend(area.map(|area| format!("{area}-{part}")));
        } else {
            area = AREAS.into_iter().find(|area| *area == part);
        }
    }
    found
}

/// The ids in names of functions, in any case, and in comments, in capitals.
fn cited_in(text: &str) -> BTreeSet<String> {
    let names = words(text, "fn ").map(|at| identifier(&text[at + 3..]).to_uppercase());
    let comments = text.lines().map(str::trim_start).filter(|line| line.starts_with("//"));
    names.chain(comments.map(str::to_owned)).flat_map(|line| ids(&line)).collect()
}

/// The part of a file that is tests.
fn tests_of(file: &Source) -> &str {
    if file.path.starts_with("tests/") || file.path.ends_with("tests.rs") {
        return &file.raw;
    }
    file.raw.split_once("#[cfg(test)]").map_or("", |(_, tests)| tests)
}

fn cited() -> Hazards {
    let mut cited = Hazards::new();
    for file in [sources("src"), sources("tests/it")].into_iter().flatten() {
        for id in cited_in(tests_of(&file)) {
            cited.entry(id).or_default().insert(file.path.clone());
        }
    }
    cited
}

/// The rows `| id | what goes wrong | files |` of the page.
fn explained(page: &str) -> Hazards {
    let mut explained = Hazards::new();
    for row in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| id |")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert!(cells.len() == 3 && cells[1].ends_with('.'), "id, sentence, files: {row}");
        let files = cells[2].split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(explained.insert(cells[0].to_owned(), files), None, "a second row: {row}");
    }
    explained
}

#[test]
fn the_page_of_hazards_names_the_files_whose_tests_cite_them() {
    let page = std::fs::read_to_string(root().join("docs/hazards.md")).unwrap();
    let (explained, cited) = (explained(&page), cited());
    assert!(cited.len() > 50, "the tests are read: {cited:?}");
    let all: BTreeSet<&String> = explained.keys().chain(cited.keys()).collect();
    let wrong: Vec<String> = all
        .into_iter()
        .filter(|id| explained.get(*id) != cited.get(*id))
        .map(|id| format!("{id}: the page has {:?}, tests are in {:?}", explained.get(id), cited.get(id)))
        .collect();
    assert!(wrong.is_empty(), "docs/hazards.md: {wrong:#?}");
    for area in AREAS {
        assert!(page.contains(&format!("\n## {area}: ")), "no heading for {area}");
    }
}

/// The examples have `*` for what separates an id, so that this file cites no hazard.
#[test]
fn ids_are_read_from_names_and_comments_alone() {
    for (text, expected) in [
        ("fn key*12*13_without_a_key() {", &["KEY-12", "KEY-13"][..]),
        ("async fn rot*12_aud*07_without_a_value() {", &["AUD-07", "ROT-12"]),
        ("fn a_key_of_1970_is_refused_key*13() {", &["KEY-13"]),
        ("    /// KEY*12, and key*13.", &["KEY-12"]),
        ("assert!(right, \"KEY*12\"); since_19", &[]),
    ] {
        let found: Vec<String> = cited_in(&text.replace('*', "_")).into_iter().collect();
        assert_eq!(found, expected, "{text}");
    }
}
