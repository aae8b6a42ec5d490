use super::reads::own;
use super::views::own_answer;
use crate::approvals::{self, ApprovalWithdrawn};
use crate::authn::AgentPrincipal;
use crate::base::{ApprovalId, code};
use crate::broker::caller_services::AgentServices;
use crate::broker::failure::Failure;
use crate::broker::retry::{AttemptError, retry_on_conflict};
use crate::broker::world::Effect;
use crate::store::Change;
use crate::wire::{ApprovalState, OwnApprovalAnswer};

impl AgentServices {
    /// Withdraws the request for approval `id`, which `principal` made. A repeated request changes nothing.
    ///
    /// # Errors
    /// [`Failure`] if the agent has not made it, or if it has ended otherwise.
    pub async fn withdraw_approval(
        &self,
        principal: &AgentPrincipal,
        id: ApprovalId,
    ) -> Result<OwnApprovalAnswer, Failure> {
        let services = &*self.0;
        let _permit = services.limits.mints.admit(&principal.agent())?;
        let turns = services.notifications.approvals();
        let _turn = turns.using(id).await;
        let answer: Result<OwnApprovalAnswer, Failure> = retry_on_conflict!(async {
            let now = services.state.clock.now();
            let (read, preconditions) = services.state.read(|reading| {
                reading.approval(id);
                let approval = own(reading.unconditional(), principal, id)?;
                Ok::<_, Failure>((approval.state(now), own_answer(approval, now)))
            });
            let (state, answer) = read?;
            if state == ApprovalState::Withdrawn {
                return Ok(answer);
            }
            if state.is_ended() {
                let why = format!("the approval is {state}");
                let fix = format!(
                    "`keyward request show {id}` shows the state; for a new approval, request the token without `approval`"
                );
                let failure = Failure::new(code::APPROVAL_ALREADY_ENDED).because(why).mended_by(fix);
                return Err(failure.of_approval(id).into());
            }
            let event =
                ApprovalWithdrawn { agent: principal.name(), instance: principal.instance(), approval: id };
            let change = Change::new(&event)?
                .requested_on(principal.connection())
                .effect(Effect::Approval(approvals::Effect::Withdraw { approval: id }));
            services.state.commit(change, preconditions, ()).await?.redeem();
            let state = ApprovalState::Withdrawn.as_str().into();
            Ok::<_, AttemptError>(OwnApprovalAnswer { state, expires_at: None, uses_left: 0, ..answer })
        });
        turns.changed();
        answer
    }
}
