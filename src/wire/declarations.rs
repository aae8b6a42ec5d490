use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, endpoints};
use super::object::objects;
use super::rotations::UpstreamCheckAnswer;
use super::status::FixedText;
use crate::base::SecretName;
use crate::base::limits::DECLARATION_BYTES_MAX;

endpoints! {
    /// Show the changes that declarations would make
    PLAN_DECLARATIONS: POST "/v1/plan", Nothing, DeclareBody => AppliedAnswer, up to DECLARATION_BYTES_MAX;
    /// Apply declarations
    APPLY_DECLARATIONS: POST "/v1/apply", Nothing, DeclareBody => AppliedAnswer, up to DECLARATION_BYTES_MAX;
    /// Check the upstream of a rotation before it is applied; nothing is changed
    CHECK_PLANNED_ROTATION: POST "/v1/plan-checks/{*name}", SecretName, DeclareBody => UpstreamCheckAnswer, up to DECLARATION_BYTES_MAX;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeclareBody {
    #[serde(deserialize_with = "objects")]
    pub files: Vec<DeclarationFileBody>,
    #[serde(default)]
    pub prune: bool,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
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
#[derive(Clone, Copy, Debug, Eq, JsonSchema, PartialEq)]
#[schemars(rename_all = "kebab-case")]
pub enum DeclaredKind {
    Capability,
    Role,
    Agent,
    ResourceServer,
    Rotation,
    Lease,
}

impl DeclaredKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Capability => "capability",
            Self::Role => "role",
            Self::Agent => "agent",
            Self::ResourceServer => "resource-server",
            Self::Rotation => "rotation",
            Self::Lease => "lease",
        }
    }
}
