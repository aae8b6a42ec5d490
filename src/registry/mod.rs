//! Agents, their instances and enrolment codes, and the capabilities and roles that were declared.
//!
//! State is changed by [`Effect`]s alone. This room never decides whether something is allowed and
//! never signs anything; it knows keys and certificates only by digest and serial.

mod agent;
mod agent_spec;
mod agents;
mod declaration;
mod declared;
mod effect;
mod ended_ties;
mod enrolment_code;
mod enrolment_codes;
mod events;
mod former_names;
mod key_uses;
pub mod keys;
mod narrowing;
mod owners;
mod parameter_declaration;
mod parameter_rule;
mod parameters;
mod plan;
mod plan_context;
mod reduced;
mod removals;
mod state;
mod ties;

pub use agent::{
    Agent, AgentKind, CertificateSlot, Instance, InstanceCertificate, InstanceState, Instances,
    SignedAgentCertificate,
};
pub use agent_spec::AgentSpec;
pub use declaration::{Declaration, TABLES, parse, table_schemas};
pub use declared::{Access, Capability, Declarations, Delivery, Role};
pub use effect::Effect;
pub use enrolment_code::AgentCode;
pub use events::{
    AgentDeleted, AgentInvited, ApprovedPlanText, CertificatePromoted, CertificateRecorded,
    CertificateRetried, CodeRefused, CodeReused, CodeRevoked, DeclarationsApplied, DeclarationsNarrowed,
    InstanceEnrolled, InstanceRenewed, LateRenewal, RemovedPairs, RollbackText,
};
pub use former_names::{DeletedName, FormerNames, NameRefusal};
pub use narrowing::Narrowing;
pub use owners::{Owned, Owners};
pub use parameter_rule::{ParameterKind, ParameterRule};
pub use parameters::{CapabilityParameters, CheckedParameters, ParameterFault, parameter_digest};
pub use plan::{Action, ChangedValue, Noun, Plan, PlannedChange, PlannedMoves, PlannedTies, draw};
pub(crate) use plan_context::absent_secret;
pub use plan_context::{ForeignNames, PlanContext, SecretFacts, Undeclared};
pub use removals::Removals;
pub use state::{CERTIFICATES, RENEWED_CERTIFICATES, Registry};
