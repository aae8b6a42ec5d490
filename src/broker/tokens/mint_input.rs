use std::collections::{BTreeMap, BTreeSet};

use crate::base::limits::{PARAMETERS_BYTES_MAX, SCOPES_MAX};
use crate::base::{ApprovalId, Audience, CapabilityName, DecisionId, GivenParameters, code};
use crate::broker::failure::Failure;
use crate::policy::{AskedGrant, MintRequest, RequestedActions};

/// A parsed token request.
#[derive(Clone, Debug)]
pub struct MintInput {
    /// The requested capabilities.
    pub scope: BTreeSet<CapabilityName>,
    /// The requested audience, if any.
    pub resource: Option<Audience>,
    /// The requested life in seconds, if any.
    pub life_s: Option<u32>,
    /// The requested actions, if the request has `authorization_details`.
    pub details: Option<RequestedActions>,
    /// What the request gives the parameters of its capabilities.
    pub parameters: BTreeMap<CapabilityName, GivenParameters>,
    /// The approval of the request, if it names one.
    pub approval: Option<ApprovalId>,
    /// The denial whose smaller request this is, as the caller says.
    pub remediates: Option<DecisionId>,
}

impl MintInput {
    /// The request that is decided.
    pub(crate) fn into_request(self) -> Result<MintRequest, Failure> {
        let Self { scope, resource, life_s, details, parameters, approval, remediates: _ } = self;
        if scope.is_empty() || scope.len() > SCOPES_MAX {
            return Err(Failure::new(code::SCOPE_EMPTY_OR_TOO_LONG));
        }
        if json_bytes(&parameters) > PARAMETERS_BYTES_MAX {
            return Err(Failure::new(code::PARAMETERS_TOO_LARGE));
        }
        let asked = AskedGrant::default();
        Ok(MintRequest { scope, resource, life_s, details, parameters, approval, asked })
    }
}

/// The length of the parameters in JSON, without the names of their capabilities.
fn json_bytes(parameters: &BTreeMap<CapabilityName, GivenParameters>) -> usize {
    let length = |given: &GivenParameters| serde_json::to_vec(given).map_or(usize::MAX, |json| json.len());
    parameters.values().map(length).fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{GivenValue, ParameterValue};

    #[test]
    fn parameters_of_a_request_have_so_many_bytes() {
        let name: CapabilityName = "payments.refund".parse().unwrap();
        let input = |bytes: usize| {
            let mut given = GivenParameters::default();
            // {"note":"…"}
            let text = "x".repeat(bytes.saturating_sub(11));
            given.give("note", GivenValue::Plain(ParameterValue::Text(text)));
            MintInput {
                scope: [name.clone()].into(),
                resource: None,
                life_s: None,
                details: None,
                parameters: [(name.clone(), given)].into(),
                approval: None,
                remediates: None,
            }
        };
        assert!(input(PARAMETERS_BYTES_MAX).into_request().is_ok());
        let refused = input(PARAMETERS_BYTES_MAX + 1).into_request().unwrap_err();
        assert_eq!(refused.code, code::PARAMETERS_TOO_LARGE);
    }
}
