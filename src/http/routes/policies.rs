use super::table::{AdminRequest, Routes};
use crate::base::PolicyName;
use crate::broker::AdminServices;
use crate::http::documents::problem::Problem;
use crate::policy::{ReadDeclared, ReadLedger, ReadPolicySets};
use crate::wire::{self, Nothing, PageAnswer, PageQuery, PolicyAnswer, PolicySetBody, PolicyVersionBody};

/// The routes of policies.
pub(crate) fn routes() -> Routes<AdminServices> {
    Routes::new()
        .route(&wire::LIST_POLICIES, list)
        .route(&wire::GET_POLICY, get)
        .heavy(&wire::LIST_POLICY_VERSIONS, |services, call: &AdminRequest<ReadLedger, PolicyName>, work| {
            Ok(services.policy_versions(&call.by, &call.target, work)?)
        })
        .heavy(
            &wire::GET_POLICY_VERSION,
            |services, call: &AdminRequest<ReadLedger, PolicyName, PolicyVersionBody>, work| {
                Ok(services.policy_version(&call.by, &call.target, &call.input, work)?)
            },
        )
        .heavy(&wire::LIST_POLICY_SETS, |services, call: &AdminRequest<ReadPolicySets>, work| {
            Ok(services.policy_sets(&call.by, work)?)
        })
        .heavy(
            &wire::GET_POLICY_SET,
            |services, call: &AdminRequest<ReadPolicySets, Nothing, PolicySetBody>, work| {
                Ok(services.policy_set(&call.by, &call.input.hash, work)?)
            },
        )
}

async fn list(
    services: AdminServices,
    call: AdminRequest<ReadDeclared, Nothing, PageQuery<String>>,
) -> Result<PageAnswer<PolicyAnswer>, Problem> {
    Ok(services.policies(&call.by, &call.input.into()))
}

async fn get(
    services: AdminServices,
    call: AdminRequest<ReadDeclared, PolicyName>,
) -> Result<PolicyAnswer, Problem> {
    Ok(services.policy(&call.by, &call.target)?)
}
