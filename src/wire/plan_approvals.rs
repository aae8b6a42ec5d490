use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::FixedText;
use crate::base::{NotCanonical, OperatorName, PolicyName, canonical_json};

/// The approval of a plan by a second operator: the file that `keyward plan --approve` writes.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PlanApprovalBody {
    /// Always `keyward-plan-approval-1`.
    #[serde(rename = "type")]
    pub kind: FixedText,
    /// The operator that approves.
    pub operator: OperatorName,
    /// As in the plan (`to_approve`).
    pub digest: String,
    /// As in the plan.
    pub seq: u64,
    /// As in the plan.
    pub expires_at: String,
    /// The signature of [`PlanBallot::canonical`] by the operator's accepted approval key: ECDSA P-256 with SHA-256, in ASN.1 DER,
    /// base64url.
    pub signature: String,
}

/// What a second operator approves.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct PlanToApproveAnswer {
    /// SHA-256 of the files, the changes, what they replace, what agents lose and gain, this broker's ledger, `seq` and
    /// `expires_at`, in hex.
    pub digest: String,
    /// The newest ledger entry: after a later application, the approval does not count.
    pub seq: u64,
    /// The time until which the approval counts.
    pub expires_at: String,
}

/// What a second operator signs, in its RFC 8785 form.
#[derive(Clone, Debug, Serialize)]
pub struct PlanBallot<'a> {
    digest: &'a str,
    operator: &'a OperatorName,
    #[serde(rename = "type")]
    kind: &'static str,
    verdict: &'static str,
}

impl<'a> PlanBallot<'a> {
    /// The value of `kind`.
    pub const KIND: &'static str = "keyward-plan-approval-1";

    /// The approval of the plan with this digest by `operator`.
    #[must_use]
    pub const fn approve(operator: &'a OperatorName, digest: &'a str) -> Self {
        Self { digest, operator, kind: Self::KIND, verdict: "approve" }
    }

    /// The signed bytes.
    ///
    /// # Errors
    /// [`NotCanonical`]; it has no numbers.
    pub fn canonical(&self) -> Result<Vec<u8>, NotCanonical> {
        canonical_json(self)
    }
}

/// The earlier version that an application brings back.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackBody {
    /// The policy; absent for all policies, environments and groups of approvers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyName>,
    /// The hash of the version, or at least its first 8 characters.
    pub to: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_operator_signs_the_canonical_form() {
        let operator = "bob".parse().unwrap();
        let signed = PlanBallot::approve(&operator, "aa").canonical().unwrap();
        let expected = "{\"digest\":\"aa\",\"operator\":\"bob\",\"type\":\"keyward-plan-approval-1\",\"verdict\":\"approve\"}";
        assert_eq!(String::from_utf8(signed).unwrap(), expected);
    }
}
