//! Parameters have names, and a structure whose fields are visible outside its file has few of them.

use super::assert_none;
use crate::support::source::{Source, identifier, sources, words};

const FIELDS_MAX: usize = 8;

/// Functions with a tuple pattern as a parameter. Reviewed.
const TUPLES: &[&str] = &["src/base/network.rs try_from"];

/// Files of settings, wire types, events and claims: data that is read or written as a whole.
const DATA_FILES: &[&str] =
    &["src/config/settings.rs", "src/config/raw.rs", "src/wire/", "/events.rs", "src/token/claims.rs"];

/// Other structures with more than [`FIELDS_MAX`] visible fields. Reviewed.
const WIDE: &[&str] = &[
    // Settings.
    "src/broker/services.rs Settings",
    // Stored records.
];

/// The end of the group that begins before `from`, without its closing bracket.
fn group(code: &str, from: usize) -> &str {
    let mut depth = 1;
    let end = code[from..].char_indices().find_map(|(at, c)| {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(from + at)
    });
    &code[from..end.unwrap_or(code.len())]
}

/// The elements of a group, without the commas between them.
fn elements(group: &str) -> Vec<&str> {
    let (mut depth, mut from, mut found) = (0_i32, 0, Vec::new());
    let mut before = ' ';
    for (at, c) in group.char_indices() {
        match c {
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            '>' if before != '-' && before != '=' => depth -= 1,
            ',' if depth == 0 => {
                found.push(group[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
        before = c;
    }
    found.push(group[from..].trim());
    found
}

/// Where the parameters of a function begin, after its generics.
fn parameters_of(function: &str) -> Option<usize> {
    let mut depth = 0_i32;
    let mut before = ' ';
    function.char_indices().find_map(|(at, c)| {
        match c {
            '<' => depth += 1,
            '>' if before != '-' => depth -= 1,
            _ => {}
        }
        before = c;
        (c == '(' && depth == 0).then_some(at)
    })
}

/// Each function with a tuple pattern as a parameter, as its file and its name.
fn tuple_parameters(source: &Source) -> Vec<String> {
    let code = &source.code;
    let mut found = Vec::new();
    for at in words(code, "fn") {
        let name = identifier(code[at + 2..].trim_start());
        let Some(open) = parameters_of(&code[at..]).filter(|_| !name.is_empty()) else { continue };
        let parameters = elements(group(code, at + open + 1));
        let is_tuple = |parameter: &&&str| {
            let pattern = parameter.trim_start_matches("mut ").trim_start_matches('&');
            pattern.starts_with('(') && !pattern.starts_with("()")
        };
        found.extend(parameters.iter().filter(is_tuple).map(|_| format!("{} {name}", source.path)));
    }
    found
}

/// Each structure with more than [`FIELDS_MAX`] fields that another file can see, as its file and its name.
fn wide(source: &Source) -> Vec<String> {
    let code = &source.code;
    let mut found = Vec::new();
    for at in words(code, "struct") {
        let name = identifier(code[at + 6..].trim_start());
        let rest = &code[at..];
        let Some(open) = rest.find(['{', ';', '(']).filter(|open| rest[*open..].starts_with('{')) else {
            continue;
        };
        let fields = elements(group(code, at + open + 1));
        let visible = fields.iter().filter(|field| words(field, "pub").next().is_some()).count();
        if visible > FIELDS_MAX {
            found.push(format!("{} {name}", source.path));
        }
    }
    found
}

fn beyond(found: Vec<String>, listed: &[&str], what: &str) -> Vec<String> {
    let idle = listed.iter().filter(|one| !found.iter().any(|item| item == *one));
    let mut findings: Vec<String> = idle.map(|one| format!("{one}: is on the list without need")).collect();
    findings.extend(
        found.iter().filter(|one| !listed.contains(&one.as_str())).map(|one| format!("{one}: {what}")),
    );
    findings
}

#[test]
fn parameters_have_names() {
    let found = sources("src").iter().flat_map(tuple_parameters).collect();
    assert_none(&beyond(found, TUPLES, "a parameter is a tuple pattern: give each part a name"));
}

#[test]
fn structures_show_few_fields() {
    let sources = sources("src");
    let code = sources.iter().filter(|source| !DATA_FILES.iter().any(|file| source.path.contains(file)));
    let found = code.flat_map(wide).collect();
    assert_none(&beyond(found, WIDE, "another file can see more than eight fields"));
}

#[test]
fn tuple_parameters_and_wide_structures_are_found() {
    let source = |code: &str| Source::new("src/base/x.rs", code);
    for code in [
        "fn f((a, b): (u8, u8)) {}",
        "fn f<T: Fn(u8) -> u8>(a: u8, (b, c): (u8, u8)) {}",
        "fn f(&(a, b): &(u8, u8)) {}",
    ] {
        assert_eq!(tuple_parameters(&source(code)), ["src/base/x.rs f"], "{code}");
    }
    for code in ["fn f(a: (u8, u8)) {}", "fn f((): ()) {}", "fn f(a: impl Fn((u8, u8)) -> u8) {}"] {
        assert!(tuple_parameters(&source(code)).is_empty(), "{code}");
    }
    let fields = |count: usize| "pub a: Vec<(u8, u8)>, ".repeat(count);
    assert!(wide(&source(&format!("pub struct S {{ {} b: u8 }}", fields(8)))).is_empty());
    let nine = format!("pub struct S<T> {{ {} }}", fields(9));
    assert_eq!(wide(&source(&nine)), ["src/base/x.rs S"]);
    assert_eq!(beyond(vec!["a".to_owned()], &["b"], "wide").len(), 2);
}
