use std::time::Duration;

use crate::approvals::{Approval, OpenedApproval};
use crate::authn::AgentPrincipal;
use crate::base::limits::APPROVAL_WAIT_S_MAX;
use crate::base::{ApprovalId, Timestamp, code};
use crate::broker::caller_services::AgentServices;
use crate::broker::failure::Failure;
use crate::broker::world::World;
use crate::policy::is_of;
use crate::wire::{ApprovalState, GET_OWN_APPROVAL, OwnApprovalAnswer};

/// How long a request waits while an approval is pending: at most [`APPROVAL_WAIT_S_MAX`] seconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ApprovalWait(u64);

impl ApprovalWait {
    /// The wait of `seconds`, or the longest one.
    #[must_use]
    pub fn of_s(seconds: u64) -> Self {
        Self(seconds.min(APPROVAL_WAIT_S_MAX))
    }
}

impl AgentServices {
    /// The approval `id`, which `principal` asked for: at once if it is not pending, and otherwise after the first vote that ends
    /// this, or after `wait`. If too many requests wait already, it does not wait.
    ///
    /// # Errors
    /// [`Failure`] if the agent has not asked for it.
    pub async fn own_approval(
        &self,
        principal: &AgentPrincipal,
        id: ApprovalId,
        wait: ApprovalWait,
    ) -> Result<OwnApprovalAnswer, Failure> {
        let turns = self.0.notifications.approvals();
        // Before the first look: no vote is missed.
        let mut changes = turns.subscribe();
        let place = (wait != ApprovalWait::default()).then(|| turns.place()).flatten();
        let mut end = std::pin::pin!(tokio::time::sleep(Duration::from_secs(wait.0)));
        loop {
            let answer = self.present_approval(principal, id)?;
            if place.is_none() || answer.state != ApprovalState::Pending.as_str() {
                return Ok(answer);
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return Ok(answer) },
                () = &mut end => return self.present_approval(principal, id),
            }
        }
    }

    fn present_approval(
        &self,
        principal: &AgentPrincipal,
        id: ApprovalId,
    ) -> Result<OwnApprovalAnswer, Failure> {
        let now = self.0.state.clock.now();
        self.0.state.store.read(|world, _| Ok(own_answer(own(world, principal, id)?, now)))
    }
}

/// The approval, if `principal` asked for it.
pub(super) fn own<'w>(
    world: &'w World,
    principal: &AgentPrincipal,
    id: ApprovalId,
) -> Result<&'w Approval, Failure> {
    let approval = world.approvals().get(id).ok_or_else(|| Failure::new(code::APPROVAL_UNKNOWN))?;
    if is_of(approval, principal) {
        Ok(approval)
    } else {
        Err(Failure::new(code::APPROVAL_OF_ANOTHER_AGENT).of_approval(id))
    }
}

pub(super) fn own_answer(approval: &Approval, now: Timestamp) -> OwnApprovalAnswer {
    let OpenedApproval { id, code, .. } = &approval.opened;
    let state = approval.state(now);
    OwnApprovalAnswer {
        approval: *id,
        approval_uri: GET_OWN_APPROVAL.path_to(id),
        state: state.as_str().into(),
        user_code: *code,
        expires_at: (!state.is_ended()).then(|| approval.expires_at().to_string()),
        uses_left: approval.uses_left(now),
    }
}
