use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, Optional, endpoints};
use super::object::{object, objects};
use super::plan_approvals::{PlanApprovalBody, PlanToApproveAnswer, RollbackBody};
use super::rotations::{FindingAnswer, UpstreamCheckAnswer};
use super::status::FixedText;
use crate::base::limits::DECLARATION_BYTES_MAX;
use crate::base::{AgentName, CapabilityName, EnvironmentName, OwnerName, SecretName};

endpoints! {
    /// Show the changes that declarations would make
    PLAN_DECLARATIONS: POST "/v1/plan", Nothing, DeclareBody => AppliedAnswer, up to DECLARATION_BYTES_MAX;
    /// Apply declarations
    APPLY_DECLARATIONS: POST "/v1/apply", Nothing, ApplyBody => AppliedAnswer, up to DECLARATION_BYTES_MAX;
    /// Export declarations of what the broker has
    EXPORT_DECLARATIONS: POST "/v1/export", Nothing, Optional<ExportBody> => ExportAnswer;
    /// Check the upstream of a rotation before it is applied; nothing is changed
    CHECK_PLANNED_ROTATION: POST "/v1/plan-checks/{*name}", SecretName, DeclareBody => UpstreamCheckAnswer, up to DECLARATION_BYTES_MAX;
    /// Check the upstream of a lease before it is applied; nothing is changed
    CHECK_PLANNED_LEASE: POST "/v1/lease-plan-checks/{name}", CapabilityName, DeclareBody => LeaseCheckAnswer, up to DECLARATION_BYTES_MAX;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeclareBody {
    #[serde(deserialize_with = "objects")]
    pub files: Vec<DeclarationFileBody>,
    #[serde(default)]
    pub prune: bool,
    /// The earlier version that the files bring back: the approval of the plan by a second operator is one of it.
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackBody>,
}

/// A [`DeclareBody`] that changes the declarations.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyBody {
    #[serde(deserialize_with = "objects")]
    pub files: Vec<DeclarationFileBody>,
    #[serde(default)]
    pub prune: bool,
    /// The id of a plan of these files: the broker makes exactly its changes, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Confirms that the changes give more access than before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub widen: bool,
    /// The approval of the plan by a second operator.
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    pub approval: Option<PlanApprovalBody>,
    /// The earlier version that the files bring back: the broker checks that they do, and records it.
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackBody>,
}

impl ApplyBody {
    /// The body that applies these declarations without further options.
    #[must_use]
    pub fn of(DeclareBody { files, prune, rollback }: DeclareBody) -> Self {
        Self { files, prune, plan: None, widen: false, approval: None, rollback }
    }
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeclarationFileBody {
    pub name: String,
    pub text: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct AppliedAnswer {
    pub changes: Vec<PlannedChange>,
    pub applied: bool,
    pub seq: Option<u64>,
    /// False if the ledger did not record the changes in time: removals are in force in memory, additions are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable: Option<bool>,
    /// Whether the runtime directory stores the removals until the ledger has recorded them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// The id of a plan; absent from the response to an apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// What agents lose by a plan; absent if they lose nothing, and from the response to an apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub losses: Option<LossesAnswer>,
    /// What a plan makes newly reachable; absent if that is nothing, and from the response to an apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub widening: Option<WideningAnswer>,
    /// What a second operator signs to approve a plan; absent if this broker demands no second operator for it, and from the
    /// response to an apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_approve: Option<PlanToApproveAnswer>,
    /// Owners that no object and no operator had before: their names may be misspelt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_owners: Vec<NewOwnerAnswer>,
    /// Rotations and leases of the files that a plan does not change; absent from the response to an apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unchanged: Vec<UnchangedObject>,
}

/// A declared object that a plan does not change.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct UnchangedObject {
    // Text, so that a client reads a kind of a newer broker.
    #[schemars(with = "DeclaredKind")]
    pub kind: FixedText,
    pub name: String,
}

/// An owner that is named for the first time.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct NewOwnerAnswer {
    pub name: OwnerName,
    /// Owners with similar names.
    pub near: Vec<OwnerName>,
}

impl AppliedAnswer {
    /// Changes that are not made.
    #[must_use]
    pub const fn unapplied(changes: Vec<PlannedChange>) -> Self {
        Self {
            changes,
            applied: false,
            seq: None,
            durable: None,
            kept: false,
            plan: None,
            losses: None,
            widening: None,
            to_approve: None,
            new_owners: Vec::new(),
            unchanged: Vec::new(),
        }
    }
}

/// What a plan makes newly reachable. To apply it, the request has to confirm this (`widen`).
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct WideningAnswer {
    /// Within the operator's scope, by agent and capability; at most 500.
    pub items: Vec<WidenedAnswer>,
    /// The number of further ones within the scope.
    pub further: usize,
    /// The number of those outside of the operator's scope.
    pub others: usize,
}

/// Requests that become possible, or that are restricted less.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct WidenedAnswer {
    /// The agent; absent for all agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// The capability; absent for a policy that restricts less and concerns no request of a present agent, and for a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<CapabilityName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// `granted`, `policy-removed`, `policy-changed` (the new rule is less strict, or cannot be compared), `facts-changed`
    /// (facts that policies test), `longer-life`, `delivered-otherwise`, `parameter-loosened` (it ends, or allows more),
    /// `rotation-redirected` (the rotation of a secret has another upstream) or `secret-sent` (a new rotation or lease sends its
    /// `admin_secret`, of the sensitivity `high`, to its upstream).
    pub cause: FixedText,
    /// The policy, the facts, the parameter or the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
}

/// What agents and resource servers lose when a plan is applied.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct LossesAnswer {
    /// The agents and resource servers within the operator's scope, by name; at most 500, or fewer if they lose
    /// more than 20 000 capabilities and secrets together.
    pub items: Vec<LossAnswer>,
    /// The number of agents and resource servers within the operator's scope that lose something.
    pub agents: usize,
    /// The number of those outside of the operator's scope.
    pub other_agents: usize,
    /// The sums over the agents within the scope.
    pub live: LiveCounts,
    /// False if the broker did not read all ledger entries of the longest life of a token: then there may be more tokens.
    pub tokens_complete: bool,
}

/// What one agent or resource server loses.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct LossAnswer {
    pub agent: AgentName,
    /// Whether the plan removes it.
    pub removed: bool,
    /// Capabilities that it does not have any more.
    pub capabilities: Vec<CapabilityName>,
    /// Capabilities that it keeps, but that are delivered in another way: present tokens and leases end.
    pub redelivered: Vec<CapabilityName>,
    /// Secrets that it cannot read any more.
    pub secrets: Vec<SecretName>,
    /// The number of capabilities outside of the operator's scope that it loses, or keeps delivered in another way.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub other_capabilities: usize,
    /// The number of secrets outside of the operator's scope that it cannot read any more.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub other_secrets: usize,
    pub live: LiveCounts,
}

// A reference, because serde passes one.
pub(super) const fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Credentials that are valid now.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct LiveCounts {
    /// Instances with a valid certificate.
    pub instances: usize,
    /// Tokens that have not expired and stop working for the lost capabilities.
    pub tokens: usize,
    /// Leases that the broker will revoke.
    pub leases: usize,
}

/// A check of the upstream of a lease.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct LeaseCheckAnswer {
    pub capability: CapabilityName,
    pub upstream: String,
    /// Whether all checks passed.
    pub ok: bool,
    pub findings: Vec<FindingAnswer>,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ExportBody {
    /// Only objects of these kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<DeclaredKind>,
    /// Only objects of this owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ExportAnswer {
    /// A declaration file, TOML.
    pub text: String,
    /// The number of objects in it.
    pub objects: usize,
    /// The number of objects that name an object outside of the operator's scope, so that the operator cannot declare them.
    pub left_out: usize,
}

/// A planned change.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct PlannedChange {
    // Text, so that a client reads an action of a newer broker.
    #[schemars(with = "PlannedAction")]
    pub action: FixedText,
    // Likewise.
    #[schemars(with = "DeclaredKind")]
    pub kind: FixedText,
    pub name: String,
    /// The changed fields of an update.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// The values that change in an update, and those of a new object; no secret values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ChangedValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

impl PlannedChange {
    #[must_use]
    pub fn new(action: PlannedAction, kind: DeclaredKind, name: impl Into<String>) -> Self {
        Self {
            action: action.as_str().into(),
            kind: kind.as_str().into(),
            name: name.into(),
            fields: Vec::new(),
            values: Vec::new(),
            remark: None,
        }
    }
}

/// A value that changes. A value that is not shown has only the name of its field.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ChangedValue {
    /// The field, e.g. `roles` or `upstream.host`.
    pub field: String,
    /// The present value; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The new value; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The new items of a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// The items that a list loses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
}

impl ChangedValue {
    /// A field whose values are not shown.
    #[must_use]
    pub fn hidden(field: impl Into<String>) -> Self {
        Self { field: field.into(), from: None, to: None, added: Vec::new(), removed: Vec::new() }
    }

    /// A field with one value; `None` if it does not change.
    #[must_use]
    pub fn single<T: PartialEq + ToString>(
        field: impl Into<String>,
        from: Option<T>,
        to: Option<T>,
    ) -> Option<Self> {
        let text = |value: Option<T>| value.map(|value| value.to_string());
        (from != to).then(|| Self { from: text(from), to: text(to), ..Self::hidden(field) })
    }

    /// A field with a list whose order does not matter; `None` if it does not change.
    #[must_use]
    pub fn list<T: Ord + ToString>(
        field: impl Into<String>,
        from: &BTreeSet<T>,
        to: &BTreeSet<T>,
    ) -> Option<Self> {
        let texts = |items: &BTreeSet<T>, others| items.difference(others).map(ToString::to_string).collect();
        (from != to).then(|| Self { added: texts(to, from), removed: texts(from, to), ..Self::hidden(field) })
    }
}

#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq)]
#[schemars(rename_all = "lowercase")]
pub enum PlannedAction {
    Create,
    Update,
    Remove,
}

impl PlannedAction {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Remove => "remove",
        }
    }
}

/// Kinds of declared objects.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeclaredKind {
    Capability,
    Role,
    Agent,
    ResourceServer,
    Rotation,
    Lease,
    Environment,
    Policy,
    ApproverGroup,
}

impl DeclaredKind {
    pub const ALL: [Self; 9] = [
        Self::Capability,
        Self::Role,
        Self::Agent,
        Self::ResourceServer,
        Self::Rotation,
        Self::Lease,
        Self::Environment,
        Self::Policy,
        Self::ApproverGroup,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Capability => "capability",
            Self::Role => "role",
            Self::Agent => "agent",
            Self::ResourceServer => "resource-server",
            Self::Rotation => "rotation",
            Self::Lease => "lease",
            Self::Environment => "environment",
            Self::Policy => "policy",
            Self::ApproverGroup => "approver-group",
        }
    }
}
