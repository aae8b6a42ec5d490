use serde::{Deserialize, Serialize};

use crate::base::{
    ApprovalDemand, Audience, CapabilityName, EnvironmentName, ParametersByCapability, PolicyName, Reason,
    SecretName,
};
use crate::crypto::{Digest, sha256};
use crate::wire::{ApprovalCapability, ApprovalRequest};

/// What an agent asks for, as it is approved.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RequestedGrant {
    /// The SPIFFE id of the agent.
    pub agent: String,
    /// The capabilities, by name.
    pub capabilities: Vec<RequestedCapability>,
    /// The audience of the tokens.
    pub audience: Audience,
    /// The longest life of each token, in seconds.
    pub life_s: u32,
    /// The most tokens, at least 1.
    pub uses: u32,
    /// The time from the first to the last use, in seconds; `None` for a single use.
    pub grant_life_s: Option<u32>,
    /// The reason that the agent gives.
    pub reason: Option<Reason>,
    /// The parameters of the capabilities; of sensitive ones a keyed digest. They are stored apart from the other fields,
    /// whose form is older.
    #[serde(skip)]
    pub parameters: ParametersByCapability,
}

/// A capability that an agent asks for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RequestedCapability {
    /// The name.
    pub name: CapabilityName,
    /// `read` or `write`.
    pub access: String,
    /// The environment.
    pub environment: Option<EnvironmentName>,
    /// The secret that its tokens can read; `None` if they are for another service.
    pub secret: Option<SecretName>,
}

impl RequestedGrant {
    /// The names of the capabilities.
    pub fn names(&self) -> impl Iterator<Item = &CapabilityName> {
        self.capabilities.iter().map(|one| &one.name)
    }

    /// The form that is signed and shown.
    #[must_use]
    pub fn text(&self) -> ApprovalRequest {
        let capability = |one: &RequestedCapability| ApprovalCapability {
            name: one.name.clone(),
            access: one.access.clone().into(),
            environment: one.environment.as_ref().map(ToString::to_string),
            secret: one.secret.as_ref().map(ToString::to_string),
            parameters: self.parameters.get(&one.name).cloned().unwrap_or_default(),
        };
        ApprovalRequest {
            kind: ApprovalRequest::KIND.into(),
            agent: self.agent.clone(),
            capabilities: self.capabilities.iter().map(capability).collect(),
            audience: self.audience.to_string(),
            life_s: self.life_s,
            uses: self.uses,
            grant_life_s: self.grant_life_s,
            reason: self.reason.as_ref().map(ToString::to_string),
        }
    }

    /// Its canonical form (RFC 8785).
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        // Text and whole numbers of at most 53 bits always have a canonical form.
        self.text().canonical().unwrap_or_default()
    }

    /// SHA-256 of its canonical form.
    #[must_use]
    pub fn digest(&self) -> Digest {
        sha256(&self.canonical())
    }
}

/// What a request for approval is bound to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ApprovalTerms {
    /// The request.
    pub request: RequestedGrant,
    /// The hash of all policies that matched.
    pub rules: Digest,
    /// The policies that matched, with the digests of their rules; at most
    /// [`APPROVAL_POLICIES_MAX`](crate::base::limits::APPROVAL_POLICIES_MAX).
    pub policies: Vec<(PolicyName, Digest)>,
    /// The demands, each of one policy. All have to be met.
    pub demands: Vec<PolicyDemand>,
}

/// What a policy demands.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PolicyDemand {
    /// The policy.
    pub policy: PolicyName,
    /// The demand.
    pub demand: ApprovalDemand,
    /// The reason of the policy.
    pub reason: Option<String>,
}
