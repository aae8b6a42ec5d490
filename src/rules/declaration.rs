use std::collections::BTreeMap;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use toml::Spanned;

use super::approver_group::{ApproverGroup, Escalation};
use super::declared::{Environment, Policy};
use super::rule::Rule;
use crate::base::limits::{APPROVAL_PENDING_S, APPROVER_GROUP_OPERATORS_MAX};
use crate::base::{ApproverGroupName, EnvironmentName, OperatorName, OwnerName, PolicyName, Scope, length_s};
use crate::config::{FaultList, Faults, SourcePosition, Tables};

/// The policies and environments that a set of files declares, each with its place.
#[derive(Debug, Default)]
pub struct DeclaredRules {
    /// Policies.
    pub policies: BTreeMap<PolicyName, (Policy, SourcePosition)>,
    /// Environments.
    pub environments: BTreeMap<EnvironmentName, (Environment, SourcePosition)>,
    /// Groups of approvers.
    pub groups: BTreeMap<ApproverGroupName, (ApproverGroup, SourcePosition)>,
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

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawApproverGroup {
    /// The name.
    #[schemars(with = "ApproverGroupName")]
    name: Spanned<String>,
    /// The operators that belong to it.
    #[serde(default)]
    #[schemars(with = "Vec<OperatorName>", length(max = 64))]
    operators: Vec<Spanned<String>>,
    /// Every operator that is bound to this owner belongs to it, too.
    #[schemars(with = "Option<OwnerName>")]
    operators_of: Option<Spanned<String>>,
    /// The time after which `escalate_to` can approve, too, e.g. `30m`.
    #[schemars(with = "Option<String>")]
    escalate_after: Option<Spanned<String>>,
    /// A group that can approve after `escalate_after`.
    #[schemars(with = "Option<ApproverGroupName>")]
    escalate_to: Option<Spanned<String>>,
    /// The owner. Only policies of the same owner can name the group; those without an owner can name every group.
    #[schemars(with = "Option<OwnerName>")]
    owner: Option<Spanned<String>>,
}

/// The tables of declaration files that this room reads.
pub const TABLES: &[&str] = &["approver_group", "environment", "policy"];

/// Reads the room's `tables` for an operator of this `scope`: what names no owner belongs to the owner of the scope.
///
/// # Errors
/// The faults that were found. The plan checks whether the objects that a rule names exist.
pub fn parse(tables: &mut Tables<'_>, scope: &Scope) -> Result<DeclaredRules, FaultList> {
    let mut reader = Reader { scope, declared: DeclaredRules::default(), faults: tables.faults() };
    for (place, raw) in tables.take("approver_group", &mut reader.faults) {
        reader.group(place, &raw);
    }
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
        ("approver_group", RawApproverGroup::json_schema(generator)),
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

    fn group(&mut self, place: SourcePosition, raw: &RawApproverGroup) {
        let owner = self.faults.owner(place, raw.owner.as_ref(), self.scope);
        let escalation = self.escalation(place, raw);
        let operators_of = raw.operators_of.as_ref().map(|text| self.faults.name::<OwnerName>(place, text));
        let operators = raw.operators.iter().filter_map(|text| self.faults.name(place, text)).collect();
        if raw.operators.is_empty() && raw.operators_of.is_none() {
            let message = "the group has no approver: name `operators`, or the owner of `operators_of`";
            self.faults.tell(place.of(&raw.name), message);
        }
        if raw.operators.len() > APPROVER_GROUP_OPERATORS_MAX {
            let message =
                format!("the group names more than {APPROVER_GROUP_OPERATORS_MAX} operators: divide it");
            self.faults.tell(place.of(&raw.name), message);
        }
        let Some(name) = self.faults.name::<ApproverGroupName>(place, &raw.name) else { return };
        let operators_of = operators_of.flatten();
        let group = ApproverGroup { name: name.clone(), operators, operators_of, escalation, owner };
        if self.declared.groups.insert(name, (group, place)).is_some() {
            self.faults.tell(place.of(&raw.name), "this group of approvers is declared twice");
        }
    }

    fn escalation(&mut self, place: SourcePosition, raw: &RawApproverGroup) -> Option<Escalation> {
        let (after, to) = match (&raw.escalate_after, &raw.escalate_to) {
            (None, None) => return None,
            (Some(after), Some(to)) => (after, to),
            (Some(one), None) | (None, Some(one)) => {
                let message = "`escalate_after` and `escalate_to` need each other: add the other one";
                self.faults.tell(place.of(one), message);
                return None;
            }
        };
        let longest = u32::try_from(APPROVAL_PENDING_S).unwrap_or(u32::MAX);
        let after_s = length_s(after.get_ref()).filter(|after_s| (60..longest).contains(after_s));
        if after_s.is_none() {
            let message =
                "`escalate_after` is not a length of time of 1 minute to less than 24 hours, e.g. `30m`";
            self.faults.tell(place.of(after), message);
        }
        let to = self.faults.name::<ApproverGroupName>(place, to);
        Some(Escalation { after_s: after_s?, to: to? })
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
