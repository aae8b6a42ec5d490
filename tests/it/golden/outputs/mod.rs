//! What every verb prints with `-o json`, by the schemas of `docs/reference/outputs.json`.

mod recorder;
mod rows;
mod runs;

use std::collections::{BTreeMap, BTreeSet};

use keyward::wire;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use self::recorder::Recorder;
use self::rows::{RAW, ROWS};
use super::verbs::verbs;
use crate::reference::compare;

/// The document of all outputs.
fn document() -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut commands = Map::new();
    for (verb, forms) in ROWS {
        let mut forms: Vec<Value> = forms.iter().map(|form| form(&mut generator).to_value()).collect();
        let schema = if forms.len() == 1 { forms.remove(0) } else { json!({ "anyOf": forms }) };
        commands.insert((*verb).to_owned(), schema);
    }
    let failure = generator.subschema_for::<wire::FailureOutput>();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Output of the commands of keyward with -o json",
        "description": "`commands` has a schema for each command that prints JSON on standard output; `failure` is printed on standard error by every command that fails. Later versions can add fields. Made by scripts/reference.",
        "commands": commands,
        "failure": failure,
        "$defs": generator.take_definitions(true),
    })
}

/// The same schemas for a check of this version: an object has no fields but the described ones.
fn closed(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(fields) => {
            for inner in fields.values_mut() {
                *inner = closed(inner.take());
            }
            if fields.get("properties").is_some_and(Value::is_object) {
                fields.entry("additionalProperties").or_insert(json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = closed(item.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    schema
}

#[test]
fn every_verb_has_a_schema_or_a_reason_for_none() {
    let known: BTreeSet<String> =
        verbs().into_iter().filter(|verb| verb.acts).map(|verb| verb.words).collect();
    let listed: BTreeMap<&str, usize> = ROWS
        .iter()
        .map(|(verb, _)| *verb)
        .chain(RAW.iter().map(|(verb, _)| *verb))
        .fold(BTreeMap::new(), |mut counts, verb| {
            *counts.entry(verb).or_default() += 1;
            counts
        });
    let lacking: Vec<&String> = known.iter().filter(|verb| !listed.contains_key(verb.as_str())).collect();
    assert!(
        lacking.is_empty(),
        "add a row to tests/it/golden/outputs/rows.rs, and a run to runs.rs, for {lacking:?}"
    );
    let more: Vec<_> = listed.iter().filter(|(verb, count)| !known.contains(**verb) || **count > 1).collect();
    assert!(more.is_empty(), "no verb, or listed twice: {more:?}");
    assert!(RAW.iter().all(|(_, reason)| !reason.is_empty()));
}

#[test]
fn the_page_of_outputs_is_what_the_types_say() {
    let mut sorted = document();
    sorted.sort_all_objects();
    compare("outputs.json", &(serde_json::to_string_pretty(&sorted).unwrap() + "\n"));
}

#[test]
fn a_field_that_no_schema_describes_is_noticed() {
    let recorder = Recorder::new(&closed(document()));
    let output = json!({ "directory": "man" });
    assert_eq!(recorder.faults("man", &output), Vec::<String>::new());
    assert_eq!(recorder.faults("man", &json!({ "directory": "man", "pages": 3 })).len(), 1);
    assert_eq!(recorder.faults("man", &json!({})).len(), 1);
    assert!(!recorder.faults("agent list", &json!({ "items": [{ "name": "a" }] })).is_empty());
}

#[test]
fn every_verb_prints_json_as_its_schema_says() {
    let mut recorder = Recorder::new(&closed(document()));
    runs::on_a_stopped_broker(&mut recorder);
    runs::on_a_database(&mut recorder);
    runs::without_a_broker(&mut recorder);
    runs::on_a_running_broker(&mut recorder);
    let never: Vec<&str> =
        ROWS.iter().map(|(verb, _)| *verb).filter(|verb| !recorder.has_run(verb)).collect();
    assert!(never.is_empty(), "add a run to tests/it/golden/outputs/runs.rs for {never:?}");
}
