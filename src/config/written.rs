use std::collections::BTreeMap;

use serde::Serialize;

/// `object` as a table `[[name]]` of a declaration file, in TOML. `None` if it has no form in TOML.
#[must_use]
pub fn toml_table(name: &str, object: &impl Serialize) -> Option<String> {
    toml::to_string_pretty(&BTreeMap::from([(name, [object])])).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn table_with_nested_tables_is_read_back() {
        let object = json!({ "a": { "x": "1\n2\n" }, "b": 7, "c": ["y"], "d": { "e": { "f": true } } });
        let text = toml_table("rotation", &object).unwrap();
        assert!(text.starts_with("[[rotation]]\n"), "{text}");
        let read: serde_json::Value = toml::from_str(&text).unwrap();
        assert_eq!(read["rotation"][0], object, "{text}");
    }
}
