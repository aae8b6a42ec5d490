use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::parameter_rule::ParameterRule;
use crate::base::code::{self, Code};
use crate::base::{
    CapabilityName, GivenParameters, GivenValue, GrantedParameters, ParameterFacts, ParameterName,
    ParameterValue, RecordedParameters, RecordedValue, has_secret_form, near_texts,
};
use crate::crypto::MacKey;
use crate::wire::ChangedValue;

/// The parameters of a capability, as declared.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct CapabilityParameters(BTreeMap<ParameterName, ParameterRule>);

/// The parameters of one capability that a request gives, which its declaration allows.
#[derive(Clone, Debug, Default)]
pub struct CheckedParameters {
    given: GrantedParameters,
    sensitive: BTreeSet<ParameterName>,
    /// Those of a recorded request whose values are not known.
    hidden: BTreeSet<ParameterName>,
}

/// Why the parameters of a request do not fit the declaration of their capability. It has no value of a parameter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParameterFault {
    /// The code.
    pub code: Code,
    /// The capability, the parameter and the problem.
    pub why: String,
    /// What is allowed.
    pub fix: String,
}

/// The beginning of the field of a changed parameter.
pub(super) const PARAMETER_FIELD: &str = "parameters.";

/// The longest name of a parameter of a request that a message repeats, in characters.
const REPEATED_CHARS_MAX: usize = 64;

impl CapabilityParameters {
    /// These parameters.
    #[must_use]
    pub const fn new(rules: BTreeMap<ParameterName, ParameterRule>) -> Self {
        Self(rules)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The parameters, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ParameterName, &ParameterRule)> {
        self.0.iter()
    }

    /// The parameter of this name.
    #[must_use]
    pub fn get(&self, name: &ParameterName) -> Option<&ParameterRule> {
        self.0.get(name)
    }

    /// The parameters of `before` that these do not restrict as much: they are gone, or allow more.
    pub fn loosened<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a ParameterName> {
        let stays = move |name: &ParameterName, rule: &ParameterRule| {
            self.get(name).is_some_and(|own| own.restricts_as_much_as(rule))
        };
        before.iter().filter(move |(name, rule)| !stays(name, rule)).map(|(name, _)| name)
    }

    /// The parameters that these require and `before` does not.
    pub fn newly_required<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a ParameterName> {
        let was_required = move |name: &ParameterName| before.get(name).is_some_and(|rule| rule.required);
        self.iter().filter(move |(name, rule)| rule.required && !was_required(name)).map(|(name, _)| name)
    }

    /// The parameters that differ from `old`, as a plan shows them.
    pub(super) fn changed_from(&self, old: &Self) -> Vec<ChangedValue> {
        let names: BTreeSet<&ParameterName> = self.0.keys().chain(old.0.keys()).collect();
        let changed = names.into_iter().filter_map(|name| {
            ChangedValue::single(format!("{PARAMETER_FIELD}{name}"), old.get(name), self.get(name))
        });
        changed.collect()
    }

    /// Checks what a request gives the parameters of `capability`, which has these.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(
        &self,
        capability: &CapabilityName,
        given: &GivenParameters,
    ) -> Result<CheckedParameters, ParameterFault> {
        for (name, _) in given.iter() {
            if !self.0.keys().any(|known| known.as_str() == name) {
                return Err(self.unknown(capability, name));
            }
        }
        let mut checked = CheckedParameters::default();
        for (name, rule) in &self.0 {
            match given.get(name) {
                None if rule.required => return Err(self.missing(capability, given)),
                None => continue,
                Some(GivenValue::Plain(value)) if rule.kind.allows(value) => {
                    if !rule.sensitive && matches!(value, ParameterValue::Text(text) if has_secret_form(text))
                    {
                        return Err(secret_form(capability, name));
                    }
                    checked.given.set(name.clone(), value.clone());
                }
                Some(GivenValue::Plain(_) | GivenValue::Other) => {
                    return Err(not_allowed(capability, name, rule));
                }
                Some(GivenValue::Hidden) => {
                    checked.hidden.insert(name.clone());
                }
            }
            if rule.sensitive {
                checked.sensitive.insert(name.clone());
            }
        }
        Ok(checked)
    }

    fn missing(&self, capability: &CapabilityName, given: &GivenParameters) -> ParameterFault {
        let missing: Vec<_> =
            self.iter().filter(|(name, rule)| rule.required && given.get(name).is_none()).collect();
        let names: Vec<String> = missing.iter().map(|(name, _)| format!("`{name}`")).collect();
        let described: Vec<String> =
            missing.iter().map(|(name, rule)| format!("`{name}` ({})", rule.kind)).collect();
        let argument = |(name, rule): &(&ParameterName, &ParameterRule)| {
            format!(" --parameter {name}={}", if rule.sensitive { "@FILE" } else { "VALUE" })
        };
        let arguments: String = missing.iter().map(argument).collect();
        let (parameters, them) = if names.len() == 1 { ("parameter", "it") } else { ("parameters", "them") };
        ParameterFault {
            code: code::PARAMETER_MISSING,
            why: format!(
                "capability `{capability}` requires the {parameters} {}, and the request does not give {them}",
                names.join(", ")
            ),
            fix: format!(
                "give {} in `parameters` of the capability's object in `authorization_details`: \
                 `keyward token {capability}{arguments}`",
                described.join(", ")
            ),
        }
    }

    fn unknown(&self, capability: &CapabilityName, name: &str) -> ParameterFault {
        let shown: String = name.chars().take(REPEATED_CHARS_MAX).flat_map(char::escape_debug).collect();
        let near = near_texts(name, self.0.keys().map(ParameterName::as_str));
        let known: Vec<String> = self.0.keys().map(|known| format!("`{known}`")).collect();
        let fix = match (near.first(), known.is_empty()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, true) => "leave it out: the capability has no parameters".to_owned(),
            (None, false) => {
                format!("leave it out: the parameters of the capability are {}", known.join(", "))
            }
        };
        let why = format!("capability `{capability}` has no parameter `{shown}`");
        ParameterFault { code: code::PARAMETER_UNKNOWN, why, fix }
    }
}

fn not_allowed(capability: &CapabilityName, name: &ParameterName, rule: &ParameterRule) -> ParameterFault {
    ParameterFault {
        code: code::PARAMETER_INVALID,
        why: format!("capability `{capability}`: the value of the parameter `{name}` is not allowed"),
        fix: format!("give `{name}` a value of this form: {}", rule.kind),
    }
}

fn secret_form(capability: &CapabilityName, name: &ParameterName) -> ParameterFault {
    ParameterFault {
        code: code::PARAMETER_INVALID,
        why: format!(
            "capability `{capability}`: the parameter `{name}` contains a token or an enrolment code, and the ledger would \
             keep it"
        ),
        fix: code::TEXT_CONTAINS_SECRET.fix().to_owned(),
    }
}

impl CheckedParameters {
    /// The values, for the token.
    #[must_use]
    pub const fn granted(&self) -> &GrantedParameters {
        &self.given
    }

    /// The values, for policies.
    #[must_use]
    pub const fn facts(&self) -> ParameterFacts<'_> {
        ParameterFacts { given: &self.given, hidden: &self.hidden }
    }

    /// The parameters of `capability` as they are recorded of a request of `agent`, its SPIFFE id: of sensitive ones a digest
    /// under `key`.
    #[must_use]
    pub fn recorded(&self, capability: &CapabilityName, agent: &str, key: &MacKey) -> RecordedParameters {
        let recorded = |(name, value): (&ParameterName, &ParameterValue)| {
            let value = if self.sensitive.contains(name) {
                RecordedValue::Sensitive(parameter_digest(key, agent, capability, name, value))
            } else {
                RecordedValue::from(value)
            };
            (name.clone(), value)
        };
        RecordedParameters(self.given.iter().map(recorded).collect())
    }

    /// Whether one of them is sensitive.
    #[must_use]
    pub fn have_sensitive(&self) -> bool {
        !self.sensitive.is_empty()
    }
}

/// Hexadecimal digits of a digest of a sensitive value: 128 bits, so that no two values of a request are found with the same one.
const DIGEST_DIGITS: usize = 32;

/// The keyed digest of a value of this parameter, in hex. The same value of another parameter or of another agent has another
/// one, so that no agent can test guesses of the values of others.
#[must_use]
pub fn parameter_digest(
    key: &MacKey,
    agent: &str,
    capability: &CapabilityName,
    name: &ParameterName,
    value: &ParameterValue,
) -> String {
    let value = match value {
        ParameterValue::Integer(number) => format!("i{number}"),
        ParameterValue::Text(text) => format!("t{text}"),
        ParameterValue::Boolean(is_so) => format!("b{is_so}"),
    };
    let mut bytes = Vec::new();
    for part in ["parameter", agent, capability.as_str(), name.as_str(), &value] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    let mut digest = key.tag(&bytes).hex();
    digest.truncate(DIGEST_DIGITS);
    digest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parameter_rule::ParameterKind;
    use super::*;
    use crate::base::Sensitive;

    fn rule(kind: ParameterKind, required: bool, sensitive: bool) -> ParameterRule {
        ParameterRule { kind, required, sensitive }
    }

    fn refund() -> CapabilityParameters {
        let text = || ParameterKind::Text { values: BTreeSet::new(), max_length: Some(64) };
        let amount = ParameterKind::Integer { min: Some(1), max: Some(1000) };
        CapabilityParameters::new(
            [
                ("amount", rule(amount, true, false)),
                ("account", rule(text(), true, true)),
                ("note", rule(text(), false, false)),
            ]
            .map(|(name, rule)| (name.parse().unwrap(), rule))
            .into(),
        )
    }

    fn check(json: &str) -> Result<CheckedParameters, ParameterFault> {
        refund().check(&"payments.refund".parse().unwrap(), &serde_json::from_str(json).unwrap())
    }

    #[test]
    fn faults_name_the_capability_the_parameter_and_the_allowed_values() {
        for (json, code, why, fix) in [
            ("{}", code::PARAMETER_MISSING, "`account`, `amount`", "`amount` (integer from 1 to 1000)"),
            (
                "{}",
                code::PARAMETER_MISSING,
                "them",
                "refund --parameter account=@FILE --parameter amount=VALUE`",
            ),
            (r#"{"account":"CNRY"}"#, code::PARAMETER_MISSING, "`amount`", "--parameter amount=VALUE"),
            (r#"{"amount":1}"#, code::PARAMETER_MISSING, "`account`", "--parameter account=@FILE"),
            (r#"{"amont":1}"#, code::PARAMETER_UNKNOWN, "`amont`", "did you mean `amount`?"),
            (r#"{"CNRY":1}"#, code::PARAMETER_UNKNOWN, "`CNRY`", "`account`, `amount`, `note`"),
            (r#"{"amount":0,"account":"x"}"#, code::PARAMETER_INVALID, "`amount`", "from 1 to 1000"),
            (r#"{"amount":"1","account":"x"}"#, code::PARAMETER_INVALID, "`amount`", "integer"),
            (r#"{"amount":1.0,"account":"x"}"#, code::PARAMETER_INVALID, "`amount`", "integer"),
            (
                r#"{"amount":1,"account":["CNRY"]}"#,
                code::PARAMETER_INVALID,
                "`account`",
                "1 to 64 characters",
            ),
        ] {
            let fault = check(json).unwrap_err();
            assert_eq!(fault.code, code, "{json}");
            assert!(fault.why.contains("`payments.refund`") && fault.why.contains(why), "{}", fault.why);
            assert!(fault.fix.contains(fix), "{json}: {}", fault.fix);
        }
    }

    #[test]
    fn a_text_of_the_form_of_a_token_is_not_recorded() {
        let code = format!("keyward-enrol-{}", "a".repeat(40));
        let given = |name: &str| {
            let mut json = serde_json::json!({ "amount": 1, "account": "x" });
            json[name] = code.as_str().into();
            check(&json.to_string()).map(drop).map_err(|fault| fault.code)
        };
        assert_eq!(given("account"), Ok(()), "of a sensitive parameter only the digest is recorded");
        assert_eq!(given("note"), Err(code::PARAMETER_INVALID));
    }

    #[test]
    fn of_a_sensitive_parameter_only_a_keyed_digest_is_recorded() {
        let checked = check(r#"{"amount":7,"account":"CNRY"}"#).unwrap();
        assert!(checked.have_sensitive());
        let capability = "payments.refund".parse().unwrap();
        let recorded = |key: u8, agent, capability| {
            checked.recorded(capability, agent, &MacKey::new(&Sensitive::new([key; 32])))
        };
        let first = recorded(1, "spiffe://t/agent/a", &capability);
        let text = serde_json::to_string(&first).unwrap();
        assert!(
            text.contains("\"amount\":7") && text.contains("sensitive") && !text.contains("CNRY"),
            "{text}"
        );
        assert!(!format!("{checked:?}").contains("CNRY"));
        assert!(first.are_those_of(checked.granted()));
        assert_eq!(first, recorded(1, "spiffe://t/agent/a", &capability));
        assert_ne!(first, recorded(2, "spiffe://t/agent/a", &capability), "another key");
        assert_ne!(first, recorded(1, "spiffe://t/agent/b", &capability), "another agent");
        let other = "payments.pay".parse().unwrap();
        assert_ne!(first, recorded(1, "spiffe://t/agent/a", &other), "another capability");
    }

    #[test]
    fn a_recorded_request_fits_without_its_sensitive_values() {
        let mut given = GivenParameters::default();
        given.give("amount", GivenValue::Plain(ParameterValue::Integer(7)));
        given.give("account", GivenValue::Hidden);
        let checked = refund().check(&"payments.refund".parse().unwrap(), &given).unwrap();
        let facts = checked.facts();
        assert_eq!((facts.given.iter().count(), facts.hidden.len()), (1, 1));
    }

    proptest! {
        #[test]
        fn a_recorded_request_is_the_request_apart_from_sensitive_values(
            amount in 1_i64..=1000,
            account in "[A-Z0-9]{1,64}",
            note in proptest::option::of("[a-z ]{1,32}"),
        ) {
            let mut given = GivenParameters::default();
            given.give("amount", GivenValue::Plain(ParameterValue::Integer(amount)));
            given.give("account", GivenValue::Plain(ParameterValue::Text(account)));
            if let Some(note) = &note {
                given.give("note", GivenValue::Plain(ParameterValue::Text(note.clone())));
            }
            let capability = "payments.refund".parse().unwrap();
            let decided = refund().check(&capability, &given).unwrap();
            let recorded = decided.recorded(&capability, "spiffe://t/agent/a", &MacKey::new(&Sensitive::new([7; 32])));
            prop_assert!(recorded.are_those_of(decided.granted()));
            let replayed = refund().check(&capability, &recorded.given()).unwrap();
            let account = "account".parse().unwrap();
            let shown = decided.granted().iter().filter(|(name, _)| **name != account);
            prop_assert!(shown.eq(replayed.granted().iter()));
            prop_assert!(replayed.facts().hidden.contains(&account));
        }
    }

    #[test]
    fn loosened_and_newly_required_parameters_are_found() {
        let names = |found: Vec<&ParameterName>| found.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (before, none) = (refund(), CapabilityParameters::default());
        assert_eq!(names(none.loosened(&before).collect()), ["account", "amount", "note"]);
        assert_eq!(names(before.loosened(&none).collect()), [""; 0], "a new parameter restricts");
        assert_eq!(names(before.newly_required(&none).collect()), ["account", "amount"]);
        assert_eq!(names(before.newly_required(&before).collect()), [""; 0]);
    }
}
