use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, endpoints};
use super::page::{Items, PageAnswer, PageQuery};
use super::secret_text::SecretText;
use super::status::{EndedAnswer, Word};
use crate::base::{AgentName, CapabilityName, DecisionId, InstanceId, LeaseId};

endpoints! {
    /// The leases of the caller's instance
    LIST_OWN_LEASES: GET "/v1/leases", Nothing, Nothing => Items<LeaseAnswer>;
    /// Lease a database login
    ISSUE_LEASE: POST "/v1/leases", Nothing, LeaseBody => LoginAnswer;
    /// Renew a lease of the caller's instance
    RENEW_LEASE: POST "/v1/leases/{id}/renew", LeaseId, RenewLeaseBody => LeaseRenewalAnswer;
    /// Give a lease up
    GIVE_UP_LEASE: POST "/v1/leases/{id}/give-up", LeaseId, GiveUpLeaseBody => GivenUpLeaseAnswer;
    /// Leases, never passwords
    LIST_LEASES: GET "/v1/leases", Nothing, PageQuery<LeaseId> => PageAnswer<LeaseAnswer>;
    /// Extend a lease of any agent
    EXTEND_LEASE: POST "/v1/leases/{id}/renew", LeaseId, RenewLeaseBody => LeaseRenewalAnswer;
    /// Revoke leases
    REVOKE_LEASES: POST "/v1/lease-endings", Nothing, LeaseSelectionBody => EndedLeasesAnswer;
    /// Retry revocations of logins that failed
    RETRY_LEASES: POST "/v1/lease-retries", Nothing, LeaseSelectionBody => EndedLeasesAnswer;
    /// Give up on a login that cannot be revoked
    FORGET_LEASE: POST "/v1/leases/{id}/forget", LeaseId, ForgetLeaseBody => ForgottenLeaseAnswer;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseBody {
    pub capability: String,
    /// In seconds; an hour, or what the capability allows, without it.
    pub life_s: Option<u32>,
    /// Whether a login that the instance has already will not do.
    #[serde(default)]
    pub fresh: bool,
}

/// A login. No other answer has its password.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct LoginAnswer {
    pub lease: LeaseId,
    pub capability: CapabilityName,
    pub username: String,
    pub password: SecretText,
    /// How the upstream is reached: `driver`, and the fields that the reference of that driver lists.
    pub connection: serde_json::Map<String, serde_json::Value>,
    pub expires_at: String,
    pub renewable_until: String,
    /// Whether the instance had it before.
    pub reused: bool,
    pub decision_id: DecisionId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constrained: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RenewLeaseBody {
    /// How long it is to last from now on, in seconds.
    pub life_s: Option<u32>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct LeaseRenewalAnswer {
    pub lease: LeaseId,
    pub expires_at: String,
    pub renewable_until: String,
    pub decision_id: DecisionId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constrained: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GiveUpLeaseBody {
    /// The decision by which it was handed out, when only that use of it ends.
    pub decision_id: Option<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct GivenUpLeaseAnswer {
    pub lease: LeaseId,
}

/// A lease; never its password.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct LeaseAnswer {
    pub lease: LeaseId,
    pub agent: AgentName,
    pub instance: InstanceId,
    pub capability: CapabilityName,
    pub login: String,
    pub upstream: String,
    pub stage: Word,
    pub issued_at: String,
    pub expires_at: String,
    pub renewable_until: String,
    /// How often it was handed out and is still needed.
    pub uses: usize,
    pub ending: Option<LeaseEndingAnswer>,
    /// Whether its end should have come before now.
    pub overdue: bool,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct LeaseEndingAnswer {
    pub why: Word,
    pub since: String,
    pub failures: u32,
    /// The stable code of the last failure.
    pub code: Option<String>,
    /// Upstream's own code, or the name of what is wrong with its certificate.
    pub upstream_code: Option<String>,
    /// What the last failure was, in a sentence.
    pub reason: Option<String>,
    pub retry_at: Option<String>,
}

/// Which leases: by exactly one field.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseSelectionBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    #[serde(default)]
    pub all: bool,
    /// Why they are revoked, in one line: it stays in the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct EndedLeasesAnswer {
    #[serde(flatten)]
    pub ended: EndedAnswer,
    /// How many there were; null when the request had been carried out before.
    pub leases: Option<usize>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetLeaseBody {
    /// Why, in one line: it stays in the ledger.
    pub reason: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ForgottenLeaseAnswer {
    pub seq: u64,
    /// Whether the login could still log in, as far as the broker knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub could_log_in: Option<bool>,
}
