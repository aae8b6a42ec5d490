use crate::approvals::{Approval, Approvals, keys};
use crate::base::{AgentId, ApprovalId};
use crate::broker::reading::Reading;
use crate::operators;

impl<'w> Reading<'w> {
    /// The approval of this id.
    pub(crate) fn approval(&self, id: ApprovalId) -> Option<&'w Approval> {
        self.under(keys::approval(id)).approvals().get(id)
    }

    /// The approvals, for an opening by this agent.
    pub(super) fn approvals_of(&self, agent: AgentId) -> &'w Approvals {
        self.under(keys::of_agent(agent)).approvals()
    }

    /// Notes that the approval, and everything that makes its votes count, is as it is now.
    pub(crate) fn approval_in_use(&self, id: ApprovalId) {
        let Some(approval) = self.approval(id) else { return };
        for vote in approval.votes.iter().filter(|vote| vote.ballot.approves) {
            let operator = &vote.ballot.operator;
            self.acting_operator(operator);
            self.under(operators::keys::approval_keys(operator));
        }
    }
}
