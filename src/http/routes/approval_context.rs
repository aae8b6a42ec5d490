use super::table::{AdminRequest, Routes};
use crate::base::{ApprovalReference, Cancellation};
use crate::broker::AdminServices;
use crate::http::documents::problem::Problem;
use crate::policy::ReadApprovals;
use crate::wire::{self, ApprovalContextAnswer};

/// The route of the comparison of a request for approval.
pub(crate) fn routes() -> Routes<AdminServices> {
    Routes::new().heavy(&wire::GET_APPROVAL_CONTEXT, context)
}

fn context(
    services: &AdminServices,
    call: &AdminRequest<ReadApprovals, ApprovalReference>,
    work: &Cancellation,
) -> Result<ApprovalContextAnswer, Problem> {
    Ok(services.approval_context(&call.by, call.target, work)?)
}
