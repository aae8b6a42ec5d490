use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, Optional, endpoints};
use super::page::{Items, PageAnswer, PageQuery};
use super::secret_text::SecretText;
use super::status::{EndedAnswer, FixedText};
use crate::base::{AgentName, CapabilityName, DecisionId, InstanceId, LeaseId};

endpoints! {
    /// List the leases of the caller's instance
    LIST_OWN_LEASES: GET "/v1/leases", Nothing, Nothing => Items<LeaseAnswer>;
    /// Get a database login (lease)
    ISSUE_LEASE: POST "/v1/leases", Nothing, LeaseBody => LoginAnswer;
    /// Renew a lease of the caller's instance
    RENEW_LEASE: POST "/v1/leases/{id}/renew", LeaseId, Optional<RenewLeaseBody> => LeaseRenewalAnswer;
    /// Give up a lease, so that its login is revoked
    GIVE_UP_LEASE: POST "/v1/leases/{id}/give-up", LeaseId, Optional<GiveUpLeaseBody> => GivenUpLeaseAnswer;
    /// List leases; never passwords
    LIST_LEASES: GET "/v1/leases", Nothing, PageQuery<LeaseId> => PageAnswer<LeaseAnswer>;
    /// Extend a lease of any agent
    EXTEND_LEASE: POST "/v1/leases/{id}/renew", LeaseId, Optional<RenewLeaseBody> => LeaseRenewalAnswer;
    /// Revoke leases
    REVOKE_LEASES: POST "/v1/lease-endings", Nothing, RevokeLeasesBody => EndedLeasesAnswer;
    /// Retry failed revocations of logins
    RETRY_LEASES: POST "/v1/lease-retries", Nothing, LeaseSelectionBody => EndedLeasesAnswer;
    /// Stop the revocation of a login that cannot be revoked
    FORGET_LEASE: POST "/v1/leases/{id}/forget", LeaseId, ForgetLeaseBody => ForgottenLeaseAnswer;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseBody {
    pub capability: String,
    /// In seconds; without it an hour, or less if the capability allows less.
    pub life_s: Option<u32>,
    /// Whether to issue a new login although the instance has one already.
    #[serde(default)]
    pub fresh: bool,
}

/// A login. No other response contains its password.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct LoginAnswer {
    pub lease: LeaseId,
    pub capability: CapabilityName,
    pub username: String,
    pub password: SecretText,
    /// Connection parameters: `driver`, and the fields that the reference lists for this driver.
    pub connection: serde_json::Map<String, serde_json::Value>,
    pub expires_at: String,
    pub renewable_until: String,
    /// Whether the instance had this login already.
    pub reused: bool,
    pub decision_id: DecisionId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constrained: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RenewLeaseBody {
    /// Remaining life from now on, in seconds.
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

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GiveUpLeaseBody {
    /// The decision id of the use to give up; without it all uses.
    pub decision_id: Option<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct GivenUpLeaseAnswer {
    pub lease: LeaseId,
}

/// A lease, without its password.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct LeaseAnswer {
    pub lease: LeaseId,
    pub agent: AgentName,
    pub instance: InstanceId,
    pub capability: CapabilityName,
    pub login: String,
    pub upstream: String,
    pub stage: FixedText,
    pub issued_at: String,
    pub expires_at: String,
    pub renewable_until: String,
    /// Number of uses that were not given up.
    pub uses: usize,
    pub ending: Option<LeaseEndingAnswer>,
    /// Whether the revocation takes longer than it should.
    pub overdue: bool,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct LeaseEndingAnswer {
    pub why: FixedText,
    pub since: String,
    pub failures: u32,
    /// The stable code of the last failure.
    pub code: Option<String>,
    /// The upstream's own code, e.g. an SQLSTATE, or the name of a problem with its certificate.
    pub upstream_code: Option<String>,
    /// The last failure in a sentence.
    pub reason: Option<String>,
    /// The next attempt, never in the past.
    pub retry_at: Option<String>,
}

/// A selection of leases by exactly one of `lease`, `agent`, `capability` and `all`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
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
}

/// A selection of leases by exactly one of `lease`, `agent`, `capability` and `all`, with the reason for the revocation.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeLeasesBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    #[serde(default)]
    pub all: bool,
    /// The reason, in one line; the ledger keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl RevokeLeasesBody {
    #[must_use]
    pub fn new(which: LeaseSelectionBody, reason: Option<String>) -> Self {
        let LeaseSelectionBody { lease, agent, capability, all } = which;
        Self { lease, agent, capability, all, reason }
    }

    /// The selection, and the reason.
    #[must_use]
    pub fn into_parts(self) -> (LeaseSelectionBody, Option<String>) {
        let Self { lease, agent, capability, all, reason } = self;
        (LeaseSelectionBody { lease, agent, capability, all }, reason)
    }
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct EndedLeasesAnswer {
    #[serde(flatten)]
    pub ended: EndedAnswer,
    /// The number of leases; null for a replayed request.
    pub leases: Option<usize>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetLeaseBody {
    /// The reason, in one line; the ledger keeps it.
    pub reason: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ForgottenLeaseAnswer {
    pub seq: u64,
    /// Whether the login may still be able to log in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub could_log_in: Option<bool>,
}
