//! Policies, environments and groups of approvers: rules in Cedar, their slices, and the verdict on a request.
//!
//! The only room that names Cedar. State is changed by [`Effect`]s alone. A policy restricts what roles grant: this room
//! says which policies match a request and with which effect, and `policy` decides.

mod annotations;
mod approver_group;
mod closed_values;
mod compare;
mod declaration;
mod declared;
mod described;
mod facts;
mod fault;
mod head_match;
pub mod keys;
mod model;
mod nesting;
mod parameters;
#[cfg(test)]
mod property_tests;
mod rule;
mod slices;
mod state;
mod tested_parameters;
mod tested_sensitivity;
#[cfg(test)]
mod tests;
mod trace;
mod verdict;

pub use approver_group::{ApproverGroup, Escalation, GroupsChange};
pub use declaration::{DeclaredRules, TABLES, parse, table_schemas};
pub use declared::{Environment, Policy};
pub use described::HeadDescription;
pub use facts::{Action, AgentFacts, CapabilityFacts, Facts};
pub use fault::RuleFault;
pub use head_match::HeadPart;
pub use model::SCHEMA;
pub use parameters::{ParameterValidators, ParameterView};
pub use rule::{NamedEntity, Rule};
pub use state::{Effect, Rules, RulesChange};
pub use trace::{TraceResult, TracedPolicy};
pub use verdict::{MatchedPolicy, MatchedRules, PolicyOutcome, Verdict, rules_hash};
