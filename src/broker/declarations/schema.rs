use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::upstream::{lease_upstream_schema, rotation_upstream_schema};
use crate::{leases, registry, rotation, rules};

/// The JSON schema of declaration files, for editors. It describes tables, fields, names and words. The broker also checks
/// what a schema does not say, e.g. which fields contradict each other.
#[must_use]
pub fn declaration_schema() -> Value {
    // Editors of TOML read this draft.
    let mut generator = SchemaSettings::draft07().into_generator();
    let mut tables = registry::table_schemas(&mut generator);
    tables.extend(rotation::table_schemas(&mut generator));
    tables.extend(leases::table_schemas(&mut generator));
    tables.extend(rules::table_schemas(&mut generator));
    let upstreams = [
        ("rotation", rotation_upstream_schema(&mut generator)),
        ("lease", lease_upstream_schema(&mut generator)),
    ];
    let mut properties = Map::new();
    for (name, schema) in tables {
        let mut table = schema.to_value();
        let upstream = upstreams.iter().find(|(of, _)| *of == name).map(|(_, upstream)| upstream.clone());
        if let (Some(upstream), Some(field)) = (upstream, table.pointer_mut("/properties/upstream")) {
            *field = upstream;
        }
        properties.insert(name.to_owned(), json!({ "type": "array", "items": table }));
    }
    let mut schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Keyward declarations",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "definitions": generator.take_definitions(true),
    });
    schema.sort_all_objects();
    schema
}
