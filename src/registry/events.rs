use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::narrowing::Narrowing;
use super::plan::PlannedChange;
use crate::base::{
    AgentId, AgentName, CapabilityName, CodeId, InstanceId, OperatorName, OwnerName, Person, PolicyName,
    RoleName,
};
use crate::ledger::Kind;
use crate::store::Event;

/// An operator applied declaration files; the entry has each change.
#[derive(Debug, Serialize)]
pub struct DeclarationsApplied<'a> {
    /// The operator.
    pub operator: &'a OperatorName,
    /// The changes, with the values that change, and those of new objects.
    pub changes: &'a [PlannedChange],
    /// The number of changes whose values do not fit into the entry.
    #[serde(skip_serializing_if = "is_zero")]
    pub values_left_out: usize,
    /// SHA-256 of all capabilities, roles and policies from here on, in hex. It covers no agents: an entry can have the
    /// roles of an agent in `changes`.
    pub snapshot: String,
    /// The earlier version that the application brings back, if it is a rollback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackText<'a>>,
    /// The second operator that approved the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved: Option<ApprovedPlanText<'a>>,
}

/// The earlier version that a rollback brings back.
#[derive(Debug, Serialize)]
pub struct RollbackText<'a> {
    /// The policy; absent for all policies, environments and groups of approvers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<&'a PolicyName>,
    /// The hash of the version, in hex.
    pub to: String,
}

/// The approval of a plan by a second operator.
#[derive(Debug, Serialize)]
pub struct ApprovedPlanText<'a> {
    /// The operator.
    pub operator: &'a OperatorName,
    /// The person who the operator is.
    pub person: &'a Person,
    /// The fingerprint of the approval key: SHA-256 of `public_key`, in hex.
    pub approval_key: String,
    /// The approval key: DER `SubjectPublicKeyInfo` in base64url.
    pub public_key: String,
    /// The entry that accepted the approval key.
    pub key_seq: u64,
    /// The digest of the plan, in hex; the id of the plan is its first half.
    pub plan: String,
    /// The entry as of which the plan was made.
    pub seq: u64,
    /// The end of the approval.
    pub expires_at: String,
    /// The digest that the operator signed, in hex.
    pub digest: &'a str,
    /// The signature, base64url.
    pub signature: String,
}

/// An agent was invited: the broker made an enrolment code for it.
#[derive(Debug, Serialize)]
pub struct AgentInvited<'a> {
    /// The inviting operator.
    pub operator: &'a OperatorName,
    /// The agent's name.
    pub agent: &'a AgentName,
    /// Its id.
    pub agent_id: AgentId,
    /// The code's id; the code itself is in no record.
    pub code: CodeId,
    /// The end of its life.
    pub expires_at: String,
    /// The number of keys that can redeem it.
    pub uses: u32,
    /// From where it can be redeemed, when not from anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The roles the agent was created with, when the invitation created it.
    pub created_with: Option<Vec<RoleName>>,
    /// The number of instances that the agent may have, when the invitation created it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_instances: Option<u32>,
    /// The owner of the agent, when the invitation created it for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<&'a OwnerName>,
    /// The person for whom the agent acts, when the invitation created it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<&'a Person>,
}

/// A caller redeemed an enrolment code; the broker is about to sign the certificate of the new instance.
#[derive(Debug, Serialize)]
pub struct InstanceEnrolled<'a> {
    /// The agent's name.
    pub agent: &'a AgentName,
    /// The new instance.
    pub instance: InstanceId,
    /// The code that was redeemed.
    pub code: CodeId,
    /// The certificate's serial, in hex.
    pub serial: String,
    /// SHA-256 of the certificate's public key, in hex.
    pub key: String,
    /// The identity in the certificate.
    pub spiffe_id: String,
    /// When the certificate ends.
    pub not_after: String,
    /// The address of the caller.
    pub peer: String,
}

/// The broker signed the certificate of an instance, and is about to send it.
#[derive(Debug, Serialize)]
pub struct CertificateRecorded<'a> {
    /// The agent's name.
    pub agent: &'a AgentName,
    /// The instance.
    pub instance: InstanceId,
    /// SHA-256 of the certificate, in hex: `x5t#S256` in another spelling.
    pub thumbprint: String,
}

/// The broker is about to sign the certificate of an instance again from its recorded plan, because the first signature
/// never left the broker.
#[derive(Debug, Serialize)]
pub struct CertificateRetried<'a> {
    /// The agent's name.
    pub agent: &'a AgentName,
    /// The instance.
    pub instance: InstanceId,
}

/// Alarm: an enrolment code without a use left was sent with another key, so another person has the code.
#[derive(Debug, Serialize)]
pub struct CodeReused<'a> {
    /// The agent it was for.
    pub agent: &'a AgentName,
    /// The code's id.
    pub code: CodeId,
    /// The instance that redeemed it first.
    pub first_instance: InstanceId,
    /// SHA-256 of the other key, in hex.
    pub other_key: String,
    /// The address of the second caller.
    pub peer: String,
}

/// The broker refused an enrolment code to a caller that had its secret.
#[derive(Debug, Serialize)]
pub struct CodeRefused<'a> {
    /// The agent that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<&'a AgentName>,
    /// The operator that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<&'a OperatorName>,
    /// The code's id.
    pub code: CodeId,
    /// The code of the error in the response.
    pub refusal: &'static str,
    /// The networks of the code, if the caller is outside them: the response does not say so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// The revoked instance that had used the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// The address of the caller.
    pub peer: String,
    /// Earlier refusals of this kind that got no entry of their own.
    pub unrecorded: u64,
}

/// An enrolment code was revoked; instances and operators that enrolled with it stay valid.
#[derive(Debug, Serialize)]
pub struct CodeRevoked<'a> {
    /// The operator's name, or `host uid N`.
    pub by: &'a str,
    /// The code's id.
    pub code: CodeId,
    /// The agent or resource server that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<&'a AgentName>,
    /// The operator that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<&'a OperatorName>,
}

/// An instance asked for its next certificate, which the broker is about to sign.
#[derive(Debug, Serialize)]
pub struct InstanceRenewed<'a> {
    /// The agent's name.
    pub agent: &'a AgentName,
    /// The instance.
    pub instance: InstanceId,
    /// The next certificate's serial, in hex.
    pub serial: String,
    /// SHA-256 of its public key, in hex.
    pub key: String,
    /// When it ends.
    pub not_after: String,
    /// The serial of the certificate that asked, in hex.
    pub previous: String,
    /// The address of the caller.
    pub peer: String,
}

/// Alarm: an instance renewed its certificate after its expiry, within the grace period.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct LateRenewal<'a>(pub InstanceRenewed<'a>);

/// An instance used its renewed certificate for the first time; its previous certificate is invalid from here on.
#[derive(Debug, Serialize)]
pub struct CertificatePromoted<'a> {
    /// The agent's name.
    pub agent: &'a AgentName,
    /// The instance.
    pub instance: InstanceId,
    /// The certificate's serial, in hex.
    pub serial: String,
    /// The serial of the one before, in hex.
    pub previous: String,
}

/// An application of declarations could not be recorded; this entry takes away the rights that the application takes away,
/// and gives none.
#[derive(Debug, Serialize)]
pub struct DeclarationsNarrowed<'a> {
    /// The actor: an operator, or `host uid N` for a pending order.
    pub by: &'a str,
    /// What remains of the objects.
    #[serde(flatten)]
    pub narrowing: &'a Narrowing,
    /// What they lose.
    pub removed: RemovedPairs<'a>,
}

/// What the objects of a [`DeclarationsNarrowed`] lose.
#[derive(Debug, Serialize)]
pub struct RemovedPairs<'a> {
    /// The capabilities that each of these roles loses.
    pub roles: &'a BTreeMap<RoleName, BTreeSet<CapabilityName>>,
    /// The roles that each of these agents loses.
    pub agents: &'a BTreeMap<AgentName, BTreeSet<RoleName>>,
}

/// An agent or a resource server was deleted; its name stays reserved.
#[derive(Debug, Serialize)]
pub struct AgentDeleted<'a> {
    /// The operator.
    pub operator: &'a OperatorName,
    /// The agent's name.
    pub agent: &'a AgentName,
    /// Its id.
    pub agent_id: AgentId,
    /// The number of its instances that were live.
    pub instances: usize,
    /// The number of its leases that the broker revokes.
    pub leases: usize,
}

// A reference, because serde passes one.
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

macro_rules! events {
    ($($event:ty = $kind:literal, $name:literal;)*) => {$(
        impl Event for $event {
            const KIND: Kind = Kind($kind);
            const NAME: &'static str = $name;
        }
    )*};
}

events! {
    DeclarationsApplied<'_> = 0x0101, "declarations.applied";
    AgentInvited<'_> = 0x0102, "agent.invited";
    InstanceEnrolled<'_> = 0x0103, "instance.enrolled";
    CertificateRecorded<'_> = 0x0104, "certificate.recorded";
    CodeReused<'_> = 0x0105, "alarm.enrolment-code-reused";
    CertificateRetried<'_> = 0x0106, "certificate.retried";
    InstanceRenewed<'_> = 0x0107, "instance.renewed";
    LateRenewal<'_> = 0x0108, "alarm.late-renewal";
    CertificatePromoted<'_> = 0x0109, "certificate.promoted";
    DeclarationsNarrowed<'_> = 0x010a, "declarations.narrowed";
    CodeRefused<'_> = 0x010b, "enrolment.refused";
    CodeRevoked<'_> = 0x010c, "enrolment-code.revoked";
    AgentDeleted<'_> = 0x0140, "agent.deleted";
}
