//! Whom events name. The entries of an agent or operator are linked by the fields of their events, so that an event that
//! names its subject in another field is left out of the chain.

use std::collections::BTreeSet;

use super::assert_none;
use crate::support::source::{Source, identifier, sources, words};

/// The fields that name agents and operators (`docs/reference/ledger-format.md`).
const NAMING: &[&str] = &["agent", "agents", "removed_agents", "operator", "operators", "by", "callers"];

/// Events that name nobody. Reviewed: the broker does it on its own, and to no agent or operator.
const OF_NOBODY: &[&str] = &[
    "AuthorityFounded",
    "ClockDisagrees",
    "LoginsInspected",
    // The person is on the host, and gives the word before there is a broker to ask for a name.
    "AcceptedLoss",
    "MachineChanged",
    "RotationAdvanced",
    "RotationChecked",
    "RotationDrifted",
    "RotationFailed",
    "RotationFinished",
    "RotationOrphaned",
    "RotationPrepared",
    "RotationUnchecked",
    "SealingKeysRotated",
    "ServerCertified",
    "SnapshotTaken",
    // No lease of the ledger knows the login.
    "StrayLoginEnded",
    "UnknownLogins",
    "ValueKeyShed",
    "VersionsRewrapped",
];

/// The text between the braces or parentheses of the struct `name`.
fn fields<'a>(source: &'a Source, name: &str) -> Option<&'a str> {
    let code = &source.code;
    let defined = words(code, "struct").find(|at| identifier(code[at + 6..].trim_start()) == name)?;
    let body = &code[defined..];
    let from = body.find(['{', '(', ';'])?;
    let close = if body[from..].starts_with('{') { "\n}" } else { ";" };
    Some(&body[from..from + body[from..].find(close)?])
}

/// The events of a file, each with its place: an `impl` each, or a row of a table that a macro makes `impl`s of.
fn events(source: &Source) -> Vec<(usize, &str)> {
    let code = &source.code;
    let types = words(code, "Event for").map(|at| at + "Event for ".len());
    let rows =
        words(code, "events").filter(|at| code[at + "events".len()..].starts_with("! {")).flat_map(|at| {
            let table = &code[at..at + code[at..].find("\n}").unwrap_or(0)];
            table
                .match_indices(" = 0x")
                .map(move |(row, _)| at + table[..row].rfind('\n').map_or(0, |line| line + 5))
        });
    let named = types.chain(rows).map(|at| (at, identifier(&code[at..])));
    named.filter(|(_, name)| !name.is_empty()).collect()
}

/// Whether a field of the struct names agents or operators, or a struct of the same file does that is a field.
fn names_somebody(source: &Source, name: &str) -> bool {
    let Some(fields_of) = fields(source, name) else { return false };
    let has = |field: &&str| words(fields_of, field).any(|at| fields_of[at + field.len()..].starts_with(':'));
    if NAMING.iter().any(has) {
        return true;
    }
    let is_tuple = fields_of.starts_with('(');
    is_tuple && fields_of.split("pub ").skip(1).any(|field| names_somebody(source, identifier(field)))
}

/// Events without an object: they are about the broker as a whole. Reviewed.
const WITHOUT_OBJECT: &[&str] = &[
    "BrokerFrozen",
    "BrokerSealed",
    "BrokerThawed",
    "BrokerUnsealed",
    "ClockAdjusted",
    "ClockDisagrees",
    "DataAdopted",
    "MachineChanged",
    "SealingKeysRotated",
    "SnapshotTaken",
    "VersionsRewrapped",
];

/// The fields of an actor, in the order in which `keyward audit list` looks for them.
const ACTORS: &[&str] = &["by", "operator", "agent"];

/// Whether the struct has a field from which `keyward audit list` takes the object of an entry.
fn has_object(source: &Source, name: &str, objects: &[&str]) -> bool {
    let Some(fields_of) = fields(source, name) else { return false };
    let has = |field: &str| words(fields_of, field).any(|at| fields_of[at + field.len()..].starts_with(':'));
    let actor = ACTORS.iter().find(|actor| has(actor));
    if objects.iter().any(|object| Some(object) != actor && has(object)) {
        return true;
    }
    let is_tuple = fields_of.starts_with('(');
    is_tuple && fields_of.split("pub ").skip(1).any(|field| has_object(source, identifier(field), objects))
}

/// Events without an object that are not on the list, and those that are on it and have one.
fn without_object(sources: &[Source], objects: &[&str], listed: &[&str]) -> Vec<String> {
    let all =
        sources.iter().flat_map(|source| events(source).into_iter().map(move |(_, name)| (source, name)));
    let without: BTreeSet<&str> =
        all.filter(|(source, name)| !has_object(source, name, objects)).map(|(_, name)| name).collect();
    let listed: BTreeSet<&str> = listed.iter().copied().collect();
    let missing = without.difference(&listed);
    let missing = missing.map(|name| format!("{name}: `keyward audit list` shows no object of its entries"));
    let idle = listed.difference(&without).map(|name| format!("{name}: on the list, and has an object"));
    missing.chain(idle).collect()
}

/// Events that name nobody and are not on the list, and those that are on it and are not like that.
fn unlinked(sources: &[Source], listed: &[&str]) -> Vec<String> {
    let (mut findings, mut found) = (Vec::new(), BTreeSet::new());
    for source in sources {
        for (at, name) in events(source) {
            if names_somebody(source, name) {
                continue;
            }
            found.insert(name);
            if !listed.contains(&name) {
                let what = format!("`{name}` names no agent or operator in a field that links its entry");
                findings.push(source.finding(at, &what));
            }
        }
    }
    let out_of_date = listed.iter().filter(|name| !found.contains(*name));
    findings
        .extend(out_of_date.map(|name| {
            format!("{name}: on the list, but the event names an agent or operator, or is gone")
        }));
    findings
}

/// Constants as `by` that have no space: readers of the ledger take them for operators of this name.
fn constant_names(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        for at in words(&source.text, "by").filter(|at| source.code[at + 2..].starts_with(": ")) {
            let value = source.text[at + 4..].trim_start_matches('&');
            let text =
                if value.starts_with('"') { Some(value) } else { constant(sources, identifier(value)) };
            let text = text.and_then(|text| text[1..].split('"').next());
            if let Some(text) = text.filter(|text| !text.contains(' ')) {
                findings
                    .push(source.finding(at, &format!("`by` is `{text}`, which may be an operator's name")));
            }
        }
    }
    findings
}

/// The text of the constant `name`, from its opening quote on.
fn constant<'a>(sources: &'a [Source], name: &str) -> Option<&'a str> {
    let is_constant = !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let mut defined = sources.iter().filter(|_| is_constant).flat_map(|source| {
        let named = words(&source.text, "const");
        named
            .filter(move |at| identifier(source.text[at + 5..].trim_start()) == name)
            .map(|at| &source.text[at..])
    });
    let text = defined.find_map(|definition| definition.split_once('=').map(|(_, value)| value.trim_start()));
    text.filter(|value| value.starts_with('"'))
}

/// Events that are missing in `EVENTS`, the list of the names that readers of the ledger see, and names on it that are no
/// events.
fn unnamed(sources: &[Source], list: &str) -> Vec<String> {
    let listed: BTreeSet<&str> = list.split(',').map(|item| identifier(item.trim())).collect();
    let all = sources.iter().flat_map(|source| events(source).into_iter().map(|(_, name)| name));
    let all: BTreeSet<&str> = all.collect();
    let missing = all.difference(&listed).map(|name| format!("{name}: an event that `EVENTS` does not have"));
    let idle = listed.difference(&all).filter(|name| !name.is_empty());
    missing.chain(idle.map(|name| format!("{name}: in `EVENTS`, and no event"))).collect()
}

#[test]
fn each_event_has_a_name_for_readers_of_the_ledger() {
    let sources = sources("src");
    let audit = sources.iter().find(|source| source.path == "src/broker/administration/events.rs").unwrap();
    let list = audit.code.split_once("= known![").unwrap().1.split_once(']').unwrap().0;
    assert_none(&unnamed(&sources, list));
}

#[test]
fn each_event_has_an_object_in_the_table_of_entries() {
    let sources = sources("src");
    let shown = sources.iter().find(|source| source.path == "src/wire/entry_object.rs").unwrap();
    let table = shown.text.split_once("const FIELDS").unwrap().1.split_once("];").unwrap().0;
    let fields = table.split("(\"").skip(1).map(|row| row.split('"').next().unwrap());
    let objects: Vec<&str> =
        fields.chain(["subject", "changes", "narrowing", "lease", "callers", "found"]).collect();
    assert!(objects.len() > 20, "{objects:?}");
    assert_none(&without_object(&sources, &objects, WITHOUT_OBJECT));

    let event = |body: &str| {
        let code = format!("pub struct Left<'a> {{\n    {body}\n}}\nimpl Event for Left<'_> {{}}\n");
        without_object(&[Source::new("src/a/events.rs", &code)], &["agent", "secret"], &[]).len()
    };
    assert_eq!([event("pub secret: u8,"), event("pub agent: u8,"), event("pub wall: u8,")], [0, 1, 1]);
    assert_eq!(event("pub by: u8,\n    pub agent: u8,"), 0);
}

#[test]
fn each_event_names_its_subject_in_a_field_that_links_the_entry() {
    assert_none(&unlinked(&sources("src"), OF_NOBODY));
}

#[test]
fn no_constant_by_is_an_operators_name() {
    assert_none(&constant_names(&sources("src")));
}

#[test]
fn an_event_without_a_subject_and_a_constant_name_are_found() {
    let event = |body: &str| {
        let code = format!("pub struct Left<'a> {{\n    {body}\n}}\nimpl Event for Left<'_> {{}}\n");
        [Source::new("src/a/events.rs", &code)]
    };
    assert!(unlinked(&event("pub agent: &'a str,"), &[]).is_empty());
    assert_eq!(unlinked(&event("pub subject: &'a str,"), &[]).len(), 1);
    assert!(unlinked(&event("pub subject: &'a str,"), &["Left"]).is_empty());
    assert_eq!(unlinked(&event("pub by: &'a str,"), &["Left"]).len(), 1, "out of date");
    let table = "pub struct Left {\n    pub what: u8,\n}\nevents! {\n    Left<'_> = 0x0101, \"left\";\n}\n";
    assert_eq!(unlinked(&[Source::new("src/a/events.rs", table)], &[]).len(), 1);
    let inner = "pub struct Left<'a>(pub Change<'a>);\npub struct Change<'a> {\n    pub by: &'a str,\n}\nimpl Event for Left<'_> {}";
    assert!(unlinked(&[Source::new("src/a/events.rs", inner)], &[]).is_empty());

    let left = [Source::new("src/a/events.rs", "impl Event for Left<'_> {}")];
    assert_eq!(unnamed(&left, "Left<'_>,\n"), Vec::<String>::new());
    assert_eq!(unnamed(&left, "Right,").len(), 2);

    let by = |value: &str| {
        let code = format!(
            "const NODE: &str = \"node\";\nconst US: &str = \"the broker\";\nfn f() {{ g(Done {{ by: {value} }}) }}"
        );
        constant_names(&[Source::new("src/a/work.rs", &code)]).len()
    };
    assert_eq!([by("\"host\""), by("NODE")], [1, 1]);
    assert_eq!([by("\"the host\""), by("US"), by("name"), by("&operator.name")], [0, 0, 0, 0]);
}
