//! Tables of responses: one column per field.

use serde_json::Value;

use crate::base::{
    AgentName, CapabilityName, EnvironmentName, IncidentId, LeaseId, OperatorName, OwnerName, PolicyName,
    RoleName, SecretName,
};
use crate::wire::FixedText;

/// A row of a table.
pub(crate) trait Row {
    /// The rows in the plural, for a table without rows.
    const NOUN: &'static str;

    fn head() -> Vec<String>;

    fn cells(&self) -> Vec<String>;
}

/// A value in a cell.
pub(crate) trait Cell {
    fn text(&self) -> String;
}

macro_rules! plain_cells {
    ($($plain:ty),*) => {$(
        impl Cell for $plain {
            fn text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

plain_cells!(String, FixedText, u32, u64, usize);
plain_cells!(
    AgentName,
    CapabilityName,
    EnvironmentName,
    IncidentId,
    LeaseId,
    OperatorName,
    OwnerName,
    PolicyName,
    RoleName,
    SecretName
);

/// A value whose type this version does not know.
impl Cell for Value {
    fn text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::String(text) => text.clone(),
            Self::Array(items) if items.iter().any(Self::is_object) => {
                items.iter().map(Cell::text).collect::<Vec<_>>().join("; ")
            }
            Self::Array(items) => items.text(),
            Self::Object(fields) => {
                let shown = fields.iter().filter(|(_, value)| !value.is_null());
                shown.map(|(name, value)| format!("{name} {}", value.text())).collect::<Vec<_>>().join(", ")
            }
            Self::Bool(_) | Self::Number(_) => self.to_string(),
        }
    }
}

impl<T: Cell> Cell for Option<T> {
    fn text(&self) -> String {
        self.as_ref().map(Cell::text).unwrap_or_default()
    }
}

impl<T: Cell> Cell for Vec<T> {
    fn text(&self) -> String {
        self.iter().map(Cell::text).collect::<Vec<_>>().join(",")
    }
}

/// The noun and the columns of a table of responses: a field by its name, a field under another head, or a head
/// and a function of the response.
macro_rules! columns {
    ($answer:ident $noun:literal: $($column:tt),*) => {
        impl $crate::cli::table::Row for $answer {
            const NOUN: &'static str = $noun;

            fn head() -> Vec<String> {
                vec![$($crate::cli::table::columns!(@head $column)),*]
            }

            fn cells(&self) -> Vec<String> {
                vec![$($crate::cli::table::columns!(@cell self, $column)),*]
            }
        }
    };
    (@head $field:ident) => { stringify!($field).replace('_', " ").to_uppercase() };
    (@head ($head:literal: $field:ident)) => { $head.to_owned() };
    (@head ($head:literal, $text:path)) => { $head.to_owned() };
    (@cell $row:ident, $field:ident) => { $crate::cli::table::Cell::text(&$row.$field) };
    (@cell $row:ident, ($head:literal: $field:ident)) => { $crate::cli::table::Cell::text(&$row.$field) };
    (@cell $row:ident, ($head:literal, $text:path)) => { $text($row) };
}

pub(crate) use columns;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_has_words_and_no_json() {
        for (value, text) in [
            (json!({ "at": "now", "by": null, "seq": 5 }), "at now, seq 5"),
            (json!([{ "name": "a" }, { "name": "b", "of": ["x", "y"] }]), "name a; name b, of x,y"),
            (json!(["a", 1, true]), "a,1,true"),
            (json!({ "inner": { "name": "a" } }), "inner name a"),
            (json!(null), ""),
        ] {
            assert_eq!(value.text(), text);
        }
    }
}
