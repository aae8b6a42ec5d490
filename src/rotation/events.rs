use serde::Serialize;

use crate::base::{OperatorName, RotationId, SecretName};
use crate::ledger::Kind;
use crate::store::Event;

/// A rotation of a secret began.
#[derive(Debug, Serialize)]
pub struct RotationBegun<'a> {
    /// Of this secret.
    pub secret: &'a SecretName,
    /// The rotation.
    pub rotation: RotationId,
    /// `schedule`, `operator` or `drift`.
    pub trigger: &'static str,
    /// Which operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<&'a OperatorName>,
    /// Whether the previous version is revoked as soon as the new one is the current one, without its grace period.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub revokes_previous: bool,
}

impl Event for RotationBegun<'_> {
    const KIND: Kind = Kind(0x0701);
    const NAME: &'static str = "rotation.begun";
}

/// The new value of a rotation is stored; the upstream does not have it yet.
#[derive(Debug, Serialize)]
pub struct RotationPrepared<'a> {
    /// Of this secret.
    pub secret: &'a SecretName,
    /// The rotation.
    pub rotation: RotationId,
    /// The version that holds the new value.
    pub version: u32,
}

impl Event for RotationPrepared<'_> {
    const KIND: Kind = Kind(0x0702);
    const NAME: &'static str = "rotation.prepared";
}

/// The broker is about to call the upstream for a step of a rotation; another entry has the result.
#[derive(Debug, Serialize)]
pub struct RotationAttempted<'a> {
    /// Of this secret.
    pub secret: &'a SecretName,
    /// The rotation; none when the current value is looked after between two of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationId>,
    /// What for: `prepare`, `apply`, `verify`, `retire` or `check`.
    pub step: &'static str,
    /// The versions whose values are opened for it.
    pub versions: Vec<u32>,
    /// The secret that administers upstream, when its value is opened too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub administering: Option<&'a SecretName>,
    /// The operator who asked for it, outside of a rotation's own steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<&'a OperatorName>,
}

impl Event for RotationAttempted<'_> {
    const KIND: Kind = Kind(0x0703);
    const NAME: &'static str = "rotation.attempted";
}

/// A step of a rotation succeeded; the entry has the stage that the rotation reached.
#[derive(Debug, Serialize)]
pub struct RotationAdvanced<'a> {
    /// Of this secret.
    pub secret: &'a SecretName,
    /// The rotation.
    pub rotation: RotationId,
    /// `applied`, `verified` or `grace`.
    pub stage: &'static str,
    /// The version that it brings.
    pub version: u32,
    /// The former versions that are destroyed with it, because more than enough are kept.
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    pub destroyed: &'a [u32],
}

impl Event for RotationAdvanced<'_> {
    const KIND: Kind = Kind(0x0704);
    const NAME: &'static str = "rotation.advanced";
}

/// A step of a rotation failed. Never says what upstream said: that may hold a value.
#[derive(Debug, Serialize)]
pub struct RotationFailed<'a> {
    /// Of this secret.
    pub secret: &'a SecretName,
    /// The rotation.
    pub rotation: RotationId,
    /// The stage that it stays at.
    pub stage: &'static str,
    /// The stable code.
    pub code: &'static str,
    /// What upstream called it: an SQLSTATE, a status or the name of a fault in a handshake, nothing longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Whether upstream may have changed all the same.
    pub unknown: bool,
    /// Whether upstream may have made a value that nobody uses: it is listed as an orphan.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub orphaned: bool,
    /// How often this step has failed by now.
    pub failures: u32,
    /// When it is tried again; none for a dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<String>,
    /// The logins whose passwords are set, and by which login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logins: Option<String>,
}

impl Event for RotationFailed<'_> {
    const KIND: Kind = Kind(0x0705);
    const NAME: &'static str = "rotation.failed";
}

/// A rotation succeeded; the replaced value is retired.
#[derive(Debug, Serialize)]
pub struct RotationFinished<'a> {
    /// Of this secret.
    pub secret: &'a SecretName,
    /// The rotation.
    pub rotation: RotationId,
    /// The version that it brought.
    pub version: u32,
    /// The version that goes on working, because nobody knows where upstream has it: it is listed as an
    /// orphan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<u32>,
    /// When the next one is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Event for RotationFinished<'_> {
    const KIND: Kind = Kind(0x0706);
    const NAME: &'static str = "rotation.finished";
}

/// An operator changed how a rotation continues.
#[derive(Debug, Serialize)]
pub struct RotationUpdated<'a> {
    /// Of this secret.
    pub secret: &'a SecretName,
    /// Who.
    pub operator: &'a OperatorName,
    /// `paused`, `resumed`, `retried`, `previous-revoked`, `without-grace` (the previous version of the rotation in progress
    /// gets no grace period) or `orphans-cleared`.
    pub what: &'static str,
    /// With `without-grace`: the rotation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationId>,
}

impl Event for RotationUpdated<'_> {
    const KIND: Kind = Kind(0x0707);
    const NAME: &'static str = "rotation.updated";
}

/// An operator had the broker deliver another version of a secret, or the same one and end the rotation in progress.
#[derive(Debug, Serialize)]
pub struct RotationAdopted<'a> {
    /// Of this secret.
    pub secret: &'a SecretName,
    /// The operator.
    pub operator: &'a OperatorName,
    /// The version that is handed out from here on.
    pub version: u32,
    /// The version that was handed out before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u32>,
    /// Whether upstream let the version in; it was not asked otherwise.
    pub works: bool,
    /// The rotation that ends with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationId>,
    /// The stage that this rotation had come to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<&'static str>,
}

impl Event for RotationAdopted<'_> {
    const KIND: Kind = Kind(0x070D);
    const NAME: &'static str = "rotation.adopted";
}

/// The upstream was told to make a value, and its answer is unknown: it may have a value that nobody uses.
#[derive(Debug, Serialize)]
pub struct RotationOrphaned<'a> {
    /// Of this secret.
    pub secret: &'a SecretName,
    /// The rotation.
    pub rotation: RotationId,
}

impl Event for RotationOrphaned<'_> {
    const KIND: Kind = Kind(0x070A);
    const NAME: &'static str = "rotation.orphaned";
}

/// A check showed that the upstream has another value than the current one of a secret; this raises an alarm.
#[derive(Debug, Serialize)]
pub struct RotationDrifted<'a> {
    /// Of this secret.
    pub secret: &'a SecretName,
    /// The version that works upstream, when it is one of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub works: Option<u32>,
}

impl Event for RotationDrifted<'_> {
    const KIND: Kind = Kind(0x0708);
    const NAME: &'static str = "rotation.drifted";
}

/// A check showed that the upstream accepts the current value of a secret.
#[derive(Debug, Serialize)]
pub struct RotationChecked<'a> {
    /// Of this secret.
    pub secret: &'a SecretName,
    /// The version.
    pub version: u32,
}

impl Event for RotationChecked<'_> {
    const KIND: Kind = Kind(0x0709);
    const NAME: &'static str = "rotation.checked";
}

/// A check could not find out whether the upstream accepts the current value of a secret.
#[derive(Debug, Serialize)]
pub struct RotationUnchecked<'a> {
    /// Of this secret.
    pub secret: &'a SecretName,
    /// The version.
    pub version: u32,
    /// The stable code.
    pub code: &'static str,
    /// Upstream's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
}

impl Event for RotationUnchecked<'_> {
    const KIND: Kind = Kind(0x070C);
    const NAME: &'static str = "rotation.unchecked";
}
