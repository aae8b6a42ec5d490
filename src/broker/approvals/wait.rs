use std::pin::pin;
use std::time::Duration;

use super::reads::own;
use super::views::own_answer;
use crate::authn::AgentPrincipal;
use crate::base::ApprovalId;
use crate::base::limits::APPROVAL_WAIT_S_MAX;
use crate::broker::caller_services::AgentServices;
use crate::broker::failure::Failure;
use crate::wire::{ApprovalState, OwnApprovalAnswer};

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
    /// this, or after `wait`. If too many requests wait already, or if the broker stops, it does not wait.
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
        let mut end = pin!(tokio::time::sleep(Duration::from_secs(wait.0)));
        let mut stop = pin!(self.0.notifications.waits_ended());
        loop {
            let answer = self.present_approval(principal, id)?;
            if place.is_none() || answer.state != ApprovalState::Pending.as_str() {
                return Ok(answer);
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return Ok(answer) },
                () = &mut end => return self.present_approval(principal, id),
                () = &mut stop => return self.present_approval(principal, id),
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
