use serde::Serialize;

use crate::base::{
    AgentName, CapabilityName, DecisionId, InstanceId, OperatorName, OwnerName, Person, RequestFacts,
    SecretId, SecretName, Sensitivity, TokenId,
};
use crate::crypto::HexText;
use crate::ledger::Kind;
use crate::store::Event;

/// A new value of a secret was stored.
#[derive(Debug, Serialize)]
pub struct SecretStored<'a> {
    /// The operator.
    pub operator: &'a OperatorName,
    /// The secret's name.
    pub secret: &'a SecretName,
    /// Its id.
    pub secret_id: SecretId,
    /// The new version.
    pub version: u32,
    /// The new owner, if it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<&'a OwnerName>,
    /// The new sensitivity, if it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<Sensitivity>,
    /// The former versions that it destroys, because more than enough are kept.
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    pub destroyed: &'a [u32],
}

impl Event for SecretStored<'_> {
    const KIND: Kind = Kind(0x0301);
    const NAME: &'static str = "secret.stored";
}

/// The broker is about to deliver the value of a secret to an agent.
#[derive(Debug, Serialize)]
pub struct SecretRevealed<'a> {
    /// The agent.
    pub agent: &'a AgentName,
    /// The instance.
    pub instance: InstanceId,
    /// On which token.
    pub token: TokenId,
    /// Under which capability.
    pub capability: &'a CapabilityName,
    /// The secret's name.
    pub secret: &'a SecretName,
    /// The sensitivity.
    pub sensitivity: Sensitivity,
    /// The version that leaves.
    pub version: u32,
    /// The decision that allowed it.
    pub decision: DecisionId,
    /// The policy snapshot it was decided on, in hex.
    pub snapshot: HexText,
    /// The rules that determined it.
    pub rules: &'a [String],
    /// The keyed digest of the request, in hex.
    pub request: HexText,
    /// What a replay of the decision needs beside these fields.
    pub facts: RequestFacts<'a>,
}

impl Event for SecretRevealed<'_> {
    const KIND: Kind = Kind(0x0302);
    const NAME: &'static str = "secret.revealed";
}

/// An operator changed the state of a version of a secret.
#[derive(Debug, Serialize)]
pub struct VersionChanged<'a> {
    /// The actor: an operator's name, or `host uid N`.
    pub operator: &'a str,
    /// The secret's name.
    pub secret: &'a SecretName,
    /// The version.
    pub version: u32,
    /// `rolled-back` or `destroyed`.
    pub what: &'static str,
}

impl Event for VersionChanged<'_> {
    const KIND: Kind = Kind(0x0303);
    const NAME: &'static str = "secret.version-changed";
}

/// A new generation of the value key wraps values from here on.
#[derive(Debug, Serialize)]
pub struct ValueKeyRotated<'a> {
    /// The actor; absent for a scheduled rotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<&'a OperatorName>,
    /// The generation.
    pub generation: u32,
}

impl Event for ValueKeyRotated<'_> {
    const KIND: Kind = Kind(0x0304);
    const NAME: &'static str = "value-key.rotated";
}

/// Versions of secrets were wrapped again with the newest value key.
#[derive(Debug, Serialize)]
pub struct VersionsRewrapped {
    /// The number.
    pub versions: usize,
}

impl Event for VersionsRewrapped {
    const KIND: Kind = Kind(0x0305);
    const NAME: &'static str = "value-key.carried-over";
}

/// Older generations of the value key were removed from the keyring.
#[derive(Debug, Serialize)]
pub struct ValueKeyShed {
    /// Which.
    pub generations: Vec<u32>,
}

impl Event for ValueKeyShed {
    const KIND: Kind = Kind(0x0306);
    const NAME: &'static str = "value-key.shed";
}

/// An operator raised the sensitivity of a secret.
#[derive(Debug, Serialize)]
pub struct SensitivityRaised<'a> {
    /// The operator.
    pub operator: &'a OperatorName,
    /// The secret's name.
    pub secret: &'a SecretName,
    /// The former sensitivity.
    pub from: Sensitivity,
    /// The new sensitivity.
    pub to: Sensitivity,
    /// The capabilities that no longer deliver it, because they have another owner.
    pub cut_off: &'a [CapabilityName],
}

impl Event for SensitivityRaised<'_> {
    const KIND: Kind = Kind(0x0307);
    const NAME: &'static str = "secret.sensitivity-raised";
}

/// An operator lowered the sensitivity of a secret.
#[derive(Debug, Serialize)]
pub struct SensitivityLowered<'a> {
    /// The operator.
    pub operator: &'a OperatorName,
    /// The secret's name.
    pub secret: &'a SecretName,
    /// The former sensitivity.
    pub from: Sensitivity,
    /// The new sensitivity.
    pub to: Sensitivity,
    /// The approval of a second operator, if the broker demanded one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved: Option<ApprovedSensitivity>,
}

/// The approval of a lower sensitivity by a second operator. With the secret and the new sensitivity of the entry, it has all
/// that verifies the signature (`wire::SensitivityBallot`) again.
#[derive(Clone, Debug, Serialize)]
pub struct ApprovedSensitivity {
    /// The operator that approved.
    pub operator: OperatorName,
    /// The person who it is.
    pub person: Person,
    /// The fingerprint of its approval key: SHA-256 of `public_key`, in hex.
    pub approval_key: String,
    /// The approval key: DER `SubjectPublicKeyInfo` in base64url.
    pub public_key: String,
    /// The entry that accepted the approval key.
    pub key_seq: u64,
    /// The entry that had set the sensitivity before.
    pub classified_seq: u64,
    /// The end of the approval.
    pub expires_at: String,
    /// The signature, base64url.
    pub signature: String,
}

impl Event for SensitivityLowered<'_> {
    const KIND: Kind = Kind(0x0308);
    const NAME: &'static str = "secret.sensitivity-lowered";
}

/// A secret was deleted, and all its versions were destroyed.
#[derive(Debug, Serialize)]
pub struct SecretDeleted<'a> {
    /// The operator.
    pub operator: &'a OperatorName,
    /// The secret's name.
    pub secret: &'a SecretName,
    /// Its id.
    pub secret_id: SecretId,
    /// The versions.
    pub versions: &'a [u32],
}

impl Event for SecretDeleted<'_> {
    const KIND: Kind = Kind(0x0340);
    const NAME: &'static str = "secret.deleted";
}
