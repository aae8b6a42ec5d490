use std::collections::BTreeMap;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use toml::Spanned;

use super::declared::{Environment, Policy};
use super::rule::Rule;
use crate::base::{EnvironmentName, OwnerName, PolicyName, Scope};
use crate::config::{FaultList, Faults, SourcePosition, Tables};

/// The policies and environments that a set of files declares, each with its place.
#[derive(Debug, Default)]
pub struct DeclaredRules {
    /// Policies.
    pub policies: BTreeMap<PolicyName, (Policy, SourcePosition)>,
    /// Environments.
    pub environments: BTreeMap<EnvironmentName, (Environment, SourcePosition)>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    /// The name.
    #[schemars(with = "PolicyName")]
    name: Spanned<String>,
    /// One Cedar statement: `forbid (…) when { … };`.
    #[schemars(with = "String", length(min = 1, max = 8192))]
    rule: Spanned<String>,
    /// The owner. The policy of an owner concerns only the capabilities of this owner.
    #[schemars(with = "Option<OwnerName>")]
    owner: Option<Spanned<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawEnvironment {
    /// The name.
    #[schemars(with = "EnvironmentName")]
    name: Spanned<String>,
    /// The owner.
    #[schemars(with = "Option<OwnerName>")]
    owner: Option<Spanned<String>>,
}

/// The tables of declaration files that this room reads.
pub const TABLES: &[&str] = &["environment", "policy"];

/// Reads the room's `tables` for an operator of this `scope`: what names no owner belongs to the owner of the scope.
///
/// # Errors
/// The faults that were found. The plan checks whether the objects that a rule names exist.
pub fn parse(tables: &mut Tables<'_>, scope: &Scope) -> Result<DeclaredRules, FaultList> {
    let mut reader = Reader { scope, declared: DeclaredRules::default(), faults: tables.faults() };
    for (place, raw) in tables.take("environment", &mut reader.faults) {
        reader.environment(place, &raw);
    }
    for (place, raw) in tables.take("policy", &mut reader.faults) {
        reader.policy(place, &raw);
    }
    reader.faults.or(reader.declared)
}

/// The schemas of the tables that this room reads, by name.
pub fn table_schemas(generator: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
    vec![
        ("environment", RawEnvironment::json_schema(generator)),
        ("policy", RawPolicy::json_schema(generator)),
    ]
}

struct Reader<'a> {
    scope: &'a Scope,
    declared: DeclaredRules,
    faults: Faults<'a>,
}

impl Reader<'_> {
    fn environment(&mut self, place: SourcePosition, raw: &RawEnvironment) {
        let owner = self.faults.owner(place, raw.owner.as_ref(), self.scope);
        let Some(name) = self.faults.name::<EnvironmentName>(place, &raw.name) else { return };
        let environment = Environment { name: name.clone(), owner };
        if self.declared.environments.insert(name, (environment, place)).is_some() {
            self.faults.tell(place.of(&raw.name), "this environment is declared twice");
        }
    }

    fn policy(&mut self, place: SourcePosition, raw: &RawPolicy) {
        let name = self.faults.name::<PolicyName>(place, &raw.name);
        let owner = self.faults.owner(place, raw.owner.as_ref(), self.scope);
        let rule = match Rule::declared(raw.rule.get_ref()) {
            Ok(rule) => rule,
            Err(faults) => {
                let begin = text_begin(raw.rule.span(), raw.rule.get_ref().len());
                for fault in faults {
                    let offset = fault.offset.and_then(|offset| begin?.checked_add(offset));
                    let place = place.of(&raw.rule);
                    self.faults.tell(
                        SourcePosition { offset: offset.unwrap_or(place.offset), ..place },
                        fault.message,
                    );
                }
                return;
            }
        };
        let Some(name) = name else { return };
        let policy = Policy { name: name.clone(), rule, owner };
        if self.declared.policies.insert(name, (policy, place)).is_some() {
            self.faults.tell(place.of(&raw.name), "this policy is declared twice");
        }
    }
}

/// The offset at which the content of a TOML string of `length` bytes begins; `None` if it has escapes.
fn text_begin(span: Range<usize>, length: usize) -> Option<usize> {
    let begin = match span.len().checked_sub(length)? {
        // Quotes of one line.
        2 => 1,
        // Three quotes; the line break after them is not a part of the content.
        6 => 3,
        7 => 4,
        8 => 5,
        _ => return None,
    };
    span.start.checked_add(begin)
}
