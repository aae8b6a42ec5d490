use std::fmt;
use std::sync::LazyLock;

use cedar_policy::{ParseErrors, PolicySet, ValidationError, ValidationMode, ValidationWarning, Validator};
use miette::Diagnostic;

use super::model::schema;

/// A fault of a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuleFault {
    /// Bytes from the beginning of the rule, if the fault has a place.
    pub offset: Option<usize>,
    /// The problem and the fix.
    pub message: String,
}

impl RuleFault {
    /// A fault of the rule as a whole.
    pub(super) fn whole(message: impl Into<String>) -> Self {
        Self { offset: None, message: message.into() }
    }

    fn at(error: &dyn Diagnostic, message: String) -> Self {
        let offset = error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
        Self { offset, message }
    }
}

impl fmt::Display for RuleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Longest part of a message of Cedar's that a fault repeats, in characters.
const REPEATED_CHARS_MAX: usize = 200;

/// A message of Cedar's on one line, without the id that Cedar gives the only statement of a rule.
fn repeated(text: &str) -> String {
    let own = text.strip_prefix("for policy `").and_then(|rest| rest.split_once("`, "));
    let text = own.map_or(text, |(_, text)| text);
    let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let shown: String = shown.take(REPEATED_CHARS_MAX).collect();
    if text.chars().nth(REPEATED_CHARS_MAX).is_some() { format!("{shown}…") } else { shown }
}

/// The faults of a text that is not a rule.
pub(super) fn parse_faults(errors: &ParseErrors) -> Vec<RuleFault> {
    let faults = errors.iter().map(|error| {
        let label = error.labels().and_then(|mut labels| labels.next()?.label().map(repeated));
        let expected = label.map_or_else(String::new, |label| format!(", {label}"));
        let message =
            format!("the rule is not a Cedar statement: {}{expected}", repeated(&error.to_string()));
        RuleFault::at(error, message)
    });
    faults.collect()
}

/// What is wrong with the statement of `set` in the model of requests.
pub(super) fn validation_faults(set: &PolicySet) -> Vec<RuleFault> {
    static VALIDATOR: LazyLock<Option<Validator>> = LazyLock::new(|| schema().cloned().map(Validator::new));
    let Some(validator) = &*VALIDATOR else {
        return vec![RuleFault::whole("the broker cannot check rules: report this fault of the broker")];
    };
    validator_faults(validator, set)
}

/// What `validator` finds wrong with the statement of `set`.
pub(super) fn validator_faults(validator: &Validator, set: &PolicySet) -> Vec<RuleFault> {
    let result = validator.validate(set, ValidationMode::Strict);
    let errors = result.validation_errors().map(|error| RuleFault::at(error, explained(error)));
    let faults: Vec<RuleFault> = errors.collect();
    if !faults.is_empty() {
        return faults;
    }
    result.validation_warnings().map(|warning| RuleFault::at(warning, warned(warning))).collect()
}

const FIELDS: &str = "docs/reference/policy.md lists the fields of an agent, a capability and a request";

fn explained(error: &ValidationError) -> String {
    let text = repeated(&error.to_string());
    let fix = match error {
        ValidationError::UnrecognizedEntityType(_) => {
            "the types are Keyward::Agent, Keyward::Role, Keyward::Capability and Keyward::Environment"
        }
        ValidationError::UnrecognizedActionId(_) => {
            "the actions are Keyward::Action::\"token\", \"read_secret\" and \"lease\""
        }
        ValidationError::InvalidActionApplication(_) => {
            "the principal is a Keyward::Agent (or `in` a Keyward::Role), the resource a Keyward::Capability (or `in` a \
             Keyward::Environment)"
        }
        ValidationError::UnsafeOptionalAttributeAccess(_) => {
            "not every request has this field: test it first, e.g. `context has source && context.source == …`"
        }
        ValidationError::UnsafeAttributeAccess(_) => FIELDS,
        ValidationError::UnexpectedType(_) | ValidationError::IncompatibleTypes(_) => {
            "compare and combine only values of the same type"
        }
        ValidationError::UndefinedFunction(_) => {
            "the only functions are those of addresses: `ip(\"…\")`, `isInRange`"
        }
        ValidationError::FunctionArgumentValidation(_) => {
            "write an address or a network, e.g. `ip(\"10.0.0.0/8\")`"
        }
        ValidationError::UnsafeTagAccess(_)
        | ValidationError::NoTagsAllowed(_)
        | ValidationError::WrongNumberArguments(_)
        | ValidationError::EmptySetForbidden(_)
        | ValidationError::NonLitExtConstructor(_)
        | ValidationError::HierarchyNotRespected(_)
        | ValidationError::InternalInvariantViolation(_)
        | ValidationError::EntityDerefLevelViolation(_)
        | ValidationError::InvalidEnumEntity(_)
        | _ => FIELDS,
    };
    format!("the rule does not fit the model of requests: {text}; {fix}")
}

fn warned(warning: &ValidationWarning) -> String {
    if matches!(warning, ValidationWarning::ImpossiblePolicy(_)) {
        return "the rule can never match a request: correct the head and the conditions".to_owned();
    }
    format!("the rule has misleading characters: {}; write them in ASCII", repeated(&warning.to_string()))
}
