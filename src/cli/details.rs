//! One object for a person: a table of its fields, then a table for each list of objects in it. All fields that the
//! broker sent are shown, also those that this version does not know.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::table::Cell;
use crate::console::Console;
use crate::rotation::spoken;

/// Fields that come first; the others follow in alphabetical order.
const FIRST: [&str; 11] = [
    "name",
    "secret",
    "id",
    "number",
    "serial",
    "capability",
    "state",
    "next_try",
    "circuit_open_until",
    "last_error",
    "previous_version",
];

/// An object in two parts.
#[derive(Debug, Default)]
struct Details<'a> {
    /// Name and text of each field; fields of an inner object have its name and a dot before their own.
    fields: Vec<Vec<String>>,
    lists: Vec<List<'a>>,
}

#[derive(Debug)]
struct List<'a> {
    name: String,
    items: Vec<&'a Map<String, Value>>,
}

/// Prints `object`, which the broker sent.
pub(crate) fn print_details(object: &Value, console: &Console) {
    let mut details = Details::default();
    if let Value::Object(fields) = object {
        details.add("", fields);
    }
    if console.is_csv() {
        details.unfold_lists();
    }
    console.table("fields", &["FIELD", "VALUE"], &details.fields);
    for list in &details.lists {
        console.line("");
        console.line(&format!("{}:", list.name));
        let keys = list.keys();
        let head: Vec<String> = keys.iter().map(|key| key.replace('_', " ").to_uppercase()).collect();
        let cells = |item: &&Map<String, Value>| -> Vec<String> {
            keys.iter().map(|key| text_of(key, item.get(*key))).collect()
        };
        let rows: Vec<Vec<String>> = list.items.iter().map(cells).collect();
        console.table(&list.name, &head, &rows);
    }
}

impl<'a> Details<'a> {
    /// Makes fields of all lists, with the number of the item in their names: one table is one CSV file.
    fn unfold_lists(&mut self) {
        while !self.lists.is_empty() {
            for List { name, items } in std::mem::take(&mut self.lists) {
                for (number, item) in (1_u32..).zip(items) {
                    self.add(&format!("{name}.{number}."), item);
                }
            }
        }
    }

    fn add(&mut self, before: &str, fields: &'a Map<String, Value>) {
        for key in sorted(fields) {
            let name = format!("{before}{key}");
            match fields.get(key) {
                Some(Value::Object(inner)) => self.add(&format!("{name}."), inner),
                Some(Value::Array(items)) if items.iter().any(Value::is_object) => {
                    self.lists
                        .push(List { name, items: items.iter().filter_map(Value::as_object).collect() });
                }
                value => self.fields.push(vec![name, text_of(key, value)]),
            }
        }
    }
}

impl List<'_> {
    /// The fields that an item has.
    fn keys(&self) -> Vec<&str> {
        in_order(self.items.iter().flat_map(|item| item.keys()))
    }
}

fn sorted(fields: &Map<String, Value>) -> Vec<&str> {
    in_order(fields.keys())
}

/// The names of fields, each once, in the order in which they are shown.
fn in_order<'n>(names: impl Iterator<Item = &'n String>) -> Vec<&'n str> {
    let mut keys: Vec<&str> = names.map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect();
    let place = |key: &str| FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len());
    keys.sort_by_key(|key| (place(key), *key));
    keys
}

/// The text of a field.
fn text_of(key: &str, value: Option<&Value>) -> String {
    with_length(key, value).unwrap_or_else(|| shown(value))
}

/// The text of a number of seconds, if it is one of at least a minute: `14400 (4h)`.
fn with_length(key: &str, value: Option<&Value>) -> Option<String> {
    let seconds = value.filter(|_| key.ends_with("_s"))?.as_u64()?;
    let length = u32::try_from(seconds).ok().filter(|seconds| *seconds >= 60)?;
    Some(format!("{seconds} ({})", spoken(length)))
}

/// The text of a value; a dash for none, so that a missing value can be seen.
fn shown(value: Option<&Value>) -> String {
    value.map(Cell::text).filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn list_has_a_column_for_each_field_of_any_item() {
        let items = [json!({ "name": "a", "audience": "x" }), json!({ "name": "b", "values": "y" })];
        let keys = in_order(items.iter().filter_map(Value::as_object).flat_map(Map::keys));
        assert_eq!(keys, ["name", "audience", "values"]);
    }

    #[test]
    fn object_is_its_fields_and_its_lists() {
        let object = json!({
            "audience": null, "name": "a", "roles": ["x", "y"], "orphans": [], "max_life_s": 14_400, "wait_s": 5,
            "run": { "stage": "verified", "trouble": { "code": "upstream_timeout" } },
            "instances": [{ "state": "live", "id": "inst_1" }, { "id": "inst_2", "state": "revoked", "at": "x" }],
        });
        let mut details = Details::default();
        details.add("", object.as_object().unwrap());
        let fields: Vec<String> = details.fields.iter().map(|field| field.join("=")).collect();
        let expected = [
            "name=a",
            "audience=-",
            "max_life_s=14400 (4h)",
            "orphans=-",
            "roles=x,y",
            "run.stage=verified",
            "run.trouble.code=upstream_timeout",
            "wait_s=5",
        ];
        assert_eq!(fields, expected);
        let mut csv = Details::default();
        csv.add("", object.as_object().unwrap());
        csv.unfold_lists();
        let unfolded: Vec<String> = csv.fields[8..].iter().map(|field| field.join("=")).collect();
        let items =
            ["instances.1.id", "instances.1.state", "instances.2.id", "instances.2.state", "instances.2.at"];
        assert_eq!(unfolded.iter().map(|one| one.split('=').next().unwrap()).collect::<Vec<_>>(), items);
        assert_eq!((csv.lists.len(), unfolded[3].as_str()), (0, "instances.2.state=revoked"));
        let [list] = &details.lists[..] else { panic!("{:?}", details.lists) };
        assert_eq!(
            (list.name.as_str(), list.items.len(), list.keys()),
            ("instances", 2, vec!["id", "state", "at"])
        );
    }
}
