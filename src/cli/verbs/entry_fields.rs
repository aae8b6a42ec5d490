//! Ledger entries in CSV: the columns of the table, then one for each field that an entry of the listing has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::cli::client::Received;
use crate::cli::table::{Cell as _, Row as _};
use crate::console::Console;
use crate::wire::{EntriesAnswer, EntryAnswer};

/// The fields of an entry that the columns of the table have already.
const IN_TABLE: [&str; 3] = ["seq", "time", "kind"];

/// Prints the entries with all their fields. A field of an object has the object's name and a dot before its own, as in
/// `event.agent`; a list is one cell.
pub(super) fn print_all_fields(console: &Console, entries: &Received<EntriesAnswer>) {
    let sent = entries.sent.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let fields: Vec<BTreeMap<String, String>> = sent.iter().map(fields_of).collect();
    let names: BTreeSet<&String> = fields.iter().flat_map(BTreeMap::keys).collect();
    let head = EntryAnswer::head().into_iter().chain(names.iter().map(|name| (*name).clone()));
    let rows = entries.items.iter().zip(&fields).map(|(entry, fields)| {
        let texts = names.iter().map(|name| fields.get(*name).cloned().unwrap_or_default());
        entry.cells().into_iter().chain(texts).collect()
    });
    let (head, rows): (Vec<String>, Vec<Vec<String>>) = (head.collect(), rows.collect());
    console.table(EntryAnswer::NOUN, &head, &rows);
}

/// The texts of all fields of an entry, by their names.
fn fields_of(entry: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    add(&mut found, "", entry);
    IN_TABLE.iter().for_each(|name| drop(found.remove(*name)));
    found
}

fn add(found: &mut BTreeMap<String, String>, name: &str, value: &Value) {
    if let Value::Object(fields) = value {
        for (field, value) in fields {
            let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
            add(found, &name, value);
        }
    } else {
        found.insert(name.to_owned(), value.text());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_of_an_entry_is_a_column() {
        let entry = json!({
            "seq": 7, "time": "now", "kind": "subject.suspended", "leaf": "ab", "reason": "stolen",
            "event": { "by": "admin", "subject": { "kind": "agent", "name": "bot" }, "names": ["a", "b"], "none": null },
        });
        let fields: Vec<String> =
            fields_of(&entry).iter().map(|(name, text)| format!("{name}={text}")).collect();
        assert_eq!(
            fields,
            [
                "event.by=admin",
                "event.names=a,b",
                "event.none=",
                "event.subject.kind=agent",
                "event.subject.name=bot",
                "leaf=ab",
                "reason=stolen",
            ]
        );
    }
}
