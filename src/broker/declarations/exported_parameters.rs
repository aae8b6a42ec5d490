use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::base::ParameterName;
use crate::registry::{CapabilityParameters, ParameterKind, ParameterRule};

/// A parameter, as its declaration has it.
#[derive(Serialize)]
pub(super) struct ParameterTable<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    required: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    sensitive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<&'a BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_length: Option<u32>,
}

/// The parameters of a capability, as its declaration has them.
pub(super) fn parameter_tables(
    parameters: &CapabilityParameters,
) -> BTreeMap<&ParameterName, ParameterTable<'_>> {
    parameters.iter().map(|(name, rule)| (name, ParameterTable::of(rule))).collect()
}

impl<'a> ParameterTable<'a> {
    fn of(ParameterRule { kind, required, sensitive }: &'a ParameterRule) -> Self {
        let (min, max) = match kind {
            ParameterKind::Integer { min, max } => (*min, *max),
            ParameterKind::Text { .. } | ParameterKind::Boolean => (None, None),
        };
        let (values, max_length) = match kind {
            ParameterKind::Text { values, max_length } => {
                (Some(values).filter(|values| !values.is_empty()), *max_length)
            }
            ParameterKind::Integer { .. } | ParameterKind::Boolean => (None, None),
        };
        let (required, sensitive) = (*required, *sensitive);
        Self { r#type: kind.value_type().as_str(), required, sensitive, min, max, values, max_length }
    }
}
