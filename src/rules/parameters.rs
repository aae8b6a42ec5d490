//! The parameters of requests that rules test. A rule is checked against those that the capabilities it concerns declare.

use std::collections::BTreeMap;
use std::fmt;

use cedar_policy::{Schema, Validator};

use super::fault::{RuleFault, validator_faults};
use super::model::SCHEMA;
use super::rule::Rule;
use crate::base::{CapabilityName, ParameterName, ParameterType, near_texts};

/// The parameters of the capabilities that a policy concerns, by name.
#[derive(Clone, Debug, Default)]
pub struct ParameterView(BTreeMap<ParameterName, SeenParameter>);

/// A parameter with the capability that declares it first.
#[derive(Clone, Debug)]
struct SeenParameter {
    kind: ParameterType,
    capability: CapabilityName,
    /// A capability that declares it with another type.
    differs: Option<(CapabilityName, ParameterType)>,
}

impl ParameterView {
    /// Adds a parameter of `capability`.
    pub fn add(&mut self, capability: &CapabilityName, name: &ParameterName, kind: ParameterType) {
        let new = || SeenParameter { kind, capability: capability.clone(), differs: None };
        let seen = self.0.entry(name.clone()).or_insert_with(new);
        if seen.kind != kind && seen.differs.is_none() {
            seen.differs = Some((capability.clone(), kind));
        }
    }

    fn get(&self, name: &str) -> Option<&SeenParameter> {
        self.0.get(&name.parse::<ParameterName>().ok()?)
    }

    /// The fault if a rule cannot test `name`.
    fn fault(&self, name: &str) -> Option<String> {
        let Some(seen) = self.get(name) else {
            let near = near_texts(name, self.0.keys().map(ParameterName::as_str));
            let near = match near.first() {
                Some(near) => format!("did you mean `{near}`?"),
                None => "declare it in `parameters` of a capability, or correct the rule".to_owned(),
            };
            let name = name.escape_debug();
            return Some(format!(
                "the rule tests the parameter `{name}`, which no capability that the policy concerns has: {near}"
            ));
        };
        let (other, kind) = seen.differs.as_ref()?;
        let SeenParameter { kind: first, capability, .. } = seen;
        Some(format!(
            "the rule tests the parameter `{name}`, which is of the type {first} for capability `{capability}` and {kind} for \
             capability `{other}`: name the capability in the head of the rule, or declare the same type"
        ))
    }
}

/// The validators of rules that test parameters, by the types of these. Each one is made once.
#[derive(Default)]
pub struct ParameterValidators(BTreeMap<BTreeMap<String, ParameterType>, Option<Validator>>);

impl fmt::Debug for ParameterValidators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl ParameterValidators {
    /// What is wrong with `rule`, if it tests parameters, for a policy that sees those of `view`.
    pub fn faults(&mut self, rule: &Rule, view: &ParameterView) -> Vec<RuleFault> {
        let Some(tested) = rule.parameters() else { return Vec::new() };
        let faults: Vec<_> =
            tested.iter().filter_map(|name| view.fault(name)).map(RuleFault::whole).collect();
        if !faults.is_empty() {
            return faults;
        }
        let types: BTreeMap<String, ParameterType> =
            tested.iter().filter_map(|name| Some((name.clone(), view.get(name)?.kind))).collect();
        let validator = self.0.entry(types).or_insert_with_key(validator);
        match (validator, rule.statements()) {
            (Some(validator), Some(set)) => validator_faults(validator, set),
            (None, _) => {
                vec![RuleFault::whole("the broker cannot check rules: report this fault of the broker")]
            }
            // This version cannot read the rule, which denies every request.
            (Some(_), None) => Vec::new(),
        }
    }
}

/// The line of the schema that has the parameters.
const NO_PARAMETERS: &str = "type Parameters = {};";

fn validator(types: &BTreeMap<String, ParameterType>) -> Option<Validator> {
    let field = |(name, kind): (&String, &ParameterType)| format!("{name}?: {}", cedar_type(*kind));
    let fields: Vec<String> = types.iter().map(field).collect();
    let text = SCHEMA.replace(NO_PARAMETERS, &format!("type Parameters = {{ {} }};", fields.join(", ")));
    Schema::from_cedarschema_str(&text).ok().map(|(schema, _)| Validator::new(schema))
}

const fn cedar_type(kind: ParameterType) -> &'static str {
    match kind {
        ParameterType::Integer => "Long",
        ParameterType::Text => "String",
        ParameterType::Boolean => "Bool",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn rule(condition: &str) -> Rule {
        let text = format!("forbid (principal, action, resource) when {{ {condition} }};");
        Rule::declared(&text).unwrap_or_else(|faults| panic!("{text}: {faults:?}"))
    }

    fn view(parameters: &[(&str, &str, ParameterType)]) -> ParameterView {
        let mut view = ParameterView::default();
        for (capability, name, kind) in parameters {
            view.add(&capability.parse().unwrap(), &name.parse().unwrap(), *kind);
        }
        view
    }

    fn seen() -> ParameterView {
        view(&[
            ("payments.refund", "amount", ParameterType::Integer),
            ("payments.refund", "currency", ParameterType::Text),
            ("payments.refund", "dry_run", ParameterType::Boolean),
        ])
    }

    fn fault(condition: &str, view: &ParameterView) -> Option<String> {
        let faults = ParameterValidators::default().faults(&rule(condition), view);
        faults.first().map(|fault| fault.message.clone())
    }

    #[test]
    fn the_schema_has_the_line_of_parameters() {
        assert_eq!(SCHEMA.matches(NO_PARAMETERS).count(), 1);
    }

    #[test]
    fn a_rule_knows_the_parameters_that_it_tests() {
        for (condition, tested) in [
            ("context has source", None),
            ("context.parameters has amount", Some(vec!["amount"])),
            ("context.parameters has amount && context.parameters.amount > 1", Some(vec!["amount"])),
            ("context[\"parameters\"] has \"amo\\u{75}nt\"", Some(vec!["amount"])),
            (
                "context.parameters has amount || context.parameters has dry_run",
                Some(vec!["amount", "dry_run"]),
            ),
            ("context has parameters", Some(vec![])),
        ] {
            let tested = tested.map(|names| names.into_iter().map(str::to_owned).collect::<BTreeSet<_>>());
            assert_eq!(rule(condition).parameters().cloned(), tested, "{condition}");
        }
    }

    #[test]
    fn a_rule_that_gives_the_parameters_another_name_is_refused() {
        for condition in [
            "context.parameters == context.parameters",
            "(if true then context else context).parameters has amount",
            "(if context has source then context.parameters else context.parameters) has amount",
            "[context].contains(context)",
            "{ a: context }.a.parameters has amount",
            "{ has: context.parameters }.has has amount",
            "{ \".\": context }[\".\"].parameters has amount",
        ] {
            let text = format!("forbid (principal, action, resource) when {{ {condition} }};");
            let faults = Rule::declared(&text).expect_err(condition);
            let says =
                |fault: &RuleFault| fault.message.contains("as a whole") || fault.message.contains("Cedar");
            assert!(faults.iter().any(says), "{condition}: {faults:?}");
        }
        rule("context[\"parameters\"][\"amount\"] == 1 || context.time.hour == 1");
    }

    #[test]
    fn a_rule_is_checked_against_the_types_of_parameters() {
        let amount = "context.parameters has amount && context.parameters.amount";
        for (condition, says) in [
            (format!("{amount} > 100"), None),
            ("context.parameters has currency && context.parameters.currency == \"EUR\"".to_owned(), None),
            ("context.parameters has dry_run && !context.parameters.dry_run".to_owned(), None),
            ("context has source".to_owned(), None),
            (format!("{amount} == \"100\""), Some("same type")),
            ("context.parameters.amount > 100".to_owned(), Some("test it first")),
            ("context.parameters has amonut".to_owned(), Some("did you mean `amount`?")),
            ("context.parameters has recipient".to_owned(), Some("no capability that the policy concerns")),
        ] {
            let fault = fault(&condition, &seen());
            assert_eq!(fault.is_some(), says.is_some(), "{condition}: {fault:?}");
            assert!(says.is_none_or(|says| fault.as_ref().unwrap().contains(says)), "{condition}: {fault:?}");
        }
    }

    #[test]
    fn a_name_with_several_types_cannot_be_tested() {
        let mut both = seen();
        both.add(&"web.scale".parse().unwrap(), &"amount".parse().unwrap(), ParameterType::Text);
        let message = fault("context.parameters has amount", &both).unwrap();
        assert!(message.contains("`payments.refund`") && message.contains("`web.scale`"), "{message}");
        assert_eq!(fault("context.parameters has currency", &both), None);
    }
}
