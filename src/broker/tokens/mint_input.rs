use std::collections::BTreeSet;

use crate::base::limits::SCOPES_MAX;
use crate::base::{ApprovalId, Audience, CapabilityName, code};
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
    /// The approval of the request, if it names one.
    pub approval: Option<ApprovalId>,
}

impl MintInput {
    /// The request that is decided.
    pub(crate) fn into_request(self) -> Result<MintRequest, Failure> {
        let Self { scope, resource, life_s, details, approval } = self;
        if scope.is_empty() || scope.len() > SCOPES_MAX {
            return Err(Failure::new(code::SCOPE_EMPTY_OR_TOO_LONG));
        }
        Ok(MintRequest { scope, resource, life_s, details, approval, asked: AskedGrant::default() })
    }
}
