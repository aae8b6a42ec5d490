use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::limits::{PARAMETER_INTEGER_MAX, PARAMETER_TEXT_CHARS_MAX};
use crate::base::{ParameterType, ParameterValue, is_invisible};

/// The values that a capability allows a parameter.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ParameterKind {
    /// A whole number.
    Integer {
        /// The smallest one, if one is declared.
        min: Option<i64>,
        /// The largest one, if one is declared.
        max: Option<i64>,
    },
    /// One line of text.
    Text {
        /// The allowed texts; empty for all.
        values: BTreeSet<String>,
        /// The longest text, in characters, if it is declared.
        max_length: Option<u32>,
    },
    /// `true` or `false`.
    Boolean,
}

/// A declared parameter of a capability.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ParameterRule {
    /// The allowed values.
    pub kind: ParameterKind,
    /// Whether every request has to give it.
    pub required: bool,
    /// Whether only a keyed digest of its value is recorded.
    pub sensitive: bool,
}

impl ParameterKind {
    /// The type.
    #[must_use]
    pub const fn value_type(&self) -> ParameterType {
        match self {
            Self::Integer { .. } => ParameterType::Integer,
            Self::Text { .. } => ParameterType::Text,
            Self::Boolean => ParameterType::Boolean,
        }
    }

    /// Whether it allows `value`.
    pub(super) fn allows(&self, value: &ParameterValue) -> bool {
        match (self, value) {
            (Self::Integer { .. }, ParameterValue::Integer(number)) => {
                let (min, max) = self.range();
                (min..=max).contains(number)
            }
            (Self::Text { values, .. }, ParameterValue::Text(text)) => {
                let is_line = !text.is_empty() && !text.chars().any(|c| c.is_control() || is_invisible(c));
                let chars = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
                is_line && chars <= self.longest() && (values.is_empty() || values.contains(text))
            }
            (Self::Boolean, ParameterValue::Boolean(_)) => true,
            (Self::Integer { .. } | Self::Text { .. } | Self::Boolean, _) => false,
        }
    }

    /// The smallest and the largest number.
    fn range(&self) -> (i64, i64) {
        let (min, max) = match self {
            Self::Integer { min, max } => (*min, *max),
            Self::Text { .. } | Self::Boolean => (None, None),
        };
        let smallest = PARAMETER_INTEGER_MAX.saturating_neg();
        (
            min.unwrap_or(smallest).max(smallest),
            max.unwrap_or(PARAMETER_INTEGER_MAX).min(PARAMETER_INTEGER_MAX),
        )
    }

    fn longest(&self) -> u32 {
        let Self::Text { max_length, .. } = self else { return PARAMETER_TEXT_CHARS_MAX };
        max_length.unwrap_or(PARAMETER_TEXT_CHARS_MAX).min(PARAMETER_TEXT_CHARS_MAX)
    }

    /// Whether it allows no value that `before` does not allow.
    fn is_as_strict_as(&self, before: &Self) -> bool {
        match (self, before) {
            (Self::Integer { .. }, Self::Integer { .. }) => {
                let ((min, max), (min_before, max_before)) = (self.range(), before.range());
                min >= min_before && max <= max_before
            }
            (Self::Text { values, .. }, Self::Text { values: values_before, .. }) => {
                let is_subset = !values.is_empty() && values.is_subset(values_before);
                (values_before.is_empty() || is_subset) && self.longest() <= before.longest()
            }
            (Self::Boolean, Self::Boolean) => true,
            (Self::Integer { .. } | Self::Text { .. } | Self::Boolean, _) => false,
        }
    }
}

/// Allowed texts that a message shows.
const SHOWN_TEXTS: usize = 5;

/// What is allowed, for people.
impl fmt::Display for ParameterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer { min: None, max: None } => write!(f, "integer"),
            Self::Integer { min: Some(min), max: None } => write!(f, "integer of at least {min}"),
            Self::Integer { min: None, max: Some(max) } => write!(f, "integer of at most {max}"),
            Self::Integer { min: Some(min), max: Some(max) } => write!(f, "integer from {min} to {max}"),
            Self::Text { values, .. } if !values.is_empty() => {
                let texts: Vec<String> =
                    values.iter().take(SHOWN_TEXTS).map(|text| format!("{text:?}")).collect();
                let more = values.len().saturating_sub(SHOWN_TEXTS);
                let more = if more == 0 { String::new() } else { format!(" and {more} more") };
                write!(f, "text, one of {}{more}", texts.join(", "))
            }
            Self::Text { .. } => write!(f, "text of 1 to {} characters", self.longest()),
            Self::Boolean => write!(f, "boolean"),
        }
    }
}

impl ParameterRule {
    /// Whether each request that it accepts was accepted by `before`, and its value is recorded no more openly.
    pub(super) fn restricts_as_much_as(&self, before: &Self) -> bool {
        let is_as_secret = self.sensitive || !before.sensitive;
        is_as_secret && (self.required || !before.required) && self.kind.is_as_strict_as(&before.kind)
    }
}

impl fmt::Display for ParameterRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let required = if self.required { ", required" } else { "" };
        let sensitive = if self.sensitive { ", sensitive" } else { "" };
        write!(f, "{}{required}{sensitive}", self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(min: Option<i64>, max: Option<i64>) -> ParameterKind {
        ParameterKind::Integer { min, max }
    }

    fn text(values: &[&str], max_length: Option<u32>) -> ParameterKind {
        ParameterKind::Text { values: values.iter().map(|one| (*one).to_owned()).collect(), max_length }
    }

    #[test]
    fn a_value_is_allowed_within_its_limits() {
        let line = |chars: u32| ParameterValue::Text("ü".repeat(usize::try_from(chars).unwrap()));
        for (kind, value, is_allowed) in [
            (integer(None, None), ParameterValue::Integer(PARAMETER_INTEGER_MAX), true),
            (integer(None, None), ParameterValue::Integer(PARAMETER_INTEGER_MAX + 1), false),
            (integer(None, None), ParameterValue::Integer(-PARAMETER_INTEGER_MAX), true),
            (integer(None, None), ParameterValue::Integer(-PARAMETER_INTEGER_MAX - 1), false),
            (integer(Some(1), Some(3)), ParameterValue::Integer(1), true),
            (integer(Some(1), Some(3)), ParameterValue::Integer(0), false),
            (integer(Some(1), Some(3)), ParameterValue::Integer(4), false),
            (integer(None, None), ParameterValue::Boolean(true), false),
            (text(&[], None), line(PARAMETER_TEXT_CHARS_MAX), true),
            (text(&[], None), line(PARAMETER_TEXT_CHARS_MAX + 1), false),
            (text(&[], Some(3)), line(3), true),
            (text(&[], Some(3)), line(4), false),
            (text(&[], None), ParameterValue::Text(String::new()), false),
            (text(&[], None), ParameterValue::Text("a\nb".to_owned()), false),
            (text(&[], None), ParameterValue::Text("a\u{202e}b".to_owned()), false),
            (text(&["EUR"], None), ParameterValue::Text("EUR".to_owned()), true),
            (text(&["EUR"], None), ParameterValue::Text("USD".to_owned()), false),
            (ParameterKind::Boolean, ParameterValue::Boolean(false), true),
            (ParameterKind::Boolean, ParameterValue::Integer(1), false),
        ] {
            assert_eq!(kind.allows(&value), is_allowed, "{kind}");
        }
    }

    #[test]
    fn a_message_shows_a_few_of_the_allowed_texts() {
        let few = text(&["a", "b"], None);
        assert_eq!(few.to_string(), "text, one of \"a\", \"b\"");
        let many = text(&["a", "b", "c", "d", "e", "f", "g"], None);
        assert_eq!(many.to_string(), "text, one of \"a\", \"b\", \"c\", \"d\", \"e\" and 2 more");
    }

    #[test]
    fn a_value_that_is_not_sensitive_any_more_is_recorded_more_openly() {
        let rule = |sensitive| ParameterRule { kind: ParameterKind::Boolean, required: false, sensitive };
        assert!(
            !rule(false).restricts_as_much_as(&rule(true)) && rule(true).restricts_as_much_as(&rule(false))
        );
    }

    #[test]
    fn only_a_rule_that_is_known_to_be_stricter_is_as_strict() {
        let rule = |kind, required| ParameterRule { kind, required, sensitive: false };
        for (own, before, is_as_strict) in [
            (rule(integer(Some(1), Some(5)), false), rule(integer(None, Some(5)), false), true),
            (rule(integer(Some(1), Some(6)), false), rule(integer(None, Some(5)), false), false),
            (rule(integer(None, None), false), rule(integer(None, Some(5)), false), false),
            (rule(integer(None, None), true), rule(integer(None, None), false), true),
            (rule(integer(None, None), false), rule(integer(None, None), true), false),
            (rule(text(&["a"], None), false), rule(text(&["a", "b"], None), false), true),
            (rule(text(&["a", "c"], None), false), rule(text(&["a", "b"], None), false), false),
            (rule(text(&[], None), false), rule(text(&["a"], None), false), false),
            (rule(text(&["a"], None), false), rule(text(&[], None), false), true),
            (rule(text(&[], Some(9)), false), rule(text(&[], Some(8)), false), false),
            (rule(text(&[], Some(8)), false), rule(text(&[], Some(9)), false), true),
            (rule(ParameterKind::Boolean, false), rule(text(&[], None), false), false),
        ] {
            assert_eq!(own.restricts_as_much_as(&before), is_as_strict, "{own} after {before}");
        }
    }
}
