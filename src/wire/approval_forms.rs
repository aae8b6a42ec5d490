use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::FixedText;
use crate::base::{ApprovalId, CapabilityName, NotCanonical, RecordedParameters, canonical_json};

/// A request in the form that is approved. Its RFC 8785 form is what an approver signs, so a client computes the digest from
/// these fields itself.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ApprovalRequest {
    /// Always `keyward-approval-request-1`.
    #[serde(rename = "type")]
    pub kind: FixedText,
    /// The SPIFFE id of the agent.
    pub agent: String,
    /// The capabilities, by name.
    pub capabilities: Vec<ApprovalCapability>,
    /// The audience of the tokens.
    pub audience: String,
    /// The longest life of each token, in seconds.
    pub life_s: u32,
    /// The most tokens.
    pub uses: u32,
    /// The time from the first to the last use, in seconds; absent for a single use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_life_s: Option<u32>,
    /// The reason that the agent gives; absent if a token request opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A capability of a request for approval.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ApprovalCapability {
    pub name: CapabilityName,
    /// `read` or `write`.
    pub access: FixedText,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The secret that the tokens can read from the broker; absent if they are for another service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The parameters; a sensitive one is `{"sensitive": DIGEST}` with a keyed digest in hex.
    #[serde(default, skip_serializing_if = "RecordedParameters::is_empty")]
    pub parameters: RecordedParameters,
}

impl ApprovalRequest {
    /// The value of `kind`.
    pub const KIND: &'static str = "keyward-approval-request-1";

    /// The RFC 8785 form.
    ///
    /// # Errors
    /// [`NotCanonical`]; its numbers are always whole.
    pub fn canonical(&self) -> Result<Vec<u8>, NotCanonical> {
        canonical_json(self)
    }
}

/// What an approver signs, in its RFC 8785 form.
#[derive(Clone, Debug, Serialize)]
pub struct ApprovalBallot<'a> {
    pub approval: ApprovalId,
    /// In hex.
    pub digest: &'a str,
    /// In hex.
    pub rules: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    verdict: &'static str,
}

impl<'a> ApprovalBallot<'a> {
    /// The approval of the request with this digest under the policies with this hash.
    #[must_use]
    pub const fn approve(approval: ApprovalId, digest: &'a str, rules: &'a str) -> Self {
        Self { approval, digest, rules, kind: "keyward-approval-vote-1", verdict: "approve" }
    }

    /// The signed bytes.
    ///
    /// # Errors
    /// [`NotCanonical`]; it has no numbers.
    pub fn canonical(&self) -> Result<Vec<u8>, NotCanonical> {
        canonical_json(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SystemEntropy, Timestamp};

    #[test]
    fn an_approver_signs_the_canonical_form() {
        let id = ApprovalId::mint(Timestamp::from_s(1), &SystemEntropy);
        let ballot = ApprovalBallot::approve(id, "aa", "bb").canonical().unwrap();
        let expected = format!(
            "{{\"approval\":\"{id}\",\"digest\":\"aa\",\"rules\":\"bb\",\"type\":\"keyward-approval-vote-1\",\"verdict\":\"approve\"}}"
        );
        assert_eq!(String::from_utf8(ballot).unwrap(), expected);
    }

    #[test]
    fn a_request_has_one_canonical_form() {
        let mut request = ApprovalRequest {
            kind: ApprovalRequest::KIND.into(),
            agent: "spiffe://keyward.test/agent/deploy-bot".to_owned(),
            capabilities: vec![ApprovalCapability {
                name: "web.deploy".parse().unwrap(),
                access: "write".into(),
                environment: Some("production".to_owned()),
                secret: None,
                parameters: RecordedParameters::default(),
            }],
            audience: "https://deploy.example.com".to_owned(),
            life_s: 600,
            uses: 1,
            grant_life_s: None,
            reason: Some("release 7".to_owned()),
        };
        let expected = "{\"agent\":\"spiffe://keyward.test/agent/deploy-bot\",\"audience\":\"https://deploy.example.com\",\
            \"capabilities\":[{\"access\":\"write\",\"environment\":\"production\",\"name\":\"web.deploy\"}],\"life_s\":600,\
            \"reason\":\"release 7\",\"type\":\"keyward-approval-request-1\",\"uses\":1}";
        assert_eq!(String::from_utf8(request.canonical().unwrap()).unwrap(), expected);
        let parameters = r#"{"amount":100,"account":{"sensitive":"ab12"}}"#;
        request.capabilities[0].parameters = serde_json::from_str(parameters).unwrap();
        let expected = expected.replace(
            "\"name\":\"web.deploy\"",
            "\"name\":\"web.deploy\",\"parameters\":{\"account\":{\"sensitive\":\"ab12\"},\"amount\":100}",
        );
        assert_eq!(String::from_utf8(request.canonical().unwrap()).unwrap(), expected);
    }
}
