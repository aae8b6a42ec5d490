use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;

use super::parameter_rule::{ParameterKind, ParameterRule};
use super::parameters::CapabilityParameters;
use crate::base::limits::{
    PARAMETER_INTEGER_MAX, PARAMETER_TEXT_CHARS_MAX, PARAMETER_VALUES_BYTES_MAX, PARAMETER_VALUES_MAX,
    PARAMETERS_MAX,
};
use crate::base::{NameError, ParameterName, ParameterType, ParameterValue};
use crate::config::{Faults, SourcePosition};

/// The parameters of a capability in a declaration file, by name.
pub(super) type RawParameters = BTreeMap<String, RawParameter>;

/// A parameter of a capability.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawParameter {
    /// `integer`, `text` or `boolean`.
    r#type: ParameterType,
    /// Whether every request has to give it; `false` by default.
    #[serde(default)]
    required: bool,
    /// Whether only a keyed digest of the value is recorded; `false` by default.
    #[serde(default)]
    sensitive: bool,
    /// The smallest number; only for `integer`.
    min: Option<i64>,
    /// The largest number; only for `integer`.
    max: Option<i64>,
    /// The allowed texts; only for `text`.
    #[schemars(length(min = 1, max = 64))]
    values: Option<Vec<String>>,
    /// The longest text in characters; only for `text`. By default 256.
    #[schemars(range(min = 1, max = 256))]
    max_length: Option<u32>,
}

/// The parameters that `raw` declares.
pub(super) fn parameters(
    raw: &RawParameters,
    place: SourcePosition,
    faults: &mut Faults<'_>,
) -> CapabilityParameters {
    if raw.len() > PARAMETERS_MAX {
        faults.tell(place, format!("the capability has more than {PARAMETERS_MAX} parameters"));
    }
    let mut rules = BTreeMap::new();
    for (name, one) in raw {
        let parsed: Result<ParameterName, NameError> = name.parse();
        let kind = kind(one);
        match (parsed, kind) {
            (Ok(name), Ok(kind)) => {
                rules.insert(name, ParameterRule { kind, required: one.required, sensitive: one.sensitive });
            }
            (Err(error), _) => faults.tell(place, format!("a name in `parameters` is {error}")),
            (Ok(name), Err(problem)) => faults.tell(place, format!("parameter `{name}`: {problem}")),
        }
    }
    CapabilityParameters::new(rules)
}

fn kind(raw: &RawParameter) -> Result<ParameterKind, String> {
    let (has_range, has_texts) =
        (raw.min.is_some() || raw.max.is_some(), raw.values.is_some() || raw.max_length.is_some());
    match raw.r#type {
        ParameterType::Integer if has_texts => {
            Err("type `integer` contradicts `values` and `max_length`: use `min` and `max`".to_owned())
        }
        ParameterType::Integer => integer(raw.min, raw.max),
        ParameterType::Text if has_range => {
            Err("type `text` contradicts `min` and `max`: use `values` or `max_length`".to_owned())
        }
        ParameterType::Text => text(raw),
        ParameterType::Boolean if has_range || has_texts => {
            Err("type `boolean` has no limits: remove `min`, `max`, `values` and `max_length`".to_owned())
        }
        ParameterType::Boolean => Ok(ParameterKind::Boolean),
    }
}

fn integer(min: Option<i64>, max: Option<i64>) -> Result<ParameterKind, String> {
    let range = PARAMETER_INTEGER_MAX.saturating_neg()..=PARAMETER_INTEGER_MAX;
    if [min, max].into_iter().flatten().any(|limit| !range.contains(&limit)) {
        return Err(format!("`min` and `max` are at most {PARAMETER_INTEGER_MAX}, or its negative"));
    }
    match (min, max) {
        (Some(min), Some(max)) if min > max => Err("`min` is greater than `max`".to_owned()),
        (min, max) => Ok(ParameterKind::Integer { min, max }),
    }
}

fn text(raw: &RawParameter) -> Result<ParameterKind, String> {
    let max_length = raw.max_length;
    if max_length.is_some_and(|length| !(1..=PARAMETER_TEXT_CHARS_MAX).contains(&length)) {
        return Err(format!("`max_length` is not a number from 1 to {PARAMETER_TEXT_CHARS_MAX}"));
    }
    let Some(texts) = &raw.values else {
        return Ok(ParameterKind::Text { values: BTreeSet::new(), max_length });
    };
    if max_length.is_some() {
        return Err("`values` and `max_length` contradict each other: remove one of them".to_owned());
    }
    if texts.is_empty() || texts.len() > PARAMETER_VALUES_MAX {
        return Err(format!("`values` does not have 1 to {PARAMETER_VALUES_MAX} texts"));
    }
    let values: BTreeSet<String> = texts.iter().cloned().collect();
    if values.iter().map(String::len).fold(0, usize::saturating_add) > PARAMETER_VALUES_BYTES_MAX {
        return Err(format!(
            "the texts of `values` have more than {PARAMETER_VALUES_BYTES_MAX} bytes together"
        ));
    }
    if values.len() < texts.len() {
        return Err("`values` has a text twice: remove one of them".to_owned());
    }
    let any = ParameterKind::Text { values: BTreeSet::new(), max_length: None };
    if !values.iter().all(|text| any.allows(&ParameterValue::Text(text.clone()))) {
        return Err(format!(
            "a text in `values` is not one line of 1 to {PARAMETER_TEXT_CHARS_MAX} printable characters"
        ));
    }
    Ok(ParameterKind::Text { values, max_length: None })
}
