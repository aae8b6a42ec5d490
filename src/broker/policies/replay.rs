use std::collections::BTreeSet;

use super::recorded_request::RecordedRequest;
use crate::authn::Records;
use crate::base::{AgentId, ClockReading, RoleName};
use crate::broker::services::Services;
use crate::policy::{DecisionContext, Requester};

/// A recorded request, as decisions on some records take it.
pub(in crate::broker) struct Replay<'a> {
    pub(in crate::broker) context: DecisionContext<'a>,
    pub(in crate::broker) by: Requester<'a>,
}

impl<'a> Replay<'a> {
    /// The request on `records`, at the time of its decision, by the agent with this id and these roles.
    pub(in crate::broker) fn of(
        services: &'a Services,
        records: Records<'a>,
        recorded: &'a RecordedRequest,
        agent: AgentId,
        roles: &'a BTreeSet<RoleName>,
    ) -> Self {
        let context = DecisionContext {
            decision: recorded.event.decision,
            records,
            reading: ClockReading::at(recorded.at()),
            limits: &services.settings.tokens,
            digests: &services.state.digests,
            past: recorded.past(),
            disregarded: None,
        };
        let by = Requester {
            agent,
            instance: recorded.event.instance,
            name: &recorded.event.agent,
            roles,
            source: recorded.source(),
            // The entry does not say when the certificate expired.
            not_after: recorded.at().plus_s(services.settings.agent_life_s),
        };
        Self { context, by }
    }
}
