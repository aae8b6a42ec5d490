//! The parameters of the tokens that an agent got, and how those of a request differ from them.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::Value;

use super::counts::{Counts, count, most_common};
use crate::base::{CapabilityName, ParameterName, ParametersByCapability, RecordedParameters, RecordedValue};
use crate::wire::ApprovalDifferenceAnswer;

/// The name of these differences.
pub(super) const FIELD: &str = "parameter";

/// The parameters of an agent's tokens, by capability.
#[derive(Debug, Default)]
pub(super) struct UsualParameters(BTreeMap<String, OfCapability>);

#[derive(Debug, Default)]
struct OfCapability {
    tokens: u64,
    values: BTreeMap<ParameterName, UsualValues>,
}

/// The values of one parameter.
#[derive(Debug, Default)]
struct UsualValues {
    tokens: u64,
    numbers: Option<NumberRange>,
    others: Counts,
}

#[derive(Clone, Copy, Debug)]
struct NumberRange {
    min: i64,
    max: i64,
}

impl UsualParameters {
    /// Adds a token by the event of its entry. An operator with an owner sees no parameters of entries: then there are none.
    pub(super) fn add(&mut self, event: &Value) {
        let Some(facts) = event.get("facts") else { return };
        let recorded = facts.get("parameters").map(ParametersByCapability::deserialize);
        let recorded = recorded.and_then(Result::ok).unwrap_or_default();
        let capabilities = event.get("capabilities").and_then(Value::as_array).into_iter().flatten();
        for name in capabilities.filter_map(Value::as_str) {
            let usual = self.0.entry(name.to_owned()).or_default();
            usual.tokens = usual.tokens.saturating_add(1);
            let of_capability = recorded.iter().filter(|(capability, _)| capability.as_str() == name);
            for (parameter, value) in of_capability.flat_map(|(_, recorded)| &recorded.0) {
                usual.values.entry(parameter.clone()).or_default().add(value);
            }
        }
    }

    /// Whether the parameters of some token are known.
    pub(super) fn is_known(&self) -> bool {
        !self.0.is_empty()
    }

    /// The parameters of the capability that no token had: a number outside of the range, another value that no token had,
    /// and a parameter that all tokens had and the request does not. Nothing for a capability without a known token.
    pub(super) fn differences(
        &self,
        capability: &CapabilityName,
        requested: &RecordedParameters,
    ) -> Vec<ApprovalDifferenceAnswer> {
        let Some(usual) = self.0.get(capability.as_str()) else { return Vec::new() };
        let difference = |parameter: &ParameterName, value: String| ApprovalDifferenceAnswer {
            field: FIELD.into(),
            capability: Some(capability.clone()),
            parameter: Some(parameter.clone()),
            value,
            usual: usual.values.get(parameter).map(UsualValues::texts).unwrap_or_default(),
        };
        let is_new = |parameter: &ParameterName, value: &RecordedValue| {
            usual.values.get(parameter).is_none_or(|values| !values.contain(value))
        };
        let new = requested.0.iter().filter(|(parameter, value)| is_new(parameter, value));
        let new = new.map(|(parameter, value)| difference(parameter, value.to_string()));
        let missing = usual.values.iter().filter(|(parameter, values)| {
            values.tokens == usual.tokens && !requested.0.contains_key(*parameter)
        });
        new.chain(missing.map(|(parameter, _)| difference(parameter, "none".to_owned()))).collect()
    }
}

impl UsualValues {
    fn add(&mut self, value: &RecordedValue) {
        self.tokens = self.tokens.saturating_add(1);
        match value {
            RecordedValue::Integer(number) => {
                let range = self.numbers.unwrap_or(NumberRange { min: *number, max: *number });
                self.numbers = Some(NumberRange { min: range.min.min(*number), max: range.max.max(*number) });
            }
            RecordedValue::Text(_) | RecordedValue::Boolean(_) | RecordedValue::Sensitive(_) => {
                count(&mut self.others, &value.to_string());
            }
        }
    }

    fn contain(&self, value: &RecordedValue) -> bool {
        match value {
            RecordedValue::Integer(number) => {
                self.numbers.is_some_and(|range| (range.min..=range.max).contains(number))
            }
            RecordedValue::Text(_) | RecordedValue::Boolean(_) | RecordedValue::Sensitive(_) => {
                self.others.contains_key(&value.to_string())
            }
        }
    }

    /// The range of the numbers, and the most common other values.
    fn texts(&self) -> Vec<String> {
        let range = self.numbers.map(
            |NumberRange { min, max }| {
                if min == max { min.to_string() } else { format!("{min} to {max}") }
            },
        );
        range.into_iter().chain(most_common(&self.others)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn usual(parameters: &[Value]) -> UsualParameters {
        let mut usual = UsualParameters::default();
        for one in parameters {
            usual.add(&json!({ "capabilities": ["c"], "facts": { "parameters": { "c": one } } }));
        }
        usual
    }

    /// The differences: parameter, value and usual values.
    fn differences(usual: &UsualParameters, requested: Value) -> Vec<String> {
        let requested: RecordedParameters = serde_json::from_value(requested).unwrap();
        let found = usual.differences(&"c".parse().unwrap(), &requested);
        let text = |one: ApprovalDifferenceAnswer| {
            format!("{}={} ({})", one.parameter.unwrap(), one.value, one.usual.join(", "))
        };
        found.into_iter().map(text).collect()
    }

    #[test]
    fn numbers_outside_of_the_range_and_new_values_differ() {
        let known = usual(&[
            json!({ "amount": 5, "currency": "EUR", "account": { "sensitive": "ab" } }),
            json!({ "amount": 40, "currency": "EUR", "account": { "sensitive": "cd" } }),
        ]);
        let like = json!({ "amount": 17, "currency": "EUR", "account": { "sensitive": "cd" } });
        assert_eq!(differences(&known, like), [""; 0]);
        let other = json!({ "amount": 40000, "currency": "USD", "account": { "sensitive": "ef" } });
        let expected = [
            "account=sensitive:ef (sensitive:ab, sensitive:cd)",
            "amount=40000 (5 to 40)",
            "currency=\"USD\" (\"EUR\")",
        ];
        assert_eq!(differences(&known, other), expected);
        let low = json!({ "amount": 4, "currency": "EUR", "account": { "sensitive": "ab" } });
        assert_eq!(differences(&known, low), ["amount=4 (5 to 40)"]);
    }

    #[test]
    fn new_and_missing_parameters_differ() {
        let known = usual(&[json!({ "dry_run": true }), json!({ "dry_run": true, "note": "x" })]);
        assert_eq!(differences(&known, json!({})), ["dry_run=none (true)"]);
        assert_eq!(differences(&known, json!({ "dry_run": true, "amount": 1 })), ["amount=1 ()"]);
    }

    #[test]
    fn hidden_parameters_are_not_compared() {
        let mut known = UsualParameters::default();
        known.add(&json!({ "capabilities": ["c"] }));
        assert!(!known.is_known());
        assert_eq!(differences(&known, json!({ "amount": 1 })), [""; 0]);
    }
}
