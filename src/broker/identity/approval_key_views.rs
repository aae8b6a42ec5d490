use super::operators::operator_unknown;
use crate::base::limits::PAGE_ENTRIES_MAX;
use crate::base::{OperatorName, Timestamp};
use crate::broker::failure::Failure;
use crate::broker::services::Services;
use crate::broker::world::World;
use crate::operators::{ApprovalKeys, Operator};
use crate::wire::{ApprovalKeyAnswer, ApprovalKeysAnswer, SignedApprovalAnswer};

impl Services {
    /// The approval keys of the operator `name`.
    ///
    /// # Errors
    /// [`Failure`] if it does not exist.
    pub(super) fn approval_keys(&self, name: &OperatorName) -> Result<ApprovalKeysAnswer, Failure> {
        let now = self.state.clock.now();
        self.state.store.read(|world, _| {
            let operator = world.operators.named(name).ok_or_else(|| operator_unknown(world, name))?;
            let keys = answers(&operator.approval_keys);
            Ok(ApprovalKeysAnswer {
                operator: name.clone(),
                keys,
                approvals: signed_by(world, operator, now),
            })
        })
    }
}

/// The approvals by the operator of requests that have not ended, also those that do not count any more.
fn signed_by(world: &World, operator: &Operator, now: Timestamp) -> Vec<SignedApprovalAnswer> {
    let signed = world.approvals().newest().filter_map(|one| {
        let state = Some(one.state(now)).filter(|state| !state.is_ended())?;
        let mut ballots = one.votes.iter().map(|vote| &vote.ballot);
        let own = ballots.rfind(|ballot| ballot.approves && ballot.operator_id == operator.id)?;
        Some(SignedApprovalAnswer {
            approval: one.opened.id,
            user_code: one.opened.code,
            state: state.as_str().into(),
            agent: one.opened.requester.name.clone(),
            fingerprint: own.key?.hex(),
        })
    });
    signed.take(PAGE_ENTRIES_MAX).collect()
}

/// The approval keys of an operator as responses show them, the accepted one first.
pub(super) fn answers(keys: &ApprovalKeys) -> Vec<ApprovalKeyAnswer> {
    let accepted = keys.accepted().map(|one| ApprovalKeyAnswer {
        fingerprint: one.fingerprint().hex(),
        state: "accepted".into(),
        proposed_at: one.proposed_at().to_string(),
        accepted_at: Some(one.accepted_at().to_string()),
        accepted_by: Some(one.accepted_by().to_owned()),
    });
    let proposed = keys.proposed().map(|one| ApprovalKeyAnswer {
        fingerprint: one.key.hex(),
        state: "proposed".into(),
        proposed_at: one.proposed_at.to_string(),
        accepted_at: None,
        accepted_by: None,
    });
    accepted.into_iter().chain(proposed).collect()
}
