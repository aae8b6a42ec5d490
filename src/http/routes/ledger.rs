use super::answer::{IntoAnswer, ReadyResponse, WithHeaders, cacheable};
use super::table::{AdminRequest, PublicRequest, Routes, success};
use crate::base::Cancellation;
use crate::broker::{AdminServices, AgentServices, Priority};
use crate::http::documents::problem::Problem;
use crate::pki::authorities_pem;
use crate::policy::ReadLedger;
use crate::wire::{self, EntriesQuery, EntryDetailsAnswer, Nothing, Pem, Text};

/// The operators' routes of the ledger.
pub(crate) fn routes() -> Routes<AdminServices> {
    Routes::new().route(&wire::LIST_ENTRIES, entries).route(&wire::GET_ENTRY, entry)
}

/// A heavy request. Its entry is written first, so that nobody waits for a thread with it.
async fn entries(
    services: AdminServices,
    call: AdminRequest<ReadLedger, Nothing, EntriesQuery>,
) -> Result<ReadyResponse, Problem> {
    let heavy = services.heavy(&call.by)?;
    services.note_ledger_reading(&call.by, &call.input).await;
    let status = success(&wire::LIST_ENTRIES);
    let read = move |work: &Cancellation| {
        Ok::<_, Problem>(services.entries(&call.by, &call.input, work)?.give(status))
    };
    heavy.run(Priority::Ordinary, read).await.map(ReadyResponse)
}

async fn entry(
    services: AdminServices,
    call: AdminRequest<ReadLedger, u64>,
) -> Result<EntryDetailsAnswer, Problem> {
    services.note_ledger_reading(&call.by, &EntriesQuery::of_entry(call.target)).await;
    Ok(services.entry(&call.by, call.target)?)
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
