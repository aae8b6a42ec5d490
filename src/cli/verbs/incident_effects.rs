//! The effects of a containment, as they happen.

use std::time::Duration;

use crate::base::{IncidentId, Stopwatch, code};
use crate::cli::client::Client;
use crate::console::{CommandFailure, Console};
use crate::wire::{
    ConnectionEffectsAnswer, FailedLeaseAnswer, IncidentEffectAnswer, IncidentEffectsAnswer,
    LIST_INCIDENT_EFFECTS, PageQuery,
};

/// The longest wait for the ends of leases and connections.
const WAIT: Duration = Duration::from_secs(15);
/// The time between two requests.
const PAUSE: Duration = Duration::from_millis(100);

/// Prints each effect and adds it to `seen`, until none is pending or every pending one has failed.
///
/// # Errors
/// [`CommandFailure`] with a list of what has not ended.
pub(super) async fn follow(
    client: &Client,
    incident: IncidentId,
    seen: &mut Option<IncidentEffectsAnswer>,
    console: &Console,
) -> Result<(), CommandFailure> {
    let (since, mut after, mut closed) = (Stopwatch::start(), None, 0);
    loop {
        let query = PageQuery { after, limit: None };
        let effects = client.call(LIST_INCIDENT_EFFECTS, &incident, &query).await?;
        let before = seen.take().map(|seen| seen.items).unwrap_or_default();
        let items = before.into_iter().chain(effects.items.iter().cloned()).collect();
        *seen = Some(IncidentEffectsAnswer { items, ..effects.answer.clone() });
        if !console.is_json() {
            effects.items.iter().for_each(|effect| console.line(&said(effect)));
            if effects.connections.closed > closed {
                console.line(&said_closed(&effects.connections));
            }
        }
        closed = effects.connections.closed.max(closed);
        after = Some(effects.next_after);
        if !effects.pending {
            return Ok(());
        }
        let is_over = since.elapsed() >= WAIT;
        if is_over || have_all_failed(&effects) {
            return Err(unfinished(&effects));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn have_all_failed(effects: &IncidentEffectsAnswer) -> bool {
    let IncidentEffectsAnswer { leases, connections, .. } = effects;
    connections.open == 0 && leases.pending > 0 && leases.failed.len() >= leases.pending
}

fn said(effect: &IncidentEffectAnswer) -> String {
    let IncidentEffectAnswer { ms, lease, agent, capability, code, .. } = effect;
    let what = code.as_ref().map_or_else(
        || "the login and its sessions have ended".to_owned(),
        |code| format!("the login could not be ended ({code})"),
    );
    format!("lease {lease} of agent `{agent}` for `{capability}`: {what}, after {ms} ms")
}

fn said_closed(ConnectionEffectsAnswer { closed, last_closed_ms, .. }: &ConnectionEffectsAnswer) -> String {
    let ms = last_closed_ms.unwrap_or_default();
    format!("connections closed: {closed}, the last one after {ms} ms")
}

fn unfinished(effects: &IncidentEffectsAnswer) -> CommandFailure {
    let IncidentEffectsAnswer { leases, connections, .. } = effects;
    let mut left: Vec<String> = leases.failed.iter().map(failed).collect();
    let others = leases.pending.saturating_sub(leases.failed.len());
    if others > 0 {
        left.push(format!("{others} leases that are being ended"));
    }
    if connections.open > 0 {
        left.push(format!("{} open connections", connections.open));
    }
    CommandFailure::new(code::CONTAINMENT_UNFINISHED).because(format!("not ended yet: {}", left.join(", ")))
}

fn failed(FailedLeaseAnswer { lease, agent, capability, code, .. }: &FailedLeaseAnswer) -> String {
    let agent = agent.as_ref().map_or_else(String::new, |agent| format!(" of agent `{agent}`"));
    format!("lease {lease}{agent} for `{capability}` ({code})")
}
