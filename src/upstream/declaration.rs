use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::config::without_values;

/// An error in a declared upstream. Never repeats a value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{why}")]
pub struct TargetError {
    why: String,
    field: String,
}

impl TargetError {
    /// An error of the whole declaration.
    pub(super) fn new(why: String) -> Self {
        Self::at("", why)
    }

    /// An error of one field, named by its path with dots.
    pub(super) fn at(field: &str, why: String) -> Self {
        Self { why, field: field.to_owned() }
    }

    /// The field; empty for the whole declaration.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }
}

pub(super) fn refuse<T>(why: &str) -> Result<T, TargetError> {
    Err(TargetError::new(why.to_owned()))
}

/// The fields of a declared upstream beside `driver`.
#[derive(Clone, Debug)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// The driver of `upstream`, and the other fields.
    pub(super) fn of(mut upstream: Map<String, Value>) -> Result<(String, Self), TargetError> {
        match upstream.remove("driver") {
            Some(Value::String(driver)) => Ok((driver, Self(upstream))),
            Some(_) => Err(TargetError::at("driver", "`driver` must be a text".to_owned())),
            None => refuse("missing field `driver`"),
        }
    }

    /// Removes the fields with these names, and returns them as a `T`.
    pub(super) fn take<T: DeserializeOwned>(&mut self, names: &[&str]) -> Result<T, TargetError> {
        let taken = names.iter().filter_map(|name| self.0.remove_entry(*name));
        Self(taken.collect()).read()
    }

    /// All fields, as a `T`.
    pub(super) fn read<T: DeserializeOwned>(self) -> Result<T, TargetError> {
        serde_json::from_value(Value::Object(self.0))
            .map_err(|error| TargetError::new(without_values(&error.to_string())))
    }
}

/// The fields of a declaration in JSON.
#[cfg(test)]
pub(super) fn fields(json: &str) -> Fields {
    Fields::of(serde_json::from_str(json).unwrap()).unwrap().1
}
