use super::answer::{IntoAnswer, ReadyResponse};
use super::table::{AdminRequest, RouteRequest, Routes, success};
use crate::authn::AgentPrincipal;
use crate::base::{Cancellation, DecisionId};
use crate::broker::{AdminServices, AgentServices, Priority};
use crate::http::documents::problem::Problem;
use crate::policy::ReadLedger;
use crate::wire::{self, EntriesQuery, EntryField, EntryFilter, FieldFilter, OwnExplanationAnswer};

/// The agents' routes of decisions.
pub(crate) fn agent_routes() -> Routes<AgentServices> {
    Routes::new().route(&wire::EXPLAIN_OWN_DECISION, explain_own)
}

/// The operators' routes of decisions.
pub(crate) fn routes() -> Routes<AdminServices> {
    Routes::new().route(&wire::EXPLAIN_DECISION, explain)
}

async fn explain_own(
    services: AgentServices,
    call: RouteRequest<AgentPrincipal, DecisionId, wire::Nothing>,
) -> Result<OwnExplanationAnswer, Problem> {
    Ok(services.explain(&call.by, call.target).await?)
}

/// A heavy request. Its entry is written first, so that nobody waits for a thread with it.
async fn explain(
    services: AdminServices,
    call: AdminRequest<ReadLedger, DecisionId>,
) -> Result<ReadyResponse, Problem> {
    let heavy = services.heavy(&call.by)?;
    let field = FieldFilter { field: EntryField::Decision, text: call.target.to_string() };
    let filter = EntryFilter { fields: vec![field], since: None, until: None };
    services.note_ledger_reading(&call.by, &EntriesQuery { filter, ..EntriesQuery::default() }).await;
    let status = success(&wire::EXPLAIN_DECISION);
    let read = move |work: &Cancellation| {
        Ok::<_, Problem>(services.explain(&call.by, call.target, work)?.give(status))
    };
    heavy.run(Priority::Ordinary, read).await.map(ReadyResponse)
}
