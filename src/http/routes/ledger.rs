use super::answer::{WithHeaders, cacheable};
use super::caller::AuthorisedOperator;
use super::table::{PublicRequest, RouteRequest, Routes};
use crate::broker::{AdminServices, AgentServices};
use crate::http::documents::problem::Problem;
use crate::pki::authorities_pem;
use crate::policy::ReadLedger;
use crate::wire::{self, Pem, Text};

/// The operators' routes of the ledger.
pub(crate) fn routes() -> Routes<AdminServices> {
    Routes::new().heavy(
        &wire::LIST_ENTRIES,
        |services, call: &RouteRequest<AuthorisedOperator<ReadLedger>, _, _>, work| {
            let part: &super::input::Part<u64> = &call.input;
            Ok(services.entries(&call.by, part.after.unwrap_or(0), part.limit, work)?)
        },
    )
}

/// The public routes of checkpoints and their key.
pub(crate) fn public_routes() -> Routes<AgentServices> {
    Routes::new()
        .route(&wire::GET_AUTHORITY_CERTIFICATES, authorities)
        .route(&wire::GET_CHECKPOINT, checkpoint)
        .route(&wire::GET_CHECKPOINT_KEY, checkpoint_key)
}

async fn authorities(services: AgentServices, _: PublicRequest) -> Result<WithHeaders<Pem>, Problem> {
    Ok(cacheable(Pem(authorities_pem(&services.authorities()))))
}

async fn checkpoint(services: AgentServices, _: PublicRequest) -> Result<Text, Problem> {
    Ok(Text(services.checkpoint()))
}

async fn checkpoint_key(services: AgentServices, _: PublicRequest) -> Result<Text, Problem> {
    Ok(Text(format!("{}\n", services.checkpoint_key())))
}
