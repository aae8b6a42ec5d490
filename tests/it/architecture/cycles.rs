//! Files of a room import each other in one direction only: following imports leads back to no file.

use std::collections::{BTreeMap, BTreeSet};

use super::assert_none;
use crate::support::source::{Source, identifier, is_word, sources, words};

/// Rooms whose files still import each other in circles. This list may only shrink.
const WITH_CYCLES: &[&str] = &[];

/// The module of a file, e.g. `http::routes::agents`.
fn module(path: &str) -> String {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    inside.trim_end_matches("/mod").replace('/', "::")
}

/// What a `use` tree or a path names, one path a leaf, with a renamed leaf by its own name.
fn leaves(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        return vec![path.to_owned()];
    };
    let (before, inside) = (&tree[..open], tree[open + 1..].trim_end().trim_end_matches('}'));
    let inside = if tree.ends_with('}') { &tree[open + 1..tree.len() - 1] } else { inside };
    let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inside[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inside[from..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| leaves(part).into_iter().map(|leaf| format!("{before}{leaf}"))).collect()
}

/// `path`, seen from `own`, from the root of the library; `None` for one that leads elsewhere.
fn absolute(path: &str, own: &str) -> Option<String> {
    if let Some(rest) = path.strip_prefix("crate::") {
        return Some(rest.to_owned());
    }
    let (mut base, mut rest) = (own.to_owned(), path);
    if let Some(inside) = rest.strip_prefix("self::") {
        return Some(format!("{own}::{inside}"));
    }
    rest.starts_with("super::").then_some(())?;
    while let Some(inside) = rest.strip_prefix("super::") {
        base = base.rsplit_once("::").map(|(parent, _)| parent.to_owned())?;
        rest = inside;
    }
    Some(format!("{base}::{rest}"))
}

/// Where the `use` declarations of a file are, what they name, and whether they are re-exports.
fn uses(source: &Source) -> Vec<(usize, usize, Vec<String>, bool)> {
    let code = &source.code;
    words(code, "use ")
        .map(|at| {
            let tree = code[at + 4..].split(';').next().unwrap_or_default();
            let line = code[..at].rsplit('\n').next().unwrap_or_default();
            let one_line: String =
                tree.split_whitespace().collect::<Vec<_>>().join(" ").replace(" as ", "\u{1}");
            let one_line = one_line.replace(' ', "").replace('\u{1}', " as ");
            (at, at + 4 + tree.len(), leaves(&one_line), line.trim_start().starts_with("pub"))
        })
        .collect()
}

/// For each file, the files of its own room that it names: those that a folder only passes on count as named
/// themselves.
fn imports(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let modules: BTreeMap<String, &Source> =
        sources.iter().map(|source| (module(&source.path), source)).collect();
    let mut passed_on: BTreeMap<String, String> = BTreeMap::new();
    for (own, source) in modules.iter().filter(|(_, source)| source.path.ends_with("/mod.rs")) {
        for path in
            uses(source).into_iter().filter(|(.., is_export)| *is_export).flat_map(|(_, _, paths, _)| paths)
        {
            let child = format!("{own}::{path}");
            let whole = absolute(&path, own).unwrap_or(child);
            let name = whole.rsplit("::").next().unwrap_or_default();
            passed_on.insert(format!("{own}::{name}"), whole.clone());
        }
    }
    let resolve = |path: &str| {
        let mut path = path.to_owned();
        for _ in 0..8 {
            let mut prefixes = path.match_indices("::").map(|(at, _)| &path[..at]).collect::<Vec<_>>();
            prefixes.push(&path);
            // A module and a function that is passed on may have one name.
            let is_passed_on = |prefix: &&&str| **prefix == path || !modules.contains_key(**prefix);
            let mut passed = prefixes.iter().filter(is_passed_on);
            if let Some((from, to)) =
                passed.find_map(|prefix| passed_on.get(*prefix).map(|to| (prefix.len(), to)))
            {
                path = format!("{to}{}", &path[from..]);
                continue;
            }
            return prefixes
                .iter()
                .rev()
                .find(|prefix| modules.contains_key(**prefix))
                .map(|one| (*one).to_owned());
        }
        None
    };
    let mut found = BTreeMap::new();
    for (own, source) in &modules {
        let mut named: Vec<String> = Vec::new();
        let declared = uses(source);
        let is_folder = source.path.ends_with("/mod.rs");
        for (_, _, paths, is_export) in &declared {
            if !(is_folder && *is_export) {
                named.extend(paths.iter().cloned());
            }
        }
        for start in ["crate::", "super::"] {
            for at in words(&source.code, start) {
                let in_use = declared.iter().any(|(from, to, ..)| (*from..*to).contains(&at));
                if !in_use && !source.code[..at].ends_with("::") {
                    let end = source.code[at..].find(|c: char| !is_word(c) && c != ':').unwrap_or(0);
                    named.push(source.code[at..at + end].trim_end_matches(':').to_owned());
                }
            }
        }
        let room = identifier(own);
        let files = named.iter().filter_map(|path| resolve(&absolute(path, own)?));
        let files = files.filter(|file| file != own && identifier(file) == room);
        found.insert(own.clone(), files.collect::<BTreeSet<_>>());
    }
    found
}

/// The files of each room that are on a cycle.
fn cycles(sources: &[Source]) -> BTreeMap<String, Vec<String>> {
    let imports = imports(sources);
    let reachable = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(file) = next.pop() {
            for named in imports.get(&file).into_iter().flatten() {
                if seen.insert(named.clone()) {
                    next.push(named.clone());
                }
            }
        }
        seen
    };
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in imports.keys().filter(|file| reachable(file).contains(*file)) {
        found.entry(identifier(file).to_owned()).or_default().push(file.clone());
    }
    found
}

fn findings(sources: &[Source], listed: &[&str]) -> Vec<String> {
    let cycles = cycles(sources);
    let unlisted = cycles.iter().filter(|(room, _)| !listed.contains(&room.as_str()));
    let unlisted =
        unlisted.map(|(room, files)| format!("`{room}` has a cycle of files: {}", files.join(", ")));
    let idle = listed.iter().filter(|room| !cycles.contains_key(**room));
    unlisted
        .chain(idle.map(|room| format!("`{room}` has no cycle any more: take it out of the list")))
        .collect()
}

#[test]
fn files_of_a_room_import_each_other_in_one_direction() {
    let sources = sources("src");
    let count: usize = imports(&sources).values().map(BTreeSet::len).sum();
    assert!(count > 300, "the rule reads imports: {count}");
    assert_none(&findings(&sources, WITH_CYCLES));
}

#[test]
fn a_cycle_of_files_is_found() {
    let a = Source::new("src/x/a.rs", "use super::b::B;\npub(super) struct A(B);");
    let there = Source::new("src/x/b.rs", "use crate::x::{A, C};\npub(super) struct B;");
    let back = Source::new("src/x/b.rs", "use super::c::C;\npub(super) struct B;");
    let c = Source::new("src/x/c.rs", "pub(super) struct C;");
    let folder = Source::new("src/x/mod.rs", "mod a;\nmod b;\nmod c;\npub use a::A;\npub use c::C;");
    let good = [a.clone(), back, c.clone(), folder.clone()];
    assert!(findings(&good, &[]).is_empty(), "{:?}", findings(&good, &[]));
    assert_eq!(findings(&good, &["x"]).len(), 1, "an idle entry leaves the list");
    let bad = [a, there, c, folder];
    assert_eq!(cycles(&bad)["x"], ["x::a", "x::b"]);
    assert!(findings(&bad, &["x"]).is_empty());
}
