use super::table::{AdminRequest, Routes};
use crate::base::PolicyName;
use crate::broker::AdminServices;
use crate::http::documents::problem::Problem;
use crate::policy::ReadDeclared;
use crate::wire::{self, Nothing, PageAnswer, PageQuery, PolicyAnswer};

/// The routes of policies.
pub(crate) fn routes() -> Routes<AdminServices> {
    Routes::new().route(&wire::LIST_POLICIES, list).route(&wire::GET_POLICY, get)
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
