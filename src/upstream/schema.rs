use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::find_driver::{KINDS, lease_kinds};

/// The schema of the table `upstream` of a rotation: one form per driver.
pub fn rotation_upstream_schema(generator: &mut SchemaGenerator) -> Value {
    let kinds = KINDS.iter().filter_map(|kind| kind.rotation.as_ref());
    let forms: Vec<Value> = kinds.map(|kind| form(kind.driver, &(kind.fields)(generator))).collect();
    json!({ "oneOf": forms })
}

/// The schema of the table `upstream` of a lease: one form per driver.
pub fn lease_upstream_schema(generator: &mut SchemaGenerator) -> Value {
    let forms: Vec<Value> = lease_kinds().map(|kind| form(kind.driver, &(kind.fields)(generator))).collect();
    json!({ "oneOf": forms })
}

/// The schema of a table with this driver and all fields of `parts`.
fn form(driver: &str, parts: &[Schema]) -> Value {
    let mut fields = Map::from_iter([("driver".to_owned(), json!({ "const": driver }))]);
    let mut required = vec![json!("driver")];
    for part in parts {
        let of = part.get("properties").and_then(Value::as_object);
        fields.extend(of.into_iter().flatten().map(|(name, field)| (name.clone(), field.clone())));
        required.extend(part.get("required").and_then(Value::as_array).into_iter().flatten().cloned());
    }
    json!({
        "title": driver,
        "type": "object",
        "properties": fields,
        "required": required,
        "additionalProperties": false,
    })
}
