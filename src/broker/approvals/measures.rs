//! Metrics of decisions and approvals, by capability and environment.

use crate::approvals::{Approval, RequestedCapability};
use crate::base::{ApprovalId, CapabilityName, EnvironmentName};
use crate::broker::services::Services;
use crate::telemetry::{ApprovalOutcome, DecisionOutcome, MeteredCapability};
use crate::wire::ApprovalState;

impl Services {
    /// Counts a decision on a request for a token, for each declared capability of the request: an agent can name others.
    pub(in crate::broker) fn measure_decision<'n>(
        &self,
        outcome: DecisionOutcome,
        names: impl IntoIterator<Item = &'n CapabilityName>,
    ) {
        self.state.store.read(|world, _| {
            let declarations = world.registry.declarations();
            for name in names.into_iter().filter(|name| declarations.capability(name).is_some()) {
                let environment = declarations.environment_of(name).map(EnvironmentName::as_str);
                let metered = MeteredCapability { capability: name.as_str(), environment };
                self.notifications.meters.decided(outcome, metered);
            }
        });
    }

    /// Counts what became of a request for approval.
    pub(in crate::broker) fn measure_approval(&self, outcome: ApprovalOutcome, id: ApprovalId) {
        self.with_approval(id, |one| {
            capabilities(one).for_each(|metered| self.notifications.meters.approval(outcome, metered));
        });
    }

    /// Counts the answer to a request for approval, and observes the time since the request; nothing while it waits for
    /// further approvers.
    pub(in crate::broker) fn measure_answer(&self, id: ApprovalId, state: ApprovalState) {
        let outcome = match state {
            ApprovalState::Approved => ApprovalOutcome::Approved,
            ApprovalState::Denied => ApprovalOutcome::Denied,
            ApprovalState::Pending
            | ApprovalState::Used
            | ApprovalState::Expired
            | ApprovalState::Withdrawn => return,
        };
        self.measure_approval(outcome, id);
        let now = self.state.clock.now();
        self.with_approval(id, |one| {
            let waited_s = u64::try_from(now.seconds_since(one.opened_at)).unwrap_or_default();
            capabilities(one)
                .for_each(|metered| self.notifications.meters.approval_answered(waited_s, metered));
        });
    }

    fn with_approval(&self, id: ApprovalId, act: impl FnOnce(&Approval)) {
        self.state.store.read(|world, _| world.approvals().get(id).map(act).unwrap_or_default());
    }
}

fn capabilities(approval: &Approval) -> impl Iterator<Item = MeteredCapability<'_>> {
    approval.opened.terms.request.capabilities.iter().map(metered)
}

fn metered(one: &RequestedCapability) -> MeteredCapability<'_> {
    let environment = one.environment.as_ref().map(EnvironmentName::as_str);
    MeteredCapability { capability: one.name.as_str(), environment }
}
