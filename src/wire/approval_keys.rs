use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{Nothing, endpoints};
use super::status::FixedText;
use crate::base::{AgentName, ApprovalId, NotCanonical, OperatorName, UserCode, canonical_json};

endpoints! {
    /// Show the caller's approval keys
    GET_OWN_APPROVAL_KEYS: GET "/v1/approval-key", Nothing, Nothing => ApprovalKeysAnswer;
    /// Propose an approval key for the caller; it counts after another admin or the host has accepted it
    PROPOSE_APPROVAL_KEY: POST "/v1/approval-key", Nothing, ApprovalKeyBody => ApprovalKeysAnswer, 201;
    /// Accept the proposed approval key of an operator
    ACCEPT_APPROVAL_KEY: POST "/v1/operators/{name}/approval-key/accept", OperatorName, AcceptApprovalKeyBody => ApprovalKeysAnswer;
    /// Remove the approval keys of an operator
    REMOVE_APPROVAL_KEYS: POST "/v1/operators/{name}/approval-key/remove", OperatorName, Nothing => ApprovalKeysAnswer;
    /// On the host: accept the proposed approval key of an operator
    ORDER_ACCEPT_APPROVAL_KEY: POST "/v1/operators/{name}/approval-key/accept", OperatorName, OrderAcceptApprovalKeyBody => ApprovalKeysAnswer;
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalKeyBody {
    /// A certificate signing request for the key, DER, base64url. No certificate is issued: the request proves that its
    /// sender holds the key.
    pub csr: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptApprovalKeyBody {
    /// SHA-256 of the public key (DER `SubjectPublicKeyInfo`), 64 hexadecimal digits, as the operator reads it from
    /// `keyward approval key show`.
    pub fingerprint: String,
    /// The signature of [`ApprovalKeyAcceptance::canonical`] by the caller's own accepted approval key: ECDSA P-256 with SHA-256,
    /// in ASN.1 DER, base64url.
    pub signature: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OrderAcceptApprovalKeyBody {
    /// As in the request of an operator. The host needs no signature.
    pub fingerprint: String,
}

/// What a person signs that accepts the approval key of another person, in its RFC 8785 form.
#[derive(Clone, Debug, Serialize)]
pub struct ApprovalKeyAcceptance<'a> {
    fingerprint: &'a str,
    operator: &'a OperatorName,
    /// The person whom the accepter saw.
    person: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl<'a> ApprovalKeyAcceptance<'a> {
    /// The acceptance of the key with this fingerprint, in hex, of the operator who is this person.
    #[must_use]
    pub const fn new(operator: &'a OperatorName, person: &'a str, fingerprint: &'a str) -> Self {
        Self { fingerprint, operator, person, kind: "keyward-approval-key-acceptance-1" }
    }

    /// The signed bytes.
    ///
    /// # Errors
    /// [`NotCanonical`]; it has no numbers.
    pub fn canonical(&self) -> Result<Vec<u8>, NotCanonical> {
        canonical_json(self)
    }
}

/// The approval keys of an operator, the accepted one first.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ApprovalKeysAnswer {
    pub operator: OperatorName,
    pub keys: Vec<ApprovalKeyAnswer>,
    /// The operator's approvals of requests that have not ended, the newest request first; at most 500. An approval counts only
    /// while its key is the accepted one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<SignedApprovalAnswer>,
}

/// An approval that an operator signed.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct SignedApprovalAnswer {
    pub approval: ApprovalId,
    pub user_code: UserCode,
    /// `pending` or `approved`.
    pub state: FixedText,
    pub agent: AgentName,
    /// The key that signed it.
    pub fingerprint: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct ApprovalKeyAnswer {
    /// SHA-256 of the public key (DER `SubjectPublicKeyInfo`), in hex.
    pub fingerprint: String,
    /// `proposed` or `accepted`: only an accepted key counts.
    pub state: FixedText,
    pub proposed_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<String>,
    /// An operator, or `host uid N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_by: Option<String>,
}
