use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::FixedText;
use crate::base::{NotCanonical, OperatorName, SecretName, Sensitivity, canonical_json};

/// The approval of a lower sensitivity by a second operator: the file that `keyward secret classify --approve` writes.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SensitivityApprovalBody {
    /// Always `keyward-sensitivity-approval-1`.
    #[serde(rename = "type")]
    pub kind: FixedText,
    /// The operator that approves.
    pub operator: OperatorName,
    pub secret: SecretName,
    /// The new sensitivity.
    pub sensitivity: Sensitivity,
    /// The ledger entry that set the present sensitivity (`classified_seq` of the secret): the approval counts for one change.
    pub classified_seq: u64,
    /// The time until which the approval counts, at most 24 hours after the request.
    pub expires_at: String,
    /// The signature of [`SensitivityBallot::canonical`] by the operator's accepted approval key: ECDSA P-256 with SHA-256, in
    /// ASN.1 DER, base64url.
    pub signature: String,
}

/// What a second operator signs, in its RFC 8785 form.
#[derive(Clone, Debug, Serialize)]
pub struct SensitivityBallot<'a> {
    /// As text: canonical forms have no large numbers.
    classified_seq: String,
    expires_at: &'a str,
    operator: &'a OperatorName,
    secret: &'a SecretName,
    sensitivity: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    verdict: &'static str,
}

impl<'a> SensitivityBallot<'a> {
    /// The value of `kind`.
    pub const KIND: &'static str = "keyward-sensitivity-approval-1";

    /// The approval by `operator` of the sensitivity `to` of `secret`, whose present one was set by the entry `classified_seq`.
    #[must_use]
    pub fn approve(
        operator: &'a OperatorName,
        secret: &'a SecretName,
        to: Sensitivity,
        classified_seq: u64,
        expires_at: &'a str,
    ) -> Self {
        let classified_seq = classified_seq.to_string();
        let (kind, verdict) = (Self::KIND, "approve");
        Self { classified_seq, expires_at, operator, secret, sensitivity: to.as_str(), kind, verdict }
    }

    /// The signed bytes.
    ///
    /// # Errors
    /// [`NotCanonical`]; it has no numbers.
    pub fn canonical(&self) -> Result<Vec<u8>, NotCanonical> {
        canonical_json(self)
    }
}
