use crate::approvals::{Approval, Approvals, keys};
use crate::authn::AgentPrincipal;
use crate::base::{AgentId, ApprovalId, ApprovalReference, Reason, Scope, code};
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::broker::services::Services;
use crate::broker::world::{World, records};
use crate::operators;
use crate::policy::{is_of, is_within};

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

/// The fix for an agent that names no approval.
const OWN_LIST: &str = "check the id; `keyward request list --all` lists the requests of this identity";

/// The approval, if `principal` asked for it.
pub(super) fn own<'w>(
    world: &'w World,
    principal: &AgentPrincipal,
    id: ApprovalId,
) -> Result<&'w Approval, Failure> {
    let unknown = || Failure::new(code::APPROVAL_UNKNOWN).mended_by(OWN_LIST);
    let approval = world.approvals().get(id).ok_or_else(unknown)?;
    if is_of(approval, principal) {
        Ok(approval)
    } else {
        Err(Failure::new(code::APPROVAL_OF_ANOTHER_AGENT).of_approval(id))
    }
}

/// The approval, if it is within `scope`.
pub(super) fn within<'w>(
    world: &'w World,
    scope: &Scope,
    reference: ApprovalReference,
) -> Result<&'w Approval, Failure> {
    let found = world.approvals().find(reference).filter(|one| is_within(records(world), one, scope));
    found.ok_or_else(|| Failure::new(code::APPROVAL_UNKNOWN))
}

impl Services {
    /// The reason of the vote in the entry `seq`; `None` if it has none, or if the entry cannot be read: the state of an
    /// approval does not depend on it. Reads the ledger.
    pub(super) fn reason_of_vote(&self, seq: u64) -> Option<Reason> {
        let entries = self.state.store.entries(seq, 1).ok()?;
        entries.into_iter().find(|entry| entry.seq == seq)?.cause.reason
    }
}
