use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agents::CapabilityAnswer;
use super::endpoint::{Nothing, Optional, endpoints};
use super::secret_text::SecretText;
use super::status::{EndedAnswer, FixedText, ReasonBody};
use crate::base::SecretName;

endpoints! {
    /// Redeem an enrolment code for a certificate
    ENROL: POST "/v1/enrol", Nothing, EnrolBody => IdentityAnswer, 201;
    /// Renew the caller's certificate
    RENEW: POST "/v1/renew", Nothing, RenewBody => RenewalAnswer, 201;
    /// Show the caller's identity
    AGENT_WHOAMI: GET "/v1/whoami", Nothing, Nothing => AgentWhoamiAnswer;
    /// Show the caller's identity
    OPERATOR_WHOAMI: GET "/v1/whoami", Nothing, Nothing => OperatorWhoamiAnswer;
    /// Revoke the certificate of the caller's connection
    REVOKE_OWN_CERTIFICATE: POST "/v1/certificate/revoke", Nothing, Optional<ReasonBody> => EndedAnswer;
}

#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolBody {
    pub code_id: String,
    pub secret: SecretText,
    /// A certificate signing request, DER, base64url.
    pub csr: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RenewBody {
    /// A certificate signing request, DER, base64url.
    pub csr: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct IdentityAnswer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_server: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    pub spiffe_id: String,
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub authority: String,
    pub not_after: String,
    /// After the enrolment of an operator: the serial numbers of its other certificates that stay valid or can be renewed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_certificates: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct RenewalAnswer {
    #[serde(flatten)]
    pub identity: IdentityAnswer,
    /// Whether the previous certificate had expired: the broker raised an alarm.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct CertificateAnswer {
    pub serial: String,
    pub not_after: String,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct AgentWhoamiAnswer {
    /// `agent` or `resource-server`.
    pub kind: FixedText,
    pub name: String,
    pub spiffe_id: String,
    pub instance: String,
    /// The audience of a resource server; null for an agent.
    pub audience: Option<String>,
    pub roles: Vec<String>,
    pub capabilities: Vec<CapabilityAnswer>,
    /// The secrets that the capabilities deliver.
    #[serde(default)]
    pub secrets: Vec<SecretVersionAnswer>,
    pub certificate: CertificateAnswer,
    pub renew_now: bool,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct SecretVersionAnswer {
    pub name: SecretName,
    /// The number of the current version; null if there is none.
    pub version: Option<u32>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct OperatorWhoamiAnswer {
    /// `operator`.
    pub kind: FixedText,
    pub name: String,
    pub role: FixedText,
    pub owner: Option<String>,
    pub spiffe_id: String,
    pub certificate: CertificateAnswer,
    pub renew_now: bool,
}
