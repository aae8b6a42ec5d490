use serde::Serialize;

use crate::base::{
    AgentName, CapabilityName, DecisionId, InstanceId, LeaseId, OperatorName, Reason, RequestFacts,
    SecretName,
};
use crate::ledger::Kind;
use crate::store::Event;

/// The broker is about to have the upstream make a database login; the entry has the name of the login.
#[derive(Debug, Serialize)]
pub struct LeaseIntended<'a> {
    /// The lease.
    pub lease: LeaseId,
    /// The agent.
    pub agent: &'a AgentName,
    /// Its instance.
    pub instance: InstanceId,
    /// The capability.
    pub capability: &'a CapabilityName,
    /// The login's name.
    pub login: &'a str,
    /// The upstream, in words.
    pub upstream: String,
    /// When it ends.
    pub expires_at: String,
    /// The secret that is opened for it.
    pub administering: &'a SecretName,
    /// The decision.
    pub decision: DecisionId,
    /// `allow` or `constrain`.
    pub outcome: &'static str,
    /// The parts of the request that were not granted.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub constrained: &'a [String],
    /// The policy snapshot, in hex.
    pub snapshot: String,
    /// The rules that determined it.
    pub rules: &'a [String],
    /// The keyed digest of the request, in hex.
    pub request: String,
    /// What a replay of the decision needs beside these fields.
    pub facts: RequestFacts<'a>,
}

/// The upstream made a database login; the broker is about to give its password to the agent.
#[derive(Debug, Serialize)]
pub struct LeaseIssued<'a> {
    /// The lease.
    pub lease: LeaseId,
    /// The agent.
    pub agent: &'a AgentName,
    /// The capability.
    pub capability: &'a CapabilityName,
    /// The login's name.
    pub login: &'a str,
}

/// The upstream did not make a database login, or it is unknown whether it did.
#[derive(Debug, Serialize)]
pub struct LeaseFailed<'a> {
    /// The lease.
    pub lease: LeaseId,
    /// The agent.
    pub agent: &'a AgentName,
    /// The capability.
    pub capability: &'a CapabilityName,
    /// The login's name.
    pub login: &'a str,
    /// The stable code.
    pub code: &'static str,
    /// Upstream's own code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Whether the login may be there all the same.
    pub unknown: bool,
}

/// The broker is about to give the password of a live database login once more, to the same instance.
#[derive(Debug, Serialize)]
pub struct LeaseReused<'a> {
    /// The lease.
    pub lease: LeaseId,
    /// The agent.
    pub agent: &'a AgentName,
    /// Its instance.
    pub instance: InstanceId,
    /// The capability.
    pub capability: &'a CapabilityName,
    /// The decision.
    pub decision: DecisionId,
    /// The policy snapshot, in hex.
    pub snapshot: String,
    /// The rules that determined it.
    pub rules: &'a [String],
    /// The keyed digest of the request, in hex.
    pub request: String,
    /// What a replay of the decision needs beside these fields.
    pub facts: RequestFacts<'a>,
}

/// The broker is about to extend a database login at the upstream.
#[derive(Debug, Serialize)]
pub struct LeaseRenewalAttempted<'a> {
    /// The lease.
    pub lease: LeaseId,
    /// The agent.
    pub agent: &'a AgentName,
    /// The operator, when it is not the agent's own wish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<&'a OperatorName>,
    /// The capability.
    pub capability: &'a CapabilityName,
    /// The later end.
    pub expires_at: String,
    /// The secret that is opened for it.
    pub administering: &'a SecretName,
    /// The decision.
    pub decision: DecisionId,
    /// The policy snapshot, in hex.
    pub snapshot: String,
    /// The rules that determined it.
    pub rules: &'a [String],
    /// The keyed digest of the agent's request, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// A lease was extended: it ends later from here on.
#[derive(Debug, Serialize)]
pub struct LeaseRenewed<'a> {
    /// The lease.
    pub lease: LeaseId,
    /// The agent.
    pub agent: &'a AgentName,
    /// The operator, when it is not the agent's own wish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<&'a OperatorName>,
    /// When.
    pub expires_at: String,
}

/// An agent does not need a lease any more; the lease ends with its last use.
#[derive(Debug, Serialize)]
pub struct LeaseUseReleased<'a> {
    /// The lease.
    pub lease: LeaseId,
    /// The agent.
    pub agent: &'a AgentName,
    /// The decision whose use ends; all of them when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_of: Option<DecisionId>,
}

/// Leases were revoked; the broker ends their database logins next.
#[derive(Debug, Serialize)]
pub struct LeasesRevoked<'a> {
    /// The actor: an operator's name, or `the broker` (no name contains a space).
    pub by: &'a str,
    /// `revoked` or `ineligible`.
    pub why: &'static str,
    /// The lease, if the selection names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
    /// The agent, if the selection names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<&'a AgentName>,
    /// The agents whose leases they are; of more than 1000, the first by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentName>,
    /// The capability, if the selection names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<&'a CapabilityName>,
    /// Their number at the time of the decision.
    pub count: usize,
}

/// The broker is about to end a database login at the upstream.
#[derive(Debug, Serialize)]
pub struct LeaseRevocationAttempted<'a> {
    /// The lease.
    pub lease: LeaseId,
    /// The agent.
    pub agent: &'a AgentName,
    /// The capability.
    pub capability: &'a CapabilityName,
    /// The login's name.
    pub login: &'a str,
    /// `expired`, `revoked`, `ineligible` or `unfinished`.
    pub why: &'static str,
    /// The upstream, in words.
    pub upstream: String,
    /// By the declaration of today (`current`), or by that of the day the login was made (`original`).
    pub declaration: &'static str,
    /// The secret that is opened for it.
    pub administering: &'a SecretName,
}

/// The broker could not end a database login at the upstream, and tries again.
#[derive(Debug, Serialize)]
pub struct LeaseRevocationFailed<'a> {
    /// The lease.
    pub lease: LeaseId,
    /// The agent.
    pub agent: &'a AgentName,
    /// The capability.
    pub capability: &'a CapabilityName,
    /// The login's name.
    pub login: &'a str,
    /// The stable code.
    pub code: &'static str,
    /// Upstream's own code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The number of failures so far.
    pub failures: u32,
    /// When it is tried again.
    pub retry_at: String,
}

/// An operator had the broker retry revocations of database logins that had failed.
#[derive(Debug, Serialize)]
pub struct LeasesRetried<'a> {
    /// The operator.
    pub operator: &'a OperatorName,
    /// The lease, if the selection names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
    /// The agent, if the selection names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<&'a AgentName>,
    /// The agents whose leases they are; of more than 1000, the first by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentName>,
    /// The capability, if the selection names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<&'a CapabilityName>,
    /// Their number.
    pub count: usize,
}

/// Alarm: an operator had the broker forget a database login that it could not revoke; the broker does not try again.
#[derive(Debug, Serialize)]
pub struct LeaseForgotten<'a> {
    /// The lease.
    pub lease: LeaseId,
    /// The agent.
    pub agent: &'a AgentName,
    /// The capability.
    pub capability: &'a CapabilityName,
    /// The login's name: it may still exist.
    pub login: &'a str,
    /// The upstream, in words.
    pub upstream: String,
    /// The operator.
    pub operator: &'a OperatorName,
    /// Why.
    pub reason: &'a Reason,
    /// The stable code of the last failure.
    pub code: &'a str,
    /// The number of failed revocations.
    pub failures: u32,
    /// Whether the login could still log in, as far as the broker knows.
    pub open: bool,
}

/// Alarm: a revoked database login can still log in after several attempts, because a transaction has its role locked.
#[derive(Debug, Serialize)]
pub struct LeaseStillOpen<'a> {
    /// The lease.
    pub lease: LeaseId,
    /// The agent.
    pub agent: &'a AgentName,
    /// The capability.
    pub capability: &'a CapabilityName,
    /// The login's name.
    pub login: &'a str,
    /// The upstream, in words.
    pub upstream: String,
    /// The number of failed revocations.
    pub failures: u32,
}

/// A database login and its sessions ended at the upstream.
#[derive(Debug, Serialize)]
pub struct LeaseEnded<'a> {
    /// The lease.
    pub lease: LeaseId,
    /// The agent.
    pub agent: &'a AgentName,
    /// The capability.
    pub capability: &'a CapabilityName,
    /// The login's name.
    pub login: &'a str,
    /// `expired`, `revoked`, `ineligible` or `unfinished`.
    pub why: &'static str,
}

/// The broker is about to search an upstream for database logins that no lease has.
#[derive(Debug, Serialize)]
pub struct LoginsInspected<'a> {
    /// The upstream, in words.
    pub upstream: String,
    /// The secret that is opened for it.
    pub administering: &'a SecretName,
}

/// The broker is about to check the upstream of a lease, before it applies the declaration of the lease.
#[derive(Debug, Serialize)]
pub struct LeaseCheckAttempted<'a> {
    /// The operator.
    pub operator: &'a OperatorName,
    /// The capability.
    pub capability: &'a CapabilityName,
    /// The upstream, in words.
    pub upstream: String,
    /// The secret that is opened for it.
    pub administering: &'a SecretName,
}

/// Alarm: the broker removed a database login with a name of this broker that no lease has, and whose time was over: the
/// ledger has lost entries.
#[derive(Debug, Serialize)]
pub struct StrayLoginEnded<'a> {
    /// The upstream, in words.
    pub upstream: String,
    /// Its name.
    pub login: &'a str,
}

/// Alarm: an upstream has database logins with names of this broker that no lease has, and whose time is not over: another
/// copy of the broker made them, the ledger has lost entries, or an operator had their leases forgotten. They were left
/// alone.
#[derive(Debug, Serialize)]
pub struct UnknownLogins<'a> {
    /// The upstream, in words.
    pub upstream: String,
    /// Their names, some of them.
    pub logins: Vec<&'a str>,
    /// The number of further logins.
    pub more: usize,
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
    LeaseIntended<'_> = 0x0901, "lease.intended";
    LeaseIssued<'_> = 0x0902, "lease.issued";
    LeaseFailed<'_> = 0x0903, "lease.failed";
    LeaseReused<'_> = 0x0904, "lease.reused";
    LeaseRenewalAttempted<'_> = 0x0905, "lease.renewal-attempted";
    LeaseRenewed<'_> = 0x0906, "lease.renewed";
    LeaseUseReleased<'_> = 0x0907, "lease.released";
    LeasesRevoked<'_> = 0x0908, "leases.revoked";
    LeaseRevocationAttempted<'_> = 0x0909, "lease.revocation-attempted";
    LeaseRevocationFailed<'_> = 0x090a, "lease.revocation-failed";
    LeaseEnded<'_> = 0x090b, "lease.ended";
    LoginsInspected<'_> = 0x090c, "logins.inspected";
    StrayLoginEnded<'_> = 0x090d, "alarm.login-unknown-removed";
    LeasesRetried<'_> = 0x090e, "leases.retried";
    LeaseForgotten<'_> = 0x090f, "alarm.lease-forgotten";
    LeaseStillOpen<'_> = 0x0910, "alarm.login-still-valid";
    UnknownLogins<'_> = 0x0911, "alarm.login-unknown";
    LeaseCheckAttempted<'_> = 0x0912, "lease.check-attempted";
}
